//! What a token says: which operation behaves how. The table is in the README.

use std::time::Duration;

use crate::book::Operation;

/// How one operation behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Done, and answered.
    Ok,
    /// Refused.
    Declined,
    /// Done, and the first call is not answered.
    TimeoutDone,
    /// Let fall the first time, without an answer.
    TimeoutLost,
    /// Done, and the first call is answered 500.
    ErrorDone,
    /// Let fall the first time, and answered 500.
    ErrorLost,
    /// Done after so long.
    Slow(Duration),
    /// Said to be over another amount, the first time.
    WrongAmount,
    /// Said to be in another currency, the first time.
    WrongCurrency,
    /// Said of another key, the first time.
    WrongId,
    /// Done, and the webhook that says so comes before the answer.
    WebhookFirst,
    /// Done, and instead of the answer to the first call the webhook comes, twice.
    WebhookTwice,
    /// Done, and instead of the answer to the first call the webhook comes, late.
    WebhookLate,
    /// Before it is done, somebody else says that it is.
    WebhookForged,
}

/// The behaviour that `token` has for `operation`; none if it is no token.
pub(crate) fn behaviour(token: &str, operation: Operation) -> Option<Behaviour> {
    let rest = token.strip_prefix("tok_")?;
    let named =
        Operation::ALL.into_iter().find_map(|one| Some((one, rest.strip_prefix(one.name())?.strip_prefix('_')?)));
    let (of, behaviour) = named.unwrap_or((Operation::Authorize, rest));
    let behaviour = parse(behaviour)?;
    Some(if of == operation { behaviour } else { Behaviour::Ok })
}

fn parse(text: &str) -> Option<Behaviour> {
    Some(match text {
        "ok" => Behaviour::Ok,
        "declined" => Behaviour::Declined,
        "timeout_done" => Behaviour::TimeoutDone,
        "timeout_lost" => Behaviour::TimeoutLost,
        "error_done" => Behaviour::ErrorDone,
        "error_lost" => Behaviour::ErrorLost,
        "wrong_amount" => Behaviour::WrongAmount,
        "wrong_currency" => Behaviour::WrongCurrency,
        "wrong_id" => Behaviour::WrongId,
        "webhook_first" => Behaviour::WebhookFirst,
        "webhook_twice" => Behaviour::WebhookTwice,
        "webhook_late" => Behaviour::WebhookLate,
        "webhook_forged" => Behaviour::WebhookForged,
        other => Behaviour::Slow(duration(other.strip_prefix("slow_")?)?),
    })
}

/// `30s` or `250ms`.
fn duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_an_operation_and_its_behaviour() {
        let all = |token: &str| Operation::ALL.map(|operation| behaviour(token, operation));
        let ok = Some(Behaviour::Ok);
        assert_eq!(all("tok_ok"), [ok; 4]);
        assert_eq!(all("tok_capture_declined"), [ok, ok, Some(Behaviour::Declined), ok]);
        assert_eq!(all("tok_refund_error_done"), [ok, ok, ok, Some(Behaviour::ErrorDone)]);
        assert_eq!(all("tok_wrong_amount")[0], Some(Behaviour::WrongAmount));
        assert_eq!(all("tok_slow_30s")[0], Some(Behaviour::Slow(Duration::from_secs(30))));
        assert_eq!(all("tok_void_slow_250ms")[1], Some(Behaviour::Slow(Duration::from_millis(250))));
        for none in
            ["", "ok", "tok_", "tok_nobody", "tok_capture", "tok_capture_", "tok_slow_", "tok_slow_s", "tok_slow_-1s"]
        {
            assert_eq!(all(none), [None; 4], "{none}");
        }
    }
}
