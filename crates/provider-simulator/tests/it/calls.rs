//! What becomes of calls.

use std::time::{Duration, Instant};

use provider_simulator::{Line, Operation};
use serde_json::json;

use crate::client::{Card, Simulator, captured, executed, refused};

#[tokio::test]
async fn money_is_set_aside_taken_and_returned_up_to_what_was_taken() {
    let provider = Simulator::start().await;
    assert_eq!(provider.call("a", &Card("tok_ok").authorize()).await, executed("a", 1290));
    assert_eq!(
        provider.call("c0", &Card::then("capture", Some(1289))).await,
        refused("c0", "not_the_authorized_amount")
    );
    assert_eq!(provider.call("c", &Card::then("capture", Some(1290))).await, captured("c", 1290, 18));
    assert_eq!(
        provider.call("c", &Card::then("capture", Some(1290))).await,
        captured("c", 1290, 18),
        "the first result"
    );
    assert_eq!(provider.call("c2", &Card::then("capture", Some(1290))).await, refused("c2", "already_captured"));
    assert_eq!(provider.call("v", &Card::then("void", None)).await, refused("v", "already_captured"));
    assert_eq!(provider.call("r1", &Card::then("refund", Some(1000))).await, executed("r1", 1000));
    assert_eq!(provider.call("r2", &Card::then("refund", Some(291))).await, refused("r2", "more_than_is_left"));
    assert_eq!(provider.call("r3", &Card::then("refund", Some(290))).await, executed("r3", 290));
    assert_eq!(provider.find("r2").await, refused("r2", "more_than_is_left"));
    let other = provider.call("c", &Card::then("capture", Some(1))).await;
    assert_eq!((other.0, &other.1["code"]), (422, &json!("key_reused")));
}

#[tokio::test]
async fn a_void_refuses_the_authorization_that_comes_after_it() {
    let provider = Simulator::start().await;
    let nothing = (200, json!({ "key": "v", "status": "executed", "amount": null, "fee": null }));
    assert_eq!(provider.call("v", &Card::then("void", None)).await, nothing);
    assert_eq!(provider.call("a", &Card("tok_ok").authorize()).await, refused("a", "voided"));
    assert_eq!(provider.call("c", &Card::then("capture", Some(1290))).await, refused("c", "not_authorized"));
}

#[tokio::test]
async fn a_token_says_what_becomes_of_its_calls() {
    for (token, authorize, capture) in [
        ("tok_authorize_declined", refused("a", "card_declined"), refused("c", "not_authorized")),
        ("tok_nobody_knows", refused("a", "unknown_token"), refused("c", "not_authorized")),
        ("tok_capture_declined", executed("a", 1290), refused("c", "card_declined")),
        ("tok_wrong_amount", executed("a", 1291), captured("c", 1290, 18)),
        ("tok_capture_wrong_id", executed("a", 1290), captured("c-of-another", 1290, 18)),
    ] {
        let provider = Simulator::start().await;
        let asked = [
            (provider.call("a", &Card(token).authorize()).await, authorize),
            (provider.call("c", &Card::then("capture", Some(1290))).await, capture),
        ];
        for (answer, expected) in asked {
            assert_eq!(answer, expected, "{token}");
        }
        let done = provider.log().await;
        let lies =
            done.iter().any(|line| matches!(line, Line::Executed { done: Some(done), .. } if done.amount != 1290));
        assert!(!lies, "{token}: the log is true, whatever was said");
    }
    let provider = Simulator::start().await;
    let (_, said) = provider.call("a", &Card("tok_wrong_currency").authorize()).await;
    assert_eq!(said["amount"], json!({ "amount": 1290, "currency": "CHF" }));
}

#[tokio::test]
async fn an_error_hides_what_was_done_or_what_was_not() {
    for (token, known) in [("tok_error_done", executed("a", 1290).0), ("tok_error_lost", 404)] {
        let provider = Simulator::start().await;
        assert_eq!(provider.call("a", &Card(token).authorize()).await.0, 500, "{token}");
        assert_eq!(provider.find("a").await.0, known, "{token}");
        assert_eq!(provider.call("a", &Card(token).authorize()).await, executed("a", 1290), "{token}");
    }
}

#[tokio::test]
async fn a_slow_call_is_done_in_its_time_although_its_caller_hangs_up() {
    let provider = Simulator::start().await;
    let begun = Instant::now();
    let slow = Card("tok_slow_1s").authorize();
    let hung_up = tokio::time::timeout(Duration::from_millis(100), provider.post("a", &slow)).await;
    assert!(hung_up.is_err());
    assert_eq!(provider.find("a").await.0, 404);
    while provider.find("a").await.0 == 404 {
        assert!(begun.elapsed().as_secs() < 20);
    }
    assert!(begun.elapsed().as_millis() >= 1000);
    assert_eq!(provider.call("a", &slow).await, executed("a", 1290));
    let log = provider.log().await;
    let lookups = log.iter().filter(|line| matches!(line, Line::Request { operation: None, .. })).count();
    let calls = log.iter().filter(|line| matches!(line, Line::Request { operation: Some(Operation::Authorize), .. }));
    assert!(lookups >= 2);
    assert_eq!(calls.count(), 2);
}
