//! What `cargo shop demo` shows.

use super::world::world;

#[tokio::test]
async fn the_demo_tells_of_every_outcome_and_all_are_as_promised() {
    let world = world().await;
    let report = shop::demo::run(&world.shop.state(), world.shop.folder()).await.unwrap();
    assert!(report.is_as_promised(), "{report}");
    let told = report.to_string();
    eprintln!("{told}");
    for part in [
        "inventory <- hold-stock",
        "billing   -> capture-payment: done",
        "inventory -> release-stock (compensation): done",
        "billing   -> void-payment (compensation): done",
        "billing   -> refund-payment: done",
        "inventory -> hold-stock: refused",
        "order.shipped.v1: a part of it has left",
        "customer   ! wants it cancelled",
        "9 of 9 orders ended as promised.",
    ] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
}
