//! The replica of the catalogue.

use contracts::inventory::CatalogueEvent;
use messaging::HandleError;

use super::bench::{Bench, eur, placed, product, record};
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

#[tokio::test]
async fn a_product_that_is_none_is_the_messages_fault_and_found_before_the_database_is_asked() {
    let bench = Bench::new().await;
    let too_late = product("MUG", u32::MAX, 100);
    let mut too_long = product("MUG", 2, 100);
    let mut too_high = product("MUG", 2, 100);
    let CatalogueEvent::ProductChanged { name, .. } = &mut too_long;
    *name = "x".repeat(900_000);
    let CatalogueEvent::ProductChanged { vat_rate, .. } = &mut too_high;
    *vat_rate = u32::MAX;
    for wrong in [too_late, too_long, too_high] {
        let (right, wrong) = (record(&product("NEW", 1, 100)), record(&wrong));
        let guilty = wrong.id;
        let refused = bench.product_records(vec![right, wrong]).await;
        assert!(matches!(refused, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{refused:?}");
    }
    // What inventory may say at the most is taken in.
    let mut longest = product("MUG", u32::try_from(i32::MAX).unwrap(), 100);
    let CatalogueEvent::ProductChanged { name, vat_rate, .. } = &mut longest;
    (*name, *vat_rate) = ("\u{1f528}".repeat(200), 10_000);
    bench.products(&[longest]).await.unwrap();
}

#[tokio::test]
async fn a_product_that_cannot_be_read_holds_up_no_order_for_another() {
    let bench = Bench::new().await;
    let damaged = "update product set price_currency = 'DUCATS' where sku = 'PAN'";
    assert_eq!(sqlx::query(damaged).execute(bench.db()).await.unwrap().rows_affected(), 1);
    let wishes = [bench.wish("a", "PAN", 1), bench.wish("b", "MUG", 1)];
    let mut answers = place_all(&bench.app, &wishes).await.unwrap();
    placed(answers.remove(1));
    assert!(matches!(answers.remove(0), Err(PlaceError::Refused(_))));
    bench.products(&[product("PAN", 2, 100)]).await.unwrap();
    placed(place_all(&bench.app, &wishes).await.unwrap().remove(0));
}
