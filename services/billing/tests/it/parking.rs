//! What the provider says and cannot be booked: the payment is parked, the ledger untouched.

use axum::http::{Method, StatusCode};
use billing::provider::Operation;
use contracts::Message;
use messaging::HandleError;
use serde_json::{Value, json};
use web::access::Principal;

use crate::bench::{Bench, EAGER, HANDED_OVER_ONLY, Mood, Order, WATCHFUL};
use crate::http::Client;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

impl Bench {
    /// Waits until something is parked, and says why.
    async fn parked(&self) -> String {
        let why = async || {
            let parked = sqlx::query_scalar("select parked from intent where parked is not null");
            parked.fetch_optional(&self.pool).await.unwrap()
        };
        self.poll(why).await
    }

    /// Makes all intents due that are not parked.
    pub(crate) async fn now(&self) {
        sqlx::raw_sql("update intent set next_try_at = now() where parked is null").execute(&self.pool).await.unwrap();
    }

    /// Waits until the call at hand is booked, which is leased for an hour until then.
    async fn put_off(&self) {
        let leased =
            async || self.count("select count(*) from intent where next_try_at > now() + interval '10 min'").await;
        self.poll(async || (leased().await == 0).then_some(())).await;
    }

    /// Waits until the intent there is was turned away so often in a row.
    async fn turned_away(&self, times: i64) {
        let count = async || self.count("select max(turned_away)::bigint from intent").await;
        self.poll(async || (count().await == times).then_some(())).await;
    }
}

#[tokio::test]
async fn a_wrong_amount_currency_or_id_parks_the_payment_and_leaves_the_ledger_untouched() {
    for (behaviour, reason) in [
        ("wrong_amount", "the provider says 12.91 EUR where 12.90 EUR was asked for"),
        ("wrong_currency", "the provider says 12.90 CHF where 12.90 EUR was asked for"),
        ("wrong_id", "which was not asked about"),
    ] {
        for (operation, state, booked) in [("authorize", "authorizing", 0), ("capture", "capturing", 1)] {
            let bench = Bench::start(WATCHFUL).await;
            let client = Client::of(&bench);
            let token = format!("tok_{operation}_{behaviour}").leak();
            let order = Order::with(token);
            bench.send(&[order.authorize()]).await.unwrap();
            if operation == "capture" {
                bench.answered(1).await;
                bench.send(&[order.capture()]).await.unwrap();
            }
            let why = bench.parked().await;
            assert!(why.contains(reason), "{token}: {why}");
            let before = bench.count("select count(*) from ledger_entry").await;
            assert_eq!(before, booked, "{token}: only an authorization that was right");
            bench.send(&[order.void()]).await.unwrap();

            // Others go on, and nobody asks about the parked one.
            let key = order.key(if booked == 0 { Operation::Authorize } else { Operation::Capture });
            let calls = (bench.provider.executed(&key), bench.provider.asked(&key));
            let other = Order::with("tok_ok");
            bench.send(&[other.authorize()]).await.unwrap();
            bench.answered(2 - usize::from(booked == 0)).await;
            assert_eq!((bench.provider.executed(&key), bench.provider.asked(&key)), calls, "{token}");
            assert_eq!(bench.state(order.id).await, state, "{token}");
            assert_eq!(
                bench.count("select count(*) from ledger_entry").await,
                booked + 1,
                "{token}: the other's alone"
            );

            let (_, seen) = client.get(&format!("/v1/payments/{}", order.id), OPERATOR).await;
            let intent = &seen["intents"][0];
            assert_eq!((&intent["parked"], &intent["next_try_at"]), (&json!(why), &Value::Null), "{token}");
            assert_eq!(seen["commands"].as_array().unwrap().last().unwrap()["progress"], json!("waiting"), "{token}");
        }
    }
}

#[tokio::test]
async fn an_operator_resumes_what_is_parked_and_it_is_asked_again() {
    let bench = Bench::start(WATCHFUL).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let resume = format!("/v1/payments/{}/resume", order.id);
    bench.provider.is(Mood::Misstates);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.parked().await;
    for (principal, status) in [(None, 401), (Some(Principal::Customer(order.customer)), 403)] {
        assert_eq!(client.send(Method::POST, &resume, principal).await.0.as_u16(), status);
    }
    bench.provider.is(Mood::Talks);
    assert_eq!(client.send(Method::POST, &resume, OPERATOR).await.0, StatusCode::ACCEPTED);
    let answers = bench.answered(1).await;
    assert_eq!(answers[0].kind(), "billing.payment-authorized.v1");
    assert_eq!(bench.provider.executed(&order.key(Operation::Authorize)), 1, "asked, not called again");
    let (status, problem) = client.send(Method::POST, &resume, OPERATOR).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_parked")));
}

