//! What an operator sees.

use super::world::{OK, world};

#[tokio::test]
async fn every_service_tells_what_it_does() {
    let world = world().await;
    world.product("METRICS", 10).await;
    let placed = world.metric("order", "orders_placed_total").await;
    let confirmed = world.metric("order", "orders_confirmed_total").await;
    world.customer().buy("METRICS", 1, OK).await;
    // Other tests buy here, too.
    assert!(world.metric("order", "orders_placed_total").await > placed);
    assert!(world.metric("order", "orders_confirmed_total").await > confirmed);
    for service in ["order", "inventory", "billing"] {
        for counted in ["messaging_batches_total", "messaging_records_total", "messaging_published_total"] {
            assert!(world.metric(service, counted).await >= 1.0, "{service}: {counted}");
        }
        assert_eq!(world.metric(service, "messaging_relay_streaming").await, 1.0, "{service}");
        assert_eq!(world.metric(service, "messaging_generation").await, 1.0, "{service}");
        assert!(world.metric(service, "messaging_lag").await >= 0.0, "{service}");
        assert!(world.metric(service, "http_requests_total").await >= 1.0, "{service}");
        assert!(world.metric(service, "http_request_duration_seconds_count").await >= 1.0, "{service}");
    }
    assert!(world.metric("billing", "messaging_retained_wal_bytes").await > 0.0);
    assert!(world.metric("inventory", "messaging_oplog_window_seconds").await >= 0.0);
}
