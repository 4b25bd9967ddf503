//! What a customer can live to see.

use shop::audit::Verdict;

use super::world::{OK, World, world};

#[tokio::test]
async fn an_order_is_confirmed() {
    let world = world().await;
    world.product("BUY-OK", 10).await;
    let order = world.customer().buy("BUY-OK", 3, OK).await;
    assert_eq!((order.status.as_str(), order.version), ("confirmed", 2));
    assert_eq!(world.payment(order.id).await, "captured");
    assert_eq!(world.stock("BUY-OK").await, (10, 3));
}

#[tokio::test]
async fn a_declined_card_releases_the_stock() {
    let world = world().await;
    world.product("BUY-DECLINED", 10).await;
    let order = world.customer().buy("BUY-DECLINED", 3, "tok_authorize_declined").await;
    assert_eq!((order.status.as_str(), order.version), ("cancelled", 2));
    assert_eq!(order.cancel_reason["code"], "payment_declined");
    assert_eq!(world.payment(order.id).await, "refused");
    assert_eq!(world.stock("BUY-DECLINED").await, (10, 0));
}

#[tokio::test]
async fn out_of_stock_voids_the_authorization() {
    let world = world().await;
    world.product("BUY-SHORT", 2).await;
    let order = world.customer().buy("BUY-SHORT", 3, OK).await;
    assert_eq!((order.status.as_str(), order.version), ("cancelled", 2));
    assert_eq!(order.cancel_reason["code"], "out_of_stock");
    assert_eq!(world.payment(order.id).await, "voided");
    assert_eq!(world.stock("BUY-SHORT").await, (2, 0));
}

#[tokio::test]
async fn a_refused_capture_undoes_both() {
    let world = world().await;
    world.product("BUY-UNDONE", 10).await;
    let order = world.customer().buy("BUY-UNDONE", 3, "tok_capture_declined").await;
    assert_eq!(order.cancel_reason["code"], "payment_declined");
    assert_eq!(world.payment(order.id).await, "voided");
    assert_eq!(world.stock("BUY-UNDONE").await, (10, 0));
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_until_it_is_known() {
    let world = world().await;
    world.product("BUY-UNKNOWN", 10).await;
    for token in ["tok_authorize_timeout_done", "tok_authorize_timeout_lost"] {
        let order = world.customer().buy("BUY-UNKNOWN", 1, token).await;
        assert_eq!(order.status, "confirmed", "{token}");
        assert_eq!(world.payment(order.id).await, "captured", "{token}");
    }
}

/// The card takes longer than an order may.
#[tokio::test]
async fn an_order_that_takes_too_long_is_cancelled_and_undone() {
    let world = World::set_to("given-up", vec![("CHECKOUT_DEADLINE_S", "3".to_owned())]).await;
    world.product("BUY-LATE", 10).await;
    let order = world.customer().buy("BUY-LATE", 3, "tok_slow_8s").await;
    assert_eq!(order.cancel_reason["code"], "timed_out");
    assert_eq!(world.payment(order.id).await, "voided");
    assert_eq!(world.stock("BUY-LATE").await, (10, 0));
    let report = world.shop.audit().await.unwrap();
    assert_ne!(report.verdict(), Verdict::Violated, "{report}");
}

/// The last piece goes to one of many who want it at once.
#[tokio::test]
async fn the_last_piece_is_sold_once() {
    let world = world().await;
    world.product("BUY-LAST", 1).await;
    let mut buying = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let customer = world.customer();
        buying.spawn(async move { customer.buy("BUY-LAST", 1, OK).await.status });
    }
    let ended = buying.join_all().await;
    assert_eq!(ended.iter().filter(|status| *status == "confirmed").count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(|status| *status == "cancelled").count(), 19, "{ended:?}");
    assert_eq!(world.stock("BUY-LAST").await, (1, 1));
}
