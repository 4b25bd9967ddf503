//! What an operator sees.

use super::world::{OK, PATIENCE, world};

/// One row for each process; of a service also what waits to be read, to be sent, or for somebody.
#[tokio::test]
async fn the_status_is_one_table_of_all_that_runs_and_waits() {
    let world = world().await;
    world.product("STATUS", 10).await;
    world.customer().buy("STATUS", 1, OK).await;
    let looked = async {
        loop {
            let shown = shop::status::table(&world.shop.state(), world.shop.folder()).await.to_string();
            // The sagas are counted twice a second, the payments every other.
            let counted = |service: &str, place: usize| {
                shown.lines().any(|line| line.contains(service) && cells(line)[place].parse::<u32>().is_ok())
            };
            if counted("order service", 10) && counted("billing service", 12) {
                return shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let shown = tokio::time::timeout(PATIENCE, looked).await.unwrap();
    eprintln!("{shown}");
    let header = ["", "pid", "port", "health", "uptime", "memory", "restarts", "to read", "parked keys", "WAL kept"];
    let waits = ["open sagas", "parked sagas", "parked payments"];
    assert_eq!(cells(shown.lines().nth(1).unwrap()), [&header[..], &waits].concat());
    for part in world.shop.state().parts {
        let line = shown.lines().find(|line| cells(line)[0] == part.shown).unwrap_or_else(|| panic!("{part:?}"));
        let cells = cells(line);
        assert_eq!(cells[1], part.pid.unwrap().to_string());
        let is_service = part.shown.ends_with(" service");
        assert_eq!(cells[3], if is_service { "ready" } else { "up" }, "{line}");
        let count = |place: usize| cells[place].parse::<u64>().is_ok();
        assert_eq!([count(7), count(8)], [is_service; 2], "{line}");
        let (is_order, has_wal) = (part.name == "order", ["order", "billing"].contains(&part.name.as_str()));
        assert_eq!([count(10), count(11)], [is_order; 2], "{line}");
        assert_eq!(count(12), part.name == "billing", "{line}");
        assert_eq!(cells[9].ends_with(" MB"), has_wal, "{line}");
    }
}

/// What stands in the columns of a line; nothing in a border.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.strip_prefix('│').and_then(|line| line.strip_suffix('│')).unwrap_or_default();
    inner.split('┆').map(str::trim).collect()
}

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
