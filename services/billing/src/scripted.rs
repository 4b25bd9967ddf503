//! A payment provider in this process: what it does is written in the token.
//!
//! | token | authorize | capture |
//! |---|---|---|
//! | `tok_ok` | done | done |
//! | `tok_slow_1s` | done after a second | done |
//! | `tok_authorize_declined` | refused: `card_declined` | |
//! | `tok_capture_declined` | done | refused: `card_declined` |
//! | `tok_authorize_timeout_done` | done, but no answer comes; asked, it says so | done |
//! | `tok_authorize_timeout_lost` | the first call is lost; the next is done | done |
//! | any other | refused: `unknown_token` | |
//!
//! It remembers the last [`Scripted::REMEMBERS`] keys and nothing over a restart. An authorization it does not know is
//! taken as good, so a capture in another process than the authorization is done whatever the token was.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::Money;
use contracts::billing::PaymentToken;

use crate::provider::{Act, Found, Outcome, Provider, ProviderKey, Request, Unclear};

/// The provider.
#[derive(Debug, Default)]
pub struct Scripted {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<ProviderKey, Known>,
    /// The keys of `known`, the oldest first.
    oldest: VecDeque<ProviderKey>,
}

#[derive(Debug, Clone)]
enum Known {
    /// A first call came and was lost.
    Lost,
    /// An authorization, and what became of it since.
    Authorization { outcome: Outcome, token: Option<PaymentToken>, fate: Fate },
    /// A void or a capture.
    Done(Outcome),
}

/// What became of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    SetAside,
    Released,
    Taken,
}

impl Scripted {
    /// How many keys it remembers: some minutes' worth at full speed, far longer than an intent is open.
    pub const REMEMBERS: usize = 300_000;

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic while it was held left at worst one key undecided: the next call decides it.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorize(&self, key: &ProviderKey, amount: Money, token: &PaymentToken) -> Result<Outcome, Unclear> {
        if token.expose() == "tok_slow_1s" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut memory = self.memory();
        let lost = match memory.known.get(key) {
            Some(Known::Authorization { outcome, .. } | Known::Done(outcome)) => return Ok(outcome.clone()),
            Some(Known::Lost) => true,
            None => false,
        };
        let executed = Outcome::Executed(amount);
        let (outcome, heard) = match token.expose() {
            "tok_ok" | "tok_slow_1s" | "tok_capture_declined" => (executed, true),
            "tok_authorize_declined" => (refused("card_declined"), true),
            "tok_authorize_timeout_done" => (executed, false),
            "tok_authorize_timeout_lost" if lost => (executed, true),
            "tok_authorize_timeout_lost" => {
                memory.remember(key, Known::Lost);
                return Err(Unclear);
            }
            _ => (refused("unknown_token"), true),
        };
        let fate = Fate::SetAside;
        memory.remember(key, Known::Authorization { outcome: outcome.clone(), token: Some(token.clone()), fate });
        if heard { Ok(outcome) } else { Err(Unclear) }
    }

    fn void(&self, key: &ProviderKey, authorization: &ProviderKey, amount: Money) -> Outcome {
        let mut memory = self.memory();
        if let Some(Known::Done(outcome)) = memory.known.get(key) {
            return outcome.clone();
        }
        let outcome = match memory.known.get_mut(authorization) {
            Some(Known::Authorization { fate: Fate::Taken, .. }) => refused("already_captured"),
            Some(Known::Authorization { fate, .. }) => {
                *fate = Fate::Released;
                Outcome::Executed(amount)
            }
            Some(Known::Lost | Known::Done(_)) | None => {
                let never = Known::Authorization { outcome: refused("voided"), token: None, fate: Fate::Released };
                memory.remember(authorization, never);
                Outcome::Executed(amount)
            }
        };
        memory.remember(key, Known::Done(outcome.clone()));
        outcome
    }

    fn capture(&self, key: &ProviderKey, authorization: &ProviderKey, amount: Money) -> Outcome {
        let mut memory = self.memory();
        if let Some(Known::Done(outcome)) = memory.known.get(key) {
            return outcome.clone();
        }
        let outcome = match memory.known.get_mut(authorization) {
            Some(Known::Authorization { fate: Fate::Released, .. }) => refused("authorization_voided"),
            Some(Known::Authorization { token: Some(token), .. }) if token.expose() == "tok_capture_declined" => {
                refused("card_declined")
            }
            Some(Known::Authorization { outcome: Outcome::Refused { .. }, .. }) => refused("not_authorized"),
            Some(Known::Authorization { fate, .. }) => {
                *fate = Fate::Taken;
                Outcome::Executed(amount)
            }
            Some(Known::Lost | Known::Done(_)) | None => Outcome::Executed(amount),
        };
        memory.remember(key, Known::Done(outcome.clone()));
        outcome
    }
}

