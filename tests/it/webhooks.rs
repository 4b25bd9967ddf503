//! What the payment provider says unasked, with the whole shop.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    witness::by_order,
    world::{World, world},
};

/// Buys with `card`; gives back how long it took, and what the provider has written down of the authorization.
async fn buy(world: &World, card: &str) -> (Duration, Vec<Value>) {
    let begun = Instant::now();
    let order = world.customer().buy("HOOKS", 1, card).await;
    let took = begun.elapsed();
    assert_eq!(order.status, "confirmed", "{card}");
    assert_eq!(world.payment(order.id).await, "captured", "{card}");
    let witness = world.witness().await;
    let key = format!("{}:authorize:1", order.id);
    let lines = by_order(&witness).remove(&order.id).unwrap();
    (took, lines.into_iter().filter(|line| line["key"] == key.as_str()).cloned().collect())
}

fn is_webhook(line: &Value, status: u16) -> bool {
    line["line"] == "webhook" && line["status"] == status
}

/// A call may take five seconds, and until then nobody would ask: but the webhook says that there is something to ask.
#[tokio::test]
async fn an_authorization_whose_answer_is_lost_is_settled_by_its_webhook() {
    let world = world().await;
    world.product("HOOKS", 100).await;
    for (card, webhooks) in [("tok_authorize_timeout_done", 1), ("tok_authorize_webhook_twice", 2)] {
        let (took, lines) = buy(world, card).await;
        assert!(took < Duration::from_secs(4), "{card} took {took:?}: the webhook changed nothing: {lines:?}");
        let told: Vec<&Value> = lines.iter().filter(|line| is_webhook(line, 204)).collect();
        assert_eq!(told.len(), webhooks, "{card}: {lines:?}");
        assert!(told.iter().all(|line| line["id"] == told[0]["id"]), "{card}: the same one each time");
        let calls = lines.iter().filter(|line| line["line"] == "request" && !line["operation"].is_null()).count();
        let asked = lines.iter().filter(|line| line["line"] == "request" && line["operation"].is_null()).count();
        assert_eq!(calls, 1, "{card}: asked, and not called again: {lines:?}");
        assert!(asked >= 1, "{card}: asked, and not believed: {lines:?}");
    }
}

#[tokio::test]
async fn a_webhook_before_the_answer_late_or_forged_changes_no_order() {
    let world = world().await;
    world.product("HOOKS", 100).await;
    let (_, lines) = buy(world, "tok_authorize_webhook_first").await;
    assert!(lines.iter().any(|line| is_webhook(line, 204)), "{lines:?}");
    let (took, lines) = buy(world, "tok_authorize_webhook_late").await;
    assert!(took >= Duration::from_secs(3) && lines.iter().any(|line| is_webhook(line, 204)), "{took:?}: {lines:?}");
    let (_, lines) = buy(world, "tok_authorize_webhook_forged").await;
    let refused = lines.iter().position(|line| is_webhook(line, 401));
    let done = lines.iter().position(|line| line["line"] == "executed");
    assert!(refused.is_some() && refused < done, "forged before anything was done: {lines:?}");
}
