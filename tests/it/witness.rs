//! What the payment provider's own log tells of an order.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// The lines about each order, in the order of the log.
pub(crate) fn by_order(witness: &[Value]) -> BTreeMap<Uuid, Vec<&Value>> {
    let mut lines: BTreeMap<Uuid, Vec<&Value>> = BTreeMap::new();
    for line in witness {
        let order = line["key"].as_str().unwrap().split(':').next().unwrap();
        lines.entry(order.parse().unwrap()).or_default().push(line);
    }
    lines
}

/// Whether `card` did what is written on it to `order`, of which the provider has `lines`. Whether something of it was
/// `parked` is the shop's to say: the provider's log is true, also of what it misstated.
pub(crate) fn reached(card: &str, order: Uuid, lines: &[&Value], parked: bool) -> bool {
    let rest = card.strip_prefix("tok_").unwrap();
    let operations = ["authorize", "capture", "refund"];
    let named = operations.iter().find_map(|one| Some((*one, rest.strip_prefix(one)?.strip_prefix('_')?)));
    let (operation, behaviour) = named.unwrap_or(("authorize", rest));
    let of_key = format!("{order}:{operation}:");
    let lines: Vec<&&Value> = lines.iter().filter(|line| line["key"].as_str().unwrap().starts_with(&of_key)).collect();
    let place = |what: &dyn Fn(&Value) -> bool| lines.iter().position(|line| what(line));
    let executed = place(&|line| line["line"] == "executed");
    let webhook =
        |status: u16| lines.iter().filter(|line| line["line"] == "webhook" && line["status"] == status).count();
    match behaviour {
        "declined" => place(&|line| line["decline_code"] == "card_declined").is_some(),
        "timeout_lost" | "error_lost" => place(&|line| line["lost"] == true).is_some(),
        // It was done, and asked about once more: its answer had not come.
        "timeout_done" | "error_done" => {
            executed.is_some_and(|done| lines[done..].iter().any(|line| line["line"] == "request"))
        }
        "webhook_twice" => webhook(204) >= 2,
        "webhook_late" => webhook(204) >= 1,
        "webhook_forged" => webhook(401) >= 1,
        "wrong_amount" | "wrong_currency" | "wrong_id" => parked,
        slow => {
            let least = slow.strip_prefix("slow_").and_then(|time| time.strip_suffix('s')).unwrap().parse::<f64>();
            let at = |place: usize| -> jiff::Timestamp { lines[place]["at"].as_str().unwrap().parse().unwrap() };
            let took = executed.map(|done| at(done).duration_since(at(0)).as_secs_f64());
            took.is_some_and(|took| took >= least.unwrap())
        }
    }
}
