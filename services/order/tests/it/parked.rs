//! A saga that cannot go on is shown to operators, and goes on when one says so.

use axum::{body::Body, http::Method};
use contracts::{billing::BillingCommand, inventory::InventoryCommand};
use serde_json::json;
use uuid::Uuid;
use web::access::Principal;

use super::{
    bench::{Bench, Checkout},
    http::{Answer, bench},
};
use crate::{admission, cancel, order::Status, store};

/// An order whose money is to be given back, which was refused. No participant of today refuses that, so the row is made.
async fn refused_refund(bench: &Bench) -> (Checkout, Uuid) {
    let checkout = bench.confirmed().await;
    cancel::cancel(&bench.app, checkout.order).await.unwrap();
    let InventoryCommand::ReclaimStock { command, .. } = bench.sent().await.one() else { panic!("reclaim first") };
    bench.answers(vec![checkout.reclaimed(command)]).await.unwrap();
    let BillingCommand::RefundPayment { .. } = bench.sent().await.one() else { panic!("then refund") };
    let saga: Uuid = sqlx::query_scalar(
        r#"update saga set state = 'parked', wake_at = null, instance = jsonb_set(
               jsonb_set(instance::jsonb, '{phase}', '{"parked": {"step": "refund-payment", "reason": "shipped"}}'),
               '{steps,refund-payment}', '{"attempt": 1, "did": "refused", "undo": "no", "asking": null}')::json
           where order_id = $1 and kind = 'cancellation' returning id"#,
    )
    .bind(checkout.order.as_uuid())
    .fetch_one(bench.db())
    .await
    .unwrap();
    (checkout, saga)
}

async fn ask(bench: &Bench, who: Principal, method: Method, uri: &str) -> Answer {
    bench.call(bench.request(&who, uri).method(method).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_parked_saga_is_shown_with_its_reason_and_goes_on_when_an_operator_says_so() {
    let bench = bench().await;
    let none = ask(&bench, Principal::Operator, Method::GET, "/v1/sagas/parked").await;
    assert_eq!((none.status.as_u16(), none.body), (200, json!({"data": [], "has_more": false, "next_cursor": null})));
    let (checkout, saga) = refused_refund(&bench).await;
    let list = ask(&bench, Principal::Operator, Method::GET, "/v1/sagas/parked").await.body;
    let since = list["data"][0]["since"].clone();
    let shown = json!({ "saga": saga, "kind": "cancellation", "order": checkout.order, "step": "refund-payment",
                        "reason": "shipped", "since": since });
    assert_eq!(list["data"], json!([shown]));
    admission::look(&bench.app).await.unwrap();
    let counts = store::sagas::count(&mut bench.db().acquire().await.unwrap(), 10).await.unwrap();
    assert_eq!((counts.open, counts.parked), (0, 1));

    let resume = format!("/v1/sagas/{saga}/resume");
    let resumed = ask(&bench, Principal::Operator, Method::POST, &resume).await;
    assert_eq!((resumed.status.as_u16(), resumed.body), (202, json!({ "saga": saga, "order": checkout.order })));
    let BillingCommand::RefundPayment { command, .. } = bench.sent().await.one() else { panic!("it is asked anew") };
    assert_eq!(command.as_str(), format!("{saga}:refund-payment:do:2"), "a new attempt");
    let again = ask(&bench, Principal::Operator, Method::POST, &resume).await;
    assert_eq!((again.status.as_u16(), &again.body["code"]), (409, &json!("saga_not_parked")));
    assert!(bench.sent().await.kinds().is_empty());
    bench.answers(vec![checkout.refunded(command)]).await.unwrap();
    assert!(matches!(bench.show(checkout.order).await.status, Status::Cancelled(_)));
}

#[tokio::test]
async fn the_list_of_parked_sagas_goes_on_behind_one_that_cannot_be_read() {
    let bench = bench().await;
    let mut sagas = Vec::new();
    for _ in 0..3 {
        sagas.push(refused_refund(&bench).await.1);
    }
    sagas.sort_unstable();
    for damage in [
        "update saga set instance = '{}' where id = $1",
        "insert into saga_log (saga_id, seq, entries, at) values ($1, 1000, '[]', 'infinity')",
    ] {
        sqlx::query("create table kept as select * from saga").execute(bench.db()).await.unwrap();
        sqlx::query(damage).bind(sagas[1]).execute(bench.db()).await.unwrap();
        for (limit, pages) in
            [(1, vec![vec![sagas[0]], vec![], vec![sagas[2]]]), (2, vec![vec![sagas[0]], vec![sagas[2]]])]
        {
            let (mut seen, mut next) = (Vec::new(), String::new());
            loop {
                let uri = format!("/v1/sagas/parked?limit={limit}{next}");
                let page = ask(&bench, Principal::Operator, Method::GET, &uri).await;
                assert_eq!(page.status, 200, "{}", page.body);
                let ids = page.body["data"].as_array().unwrap().iter().map(|one| one["saga"].as_str().unwrap().parse());
                seen.push(ids.collect::<Result<Vec<Uuid>, _>>().unwrap());
                assert_eq!(page.body["has_more"], json!(!page.body["next_cursor"].is_null()));
                let Some(cursor) = page.body["next_cursor"].as_str() else { break };
                next = format!("&cursor={cursor}");
            }
            assert_eq!(seen, pages, "{damage}");
        }
        let mended = "update saga set instance = kept.instance from kept where kept.id = saga.id; drop table kept";
        sqlx::raw_sql(mended).execute(bench.db()).await.unwrap();
    }
}

#[tokio::test]
async fn only_operators_see_parked_sagas_and_there_must_be_one_to_go_on() {
    let bench = bench().await;
    let (_, saga) = refused_refund(&bench).await;
    let customer = Principal::Customer(bench.customer);
    let resume = format!("/v1/sagas/{saga}/resume");
    for (method, uri) in [(Method::GET, "/v1/sagas/parked"), (Method::POST, resume.as_str())] {
        assert_eq!(ask(&bench, customer, method, uri).await.status, 403, "{uri}");
    }
    assert_eq!(bench.sent().await.kinds().len(), 0, "it is parked still");
    let unknown = ask(&bench, Principal::Operator, Method::POST, &format!("/v1/sagas/{}/resume", Uuid::now_v7())).await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["code"]), (404, &json!("saga_not_found")));
    let none = ask(&bench, Principal::Operator, Method::POST, "/v1/sagas/seven/resume").await;
    assert_eq!((none.status.as_u16(), &none.body["code"]), (400, &json!("invalid_path")));
}