#[tokio::test]
async fn an_operator_sees_all_that_is_parked_and_nothing_else() {
    let bench = Bench::start(WATCHFUL).await;
    let client = Client::of(&bench);
    let list = async |rest: &str| {
        let (status, page) = client.get(&format!("/v1/payments?state=parked{rest}"), OPERATOR).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page
    };
    assert_eq!(list("").await, json!({ "data": [], "has_more": false, "next_cursor": null }));
    let wrong = [(); 3].map(|()| Order::with("tok_authorize_wrong_amount"));
    let all: Vec<_> = wrong.iter().chain([&Order::with("tok_ok")]).map(Order::authorize).collect();
    bench.send(&all).await.unwrap();
    bench.answered(1).await;
    let parked = "select count(*) from intent where parked is not null";
    bench.poll(async || (bench.count(parked).await == 3).then_some(())).await;
    let first = list("&limit=2").await;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
    let second = list(&format!("&limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(second["has_more"], json!(false));
    let entries = [first["data"].as_array().unwrap().clone(), second["data"].as_array().unwrap().clone()].concat();
    let mut ids: Vec<_> = wrong.iter().map(|order| order.id.to_string()).collect();
    ids.sort_unstable();
    let seen: Vec<&str> = entries.iter().map(|one| one["order"].as_str().unwrap()).collect();
    assert_eq!(seen, ids);
    assert_eq!((&entries[0]["operation"], entries[0]["parked"].is_string()), (&json!("authorize"), true));
    for query in ["", "?state=captured", "?state=parked&limit=0", "?state=parked&cursor=1"] {
        let (status, problem) = client.get(&format!("/v1/payments{query}"), OPERATOR).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_query")), "{query}");
    }
}

#[tokio::test]
async fn what_the_provider_turns_away_is_counted_and_after_ten_times_in_a_row_waits_for_an_operator() {
    service::metrics::init();
    let bench = Bench::start(WATCHFUL).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Void);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    bench.provider.is(Mood::TurnsAway(key.clone()));
    bench.send(&[order.void()]).await.unwrap();
    bench.poll(async || (bench.provider.asked(&key) > 1).then_some(())).await;
    assert_eq!(bench.count("select count(*) from intent where parked is not null").await, 0, "not at once");
    let counted = service::metrics::render();
    let counter = r#"provider_calls_turned_away_total{operation="void"}"#;
    assert!(counted.lines().any(|line| line.starts_with(counter)), "{counted}");

    // As if it had been turned away so often: the pauses grow. Not while it is called, which is leased for an hour: there
    // would be two calls.
    let nine = "update intent set turned_away = 9, next_try_at = now()
                where parked is null and next_try_at < now() + interval '10 min'";
    let reason = "the provider turns the call away with status 404, 10 times in a row";
    bench
        .poll(async || {
            sqlx::raw_sql(nine).execute(&bench.pool).await.unwrap();
            (bench.count("select count(*) from intent where parked is not null").await == 1).then_some(())
        })
        .await;
    assert_eq!(bench.parked().await, reason);
    let (_, listed) = client.get("/v1/payments?state=parked", OPERATOR).await;
    assert_eq!((&listed["data"][0]["order"], &listed["data"][0]["parked"]), (&json!(order.id), &json!(reason)));
    let asked = bench.provider.asked(&key);

    // Nobody asks, until an operator has spoken with the provider.
    let other = Order::with("tok_ok");
    bench.send(&[other.authorize()]).await.unwrap();
    bench.answered(2).await;
    assert_eq!(bench.provider.asked(&key), asked);
    let resume = format!("/v1/payments/{}/resume", order.id);
    assert_eq!(client.send(Method::POST, &resume, OPERATOR).await.0, StatusCode::ACCEPTED);
    bench.turned_away(1).await;
    bench.provider.is(Mood::Talks);
    bench.now().await;
    assert_eq!(bench.answered(3).await[2].kind(), "billing.payment-voided.v1");
}

/// The provider was down for long, comes back, and turns everything away for a moment.
#[tokio::test]
async fn only_what_is_turned_away_again_and_again_is_given_up() {
    let bench = Bench::start(WATCHFUL).await;
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Void);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    bench.provider.is(Mood::Silent);
    bench.send(&[order.void()]).await.unwrap();
    bench.poll(async || (bench.provider.executed(&key) == 1).then_some(())).await;
    bench.put_off().await;
    // As after an hour: answers that did not come, calls that were not made, processes that died.
    let long = "update intent set tries = 100, next_try_at = now()";
    bench.poll(async || Some(sqlx::raw_sql(long).execute(&bench.pool).await.unwrap())).await;
    bench.poll(async || (bench.count("select max(tries)::bigint from intent").await == 101).then_some(())).await;
    bench.put_off().await;
    bench.provider.is(Mood::TurnsAway(key.clone()));
    for times in 1..=9 {
        bench.now().await;
        bench.turned_away(times).await;
    }
    // No answer: whatever was turned away before, this was not.
    bench.provider.is(Mood::Silent);
    bench.now().await;
    bench.turned_away(0).await;
    bench.provider.is(Mood::TurnsAway(key.clone()));
    bench.now().await;
    bench.turned_away(1).await;
    assert_eq!(bench.count("select count(*) from intent where parked is not null").await, 0);
    bench.provider.is(Mood::Talks);
    bench.now().await;
    assert_eq!(bench.answered(2).await[1].kind(), "billing.payment-voided.v1");
}

