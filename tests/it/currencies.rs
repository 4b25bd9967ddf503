//! Currencies of no and of three decimals, from the order to the ledger and back.

use contracts::{Currency, Money};
use serde_json::{Value, json};
use shop::Service;
use uuid::Uuid;

use super::world::{OK, World, world};

/// What `account` holds in `currency`, over all rates of VAT.
async fn balance(world: &World, account: &str, currency: Currency) -> i64 {
    let accounts = world.ask(Service::Billing, "/v1/ledger/accounts").await;
    let of = |one: &&Value| one["account"] == account && one["currency"] == currency.code();
    accounts["accounts"].as_array().unwrap().iter().filter(of).map(|one| one["balance"].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn an_order_in_yen_or_in_dinars_is_paid_booked_and_returned_to_the_last_unit() {
    let world = world().await;
    // Yen have no decimals, dinars three: 498 yen with 45 of VAT in them, 1.295 dinars with 0.062.
    for (sku, currency, price, rate, gross, vat) in
        [("CUR-JPY", Currency::JPY, 498, 1000, 3 * 498, 136), ("CUR-KWD", Currency::KWD, 1_295, 500, 3 * 1_295, 185)]
    {
        world.product_at(sku, 10, Money::new(price, currency), rate).await;
        let order = world.customer().buy(sku, 3, OK).await;
        assert_eq!(order.status, "confirmed", "{sku}");
        let payment = world.ask(Service::Billing, &format!("/v1/payments/{}", order.id)).await;
        assert_eq!(payment["amount"], json!({ "amount": gross, "currency": currency.code() }));
        assert_eq!(balance(world, "vat_payable", currency).await, -vat, "{sku}");
        assert_eq!(balance(world, "sales", currency).await, -(gross - vat), "{sku}");
        for (key, part) in [("first", 1), ("second", 500), ("third", gross - 501)] {
            world.refund(order.id, key, Money::new(part, currency)).await;
        }
        assert_eq!(world.refunded(order.id).await, ["refunded"; 3], "{sku}");
        assert_eq!(balance(world, "vat_payable", currency).await, 0, "{sku}");
        assert_eq!(balance(world, "sales", currency).await, 0, "{sku}");
        let (fees, owed) =
            (balance(world, "provider_fees", currency).await, balance(world, "provider_receivable", currency).await);
        assert!(fees > 0 && fees == -owed, "{sku}: the provider keeps its fee: {fees} {owed}");
    }
}

#[tokio::test]
async fn an_order_in_two_currencies_is_refused() {
    let world = world().await;
    world.product("CUR-EUR", 10).await;
    world.product_at("CUR-CHF", 10, Money::new(100, Currency::CHF), 810).await;
    let lines = json!([{ "sku": "CUR-EUR", "quantity": 1 }, { "sku": "CUR-CHF", "quantity": 1 }]);
    let answer = world.customer().post_lines(&Uuid::now_v7().to_string(), &lines, OK).await;
    assert_eq!(answer.status().as_u16(), 422);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["detail"], "EUR and CHF cannot be in one order");
    assert_eq!(world.stock("CUR-EUR").await, (10, 0));
}
