//! What an operator sees.

use super::world::{OK, World, world};

/// One metric of the first process of `service`.
async fn metric(world: &World, service: &str, name: &str) -> f64 {
    let value = world.shop.metric(service, name).await.unwrap();
    value.unwrap_or_else(|| panic!("{service} does not measure {name}"))
}

#[tokio::test]
async fn every_service_tells_what_it_does() {
    let world = world().await;
    world.product("METRICS", 10).await;
    let placed = metric(world, "order", "orders_placed_total").await;
    let confirmed = metric(world, "order", "orders_confirmed_total").await;
    world.customer().buy("METRICS", 1, OK).await;
    // Other tests buy here, too.
    assert!(metric(world, "order", "orders_placed_total").await > placed);
    assert!(metric(world, "order", "orders_confirmed_total").await > confirmed);
    for service in ["order", "inventory", "billing"] {
        for counted in ["messaging_batches_total", "messaging_records_total", "messaging_published_total"] {
            assert!(metric(world, service, counted).await >= 1.0, "{service}: {counted}");
        }
        assert_eq!(metric(world, service, "messaging_relay_streaming").await, 1.0, "{service}");
        assert_eq!(metric(world, service, "messaging_generation").await, 1.0, "{service}");
        assert!(metric(world, service, "messaging_lag").await >= 0.0, "{service}");
        assert!(metric(world, service, "http_requests_total").await >= 1.0, "{service}");
        assert!(metric(world, service, "http_request_duration_seconds_count").await >= 1.0, "{service}");
    }
    assert!(metric(world, "billing", "messaging_retained_wal_bytes").await > 0.0);
    assert!(metric(world, "inventory", "messaging_oplog_window_seconds").await >= 0.0);
}
