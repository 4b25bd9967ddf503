//! Whatever dies, every order settles, and the books add up.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::world::{OK, PATIENCE, World, many};

/// Every service is killed while orders are on their way; each is started again, and nothing is lost or done twice.
#[tokio::test]
async fn a_killed_service_loses_nothing() {
    let world = Arc::new(World::new("killed", 1).await);
    world.product("KILL", 9_999).await;
    let quiet = many(&world, "KILL", 50).await;
    for service in ["order", "inventory", "billing"] {
        let mut buying = JoinSet::new();
        let customers = world.clone();
        buying.spawn(async move { many(&customers, "KILL", 200).await });
        // Some orders have begun, and most are still to come.
        let begun = world.stock_moves("KILL").await;
        world.until_stock_moves("KILL", begun).await;
        assert!(buying.try_join_next().is_none(), "orders are on their way when {service} dies");
        world.shop.kill(service).await.unwrap();
        let orders = buying.join_next().await.unwrap().unwrap();
        // A machine that is slow enough may bring the service back after the deadline of a saga, which then gives up.
        let late = orders.iter().filter(|order| order.cancel_reason["code"] == "timed_out").count();
        let confirmed = count(&orders, "confirmed");
        assert_eq!(confirmed + count(&orders, "cancelled"), 200, "{service}");
        assert!((120 - late.min(119)..=120).contains(&confirmed), "{service}: {confirmed} confirmed, {late} late");
    }
    assert_eq!(count(&quiet, "confirmed"), 30);
    let examined = world.audit().await;
    assert!(examined.values().all(|rows| *rows > 0), "{examined:?}");
    let restarts: u32 = world.shop.state().parts.iter().map(|part| part.restarts).sum();
    assert_eq!(restarts, 3, "each service was started again once");
}

/// The answer to a key outlives the process that gave it.
#[tokio::test]
async fn the_same_key_gets_the_same_order_after_a_restart() {
    let world = World::new("repeated", 1).await;
    world.product("REPEAT", 10).await;
    let customer = world.customer();
    let first = customer.buy_with("key", "REPEAT", 1, OK).await;
    world.shop.kill("order").await.unwrap();
    tokio::time::timeout(PATIENCE, world.shop.all_up()).await.unwrap();
    let again = customer.buy_with("key", "REPEAT", 1, OK).await;
    assert_eq!(first.id, again.id);
    assert_eq!(world.stock("REPEAT").await, (10, 1));
}

/// With three processes of each service, every order still settles once.
#[tokio::test]
async fn replicas_share_the_work_and_the_books() {
    let world = Arc::new(World::new("replicas", 3).await);
    world.product("REPLICA", 9_999).await;
    let orders = many(&world, "REPLICA", 200).await;
    assert_eq!(count(&orders, "confirmed"), 120);
    assert_eq!(count(&orders, "cancelled"), 80);
    world.audit().await;
    for process in ["order", "order-2", "order-3", "inventory-2", "billing-3"] {
        let log = world.log(process);
        let mut shares = log.lines().filter(|line| line.contains("partitions are assigned"));
        assert!(shares.any(|line| !line.ends_with("partitions=0")), "{process} had a share of the work");
    }
}

fn count(orders: &[super::world::Order], status: &str) -> usize {
    orders.iter().filter(|order| order.status == status).count()
}

impl World {
    async fn stock_moves(&self, sku: &str) -> i64 {
        self.stock(sku).await.1
    }

    /// Waits until the held pieces of `sku` are no longer `before`.
    async fn until_stock_moves(&self, sku: &str, before: i64) {
        let moved = async { while self.stock_moves(sku).await == before {} };
        tokio::time::timeout(PATIENCE, moved).await.expect("the stock moves");
    }
}