impl Provider for Scripted {
    async fn execute(&self, request: &Request) -> Result<Outcome, Unclear> {
        let key = &request.key;
        match &request.act {
            Act::Authorize { amount, token } => self.authorize(key, *amount, token).await,
            Act::Void { authorization, amount } => Ok(self.void(key, authorization, *amount)),
            Act::Capture { authorization, amount } => Ok(self.capture(key, authorization, *amount)),
        }
    }

    async fn ask(&self, key: &ProviderKey) -> Result<Found, Unclear> {
        Ok(match self.memory().known.get(key) {
            Some(Known::Authorization { outcome, .. } | Known::Done(outcome)) => Found::Definite(outcome.clone()),
            Some(Known::Lost) | None => Found::NotFound,
        })
    }
}

impl Memory {
    fn remember(&mut self, key: &ProviderKey, what: Known) {
        if self.known.insert(key.clone(), what).is_some() {
            return;
        }
        self.oldest.push_back(key.clone());
        if self.oldest.len() > Scripted::REMEMBERS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn refused(decline_code: &str) -> Outcome {
    Outcome::Refused { decline_code: decline_code.to_owned() }
}

#[cfg(test)]
mod tests {
    use contracts::{Currency, OrderId};

    use super::*;
    use crate::provider::Operation;

    const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };

    /// One order's calls under one token.
    struct Card {
        provider: Scripted,
        order: OrderId,
        token: PaymentToken,
    }

    impl Card {
        fn with(token: &str) -> Self {
            let token = PaymentToken::try_from(token.to_owned()).unwrap();
            Self { provider: Scripted::default(), order: OrderId::mint(), token }
        }

        fn key(&self, operation: Operation) -> ProviderKey {
            ProviderKey::of(self.order, operation)
        }

        async fn call(&self, operation: Operation) -> Result<Outcome, Unclear> {
            let authorization = self.key(Operation::Authorize);
            let act = match operation {
                Operation::Authorize => Act::Authorize { amount: PRICE, token: self.token.clone() },
                Operation::Void => Act::Void { authorization, amount: PRICE },
                Operation::Capture => Act::Capture { authorization, amount: PRICE },
            };
            self.provider.execute(&Request { key: self.key(operation), act }).await
        }

        async fn ask(&self) -> Found {
            self.provider.ask(&self.key(Operation::Authorize)).await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_says_what_becomes_of_its_calls() {
        let done = || Ok(Outcome::Executed(PRICE));
        for (token, authorize, capture) in [
            ("tok_ok", done(), done()),
            ("tok_slow_1s", done(), done()),
            ("tok_capture_declined", done(), Ok(refused("card_declined"))),
            ("tok_authorize_declined", Ok(refused("card_declined")), Ok(refused("not_authorized"))),
            ("tok_nobody_knows", Ok(refused("unknown_token")), Ok(refused("not_authorized"))),
        ] {
            let card = Card::with(token);
            assert_eq!(card.call(Operation::Authorize).await, authorize, "{token}");
            assert_eq!(card.call(Operation::Capture).await, capture, "{token}");
            assert_eq!(card.call(Operation::Capture).await, capture, "{token}: the first result of a key stays");
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_found_by_asking() {
        let card = Card::with("tok_authorize_timeout_done");
        assert_eq!(card.call(Operation::Authorize).await, Err(Unclear));
        assert_eq!(card.ask().await, Found::Definite(Outcome::Executed(PRICE)));
    }

    #[tokio::test]
    async fn a_call_that_was_lost_is_not_found_and_works_the_second_time() {
        let card = Card::with("tok_authorize_timeout_lost");
        assert_eq!(card.call(Operation::Authorize).await, Err(Unclear));
        assert_eq!(card.ask().await, Found::NotFound);
        assert_eq!(card.call(Operation::Authorize).await, Ok(Outcome::Executed(PRICE)));
    }

    #[tokio::test]
    async fn a_void_refuses_the_authorization_that_comes_after_it() {
        let card = Card::with("tok_ok");
        assert_eq!(card.call(Operation::Void).await, Ok(Outcome::Executed(PRICE)));
        assert_eq!(card.call(Operation::Authorize).await, Ok(refused("voided")));
        assert_eq!(card.call(Operation::Capture).await, Ok(refused("authorization_voided")));
    }

    #[tokio::test]
    async fn what_was_captured_cannot_be_voided() {
        let card = Card::with("tok_ok");
        card.call(Operation::Authorize).await.unwrap();
        card.call(Operation::Capture).await.unwrap();
        assert_eq!(card.call(Operation::Void).await, Ok(refused("already_captured")));
    }
}