/// A booking whose commit the database takes at the fourth time only.
#[tokio::test]
async fn what_is_turned_away_or_parked_is_said_once_however_often_it_is_booked() {
    service::metrics::init();
    let said = testkit::log(tracing::Level::WARN);
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    let fails = "create sequence tries;
                 create function fails() returns trigger language plpgsql as $$ begin
                     if nextval('tries') <= 3 then raise exception 'busy' using errcode = '40001'; end if;
                     return new;
                 end $$;
                 create constraint trigger fails after update on intent deferrable initially deferred
                     for each row execute function fails();
                 alter table intent alter column turned_away set default 9";
    sqlx::raw_sql(fails).execute(&bench.pool).await.unwrap();
    bench.provider.is(Mood::TurnsAway(order.key(Operation::Capture)));
    bench.send(&[order.capture()]).await.unwrap();
    let reason = "the provider turns the call away with status 404, 10 times in a row";
    assert_eq!(bench.parked().await, reason);
    assert_eq!(bench.count("select last_value from tries").await, 5, "three in vain, then it is put off and parked");
    let id = order.id.to_string();
    bench.poll(async || said().contains(&id).then_some(())).await;
    let said = said();
    let of_order: Vec<&str> = said.lines().filter(|line| line.contains(&id)).collect();
    assert!(matches!(of_order[..], [one] if one.contains(reason)), "{of_order:?}");
    assert!(!of_order[0].contains("booked"), "the provider said nothing that could be: {of_order:?}");
    // Of captures, nothing but this is turned away in this process.
    let counted = service::metrics::render();
    assert!(counted.contains("provider_calls_turned_away_total{operation=\"capture\"} 1\n"), "{counted}");
}

#[tokio::test]
async fn a_void_over_an_amount_that_is_not_said_releases_all_that_was_set_aside() {
    let bench = Bench::start(EAGER).await;
    let order = Order::with("tok_ok");
    bench.provider.is(Mood::Withholds);
    bench.send(&[order.authorize(), order.void()]).await.unwrap();
    assert_eq!(bench.answered(2).await[1].kind(), "billing.payment-voided.v1");
    assert_eq!(bench.count("select count(*) from ledger_entry where kind = 'release'").await, 1);
    assert_eq!(bench.balances().await, [], "nothing is set aside any more");
    let said = "select count(*) from payment_outcome where operation = 'void' and amount is null";
    assert_eq!(bench.count(said).await, 1, "what the provider said is kept as it said it");
}

#[tokio::test]
async fn a_payment_that_cannot_be_read_holds_up_no_other() {
    for damage in [
        r#"commands = '[{"id": "x", "kind": "of_a_later_version", "progress": "waiting"}]'"#,
        "currency = 'DUCATS'",
        r#"lines = '[]'"#,
    ] {
        let bench = Bench::start(EAGER).await;
        let client = Client::of(&bench);
        let (damaged, whole) = (Order::with("tok_ok"), Order::with("tok_ok"));
        bench.provider.is(Mood::Silent);
        bench.send(&[damaged.authorize(), whole.authorize()]).await.unwrap();
        let damage = format!("update payment set {damage} where order_id = '{}'", damaged.id);
        let update = sqlx::raw_sql(sqlx::AssertSqlSafe(damage)).execute(&bench.pool).await.unwrap();
        assert_eq!(update.rows_affected(), 1);
        bench.provider.is(Mood::Talks);

        // What the provider says: the other is booked, this one waits for an operator.
        assert_eq!(bench.answered(1).await[0].key(), whole.id.to_string());
        bench.parked().await;
        let (_, listed) = client.get("/v1/payments?state=parked", OPERATOR).await;
        assert_eq!((&listed["data"][0]["order"], listed["data"].as_array().unwrap().len()), (&json!(damaged.id), 1));

        // What arrives: whose fault it is, is found among many by halves, as with a broken constraint.
        for commands in [&[whole.capture(), damaged.void()][..], &[damaged.void()]] {
            let refused = bench.send(commands).await;
            assert!(matches!(refused, Err(HandleError::Message(_))), "{refused:?}");
        }
        bench.send(&[whole.capture()]).await.unwrap();
        bench.answered(2).await;
        let refused = bench.tell(&[damaged.cancelled()]).await;
        assert!(matches!(refused, Err(HandleError::Message(_))), "{refused:?}");
        bench.tell(&[whole.confirmed()]).await.unwrap();
        assert_eq!(bench.count("select count(*) from invoice").await, 1);
    }
}
