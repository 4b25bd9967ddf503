//! The replica of the catalogue.

use super::bench::{Bench, eur, placed, product};
use crate::place::{PlaceError, place_all};

#[tokio::test]
async fn an_order_is_priced_from_the_latest_version() {
    let bench = Bench::new().await;
    // Version 3 twice and out of order, in one batch and over two.
    bench.products(&[product("MUG", 3, 1500), product("MUG", 2, 1400)]).await.unwrap();
    bench.products(&[product("MUG", 2, 1400)]).await.unwrap();
    let id = placed(place_all(&bench.app, &[bench.wish("a", "MUG", 2)]).await.unwrap().remove(0));
    assert_eq!(bench.show(id).await.total, eur(3000));

    bench.products(&[product("MUG", 4, 1600)]).await.unwrap();
    assert_eq!(bench.show(id).await.total, eur(3000), "the price is frozen in the order");
}

#[tokio::test]
async fn a_product_can_be_ordered_once_it_is_known() {
    let bench = Bench::new().await;
    let wish = bench.wish("a", "NEW", 1);
    let refused = place_all(&bench.app, std::slice::from_ref(&wish)).await.unwrap().remove(0);
    assert!(matches!(refused, Err(PlaceError::Refused(_))), "{refused:?}");
    bench.products(&[product("NEW", 1, 100)]).await.unwrap();
    // The refusal has not used up the key.
    placed(place_all(&bench.app, &[wish]).await.unwrap().remove(0));
}
