//! Who may see what.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use billing::http::Api;
use billing::state::State;
use billing::webhook::Webhooks;
use contracts::{CustomerId, OrderId};
use serde_json::{Value, json};
use service::clock::Clock;
use tower::ServiceExt;
use web::access::{Principal, Signer, Verifier, generate_keys};
use web::gate::Gate;

use crate::bench::{Bench, HANDED_OVER_ONLY, Mood, Order};
use billing::provider::Operation;

/// What the provider signs its webhooks with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The API as a client sees it.
pub(crate) struct Client {
    pub(crate) router: Router,
    pub(crate) private_pem: String,
    signer: Signer,
}

impl Client {
    pub(crate) fn of(bench: &Bench) -> Self {
        let (private, public) = generate_keys();
        let verifier = Verifier::from_pem(&public).unwrap();
        let router = billing::http::router(Api {
            pool: bench.pool.clone(),
            verifier,
            desk: bench.desk.clone(),
            clock: Clock::system(),
            webhooks: Some(Webhooks::new(SECRET).unwrap()),
            webhook_max_bytes: 2_000,
        });
        let router = web::serve::guarded(router, Gate::default());
        Self { router, signer: Signer::from_pem(&private).unwrap(), private_pem: private }
    }

    pub(crate) async fn get(&self, path: &str, principal: Option<Principal>) -> (StatusCode, Value) {
        self.send(Method::GET, path, principal).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, principal: Option<Principal>) -> (StatusCode, Value) {
        self.request(Request::builder().method(method).uri(path), principal, Body::empty()).await
    }

    /// Posts `body` under an idempotency key.
    pub(crate) async fn post(
        &self,
        path: &str,
        key: &str,
        body: &Value,
        principal: Option<Principal>,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(Method::POST).uri(path).header(CONTENT_TYPE, "application/json");
        self.request(request.header("idempotency-key", key), principal, Body::from(body.to_string())).await
    }

    pub(crate) async fn request(
        &self,
        request: axum::http::request::Builder,
        principal: Option<Principal>,
        body: Body,
    ) -> (StatusCode, Value) {
        let response = self.response(request, principal, body).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("tok_"), "a token is shown to nobody");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn response(
        &self,
        mut request: axum::http::request::Builder,
        principal: Option<Principal>,
        body: Body,
    ) -> axum::response::Response {
        if let Some(principal) = principal {
            let token = self.signer.sign(&principal, Duration::from_secs(60));
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn a_payment_is_shown_to_operators_and_to_its_own_customer() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    let own = format!("/v1/payments/{}", order.id);
    let unknown = format!("/v1/payments/{}", OrderId::mint());
    let customer = Some(Principal::Customer(order.customer));
    let stranger = Some(Principal::Customer(CustomerId::mint()));
    let operator = Some(Principal::Operator);
    for (path, principal, status, code) in [
        (own.as_str(), None, 401, json!("unauthenticated")),
        (&own, stranger, 404, json!("payment_not_found")),
        (&own, customer, 200, Value::Null),
        (&own, operator, 200, Value::Null),
        (&unknown, None, 401, json!("unauthenticated")),
        (&unknown, customer, 404, json!("payment_not_found")),
        (&unknown, operator, 404, json!("payment_not_found")),
        ("/v1/payments/nonsense", operator, 400, json!("invalid_path")),
        ("/v1/ledger/accounts", None, 401, json!("unauthenticated")),
        ("/v1/ledger/accounts", customer, 403, json!("forbidden")),
        ("/v1/ledger/accounts", operator, 200, Value::Null),
    ] {
        let (found, body) = client.get(path, principal).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &code), "{path} as {principal:?}: {body}");
    }
}

#[tokio::test]
async fn an_operator_sees_commands_and_the_open_intent_and_a_customer_does_not() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Authorize);
    bench.provider.is(Mood::Holds(key.clone()));
    bench.send(&[order.authorize(), order.void()]).await.unwrap();
    let path = format!("/v1/payments/{}", order.id);

    let (_, seen) = client.get(&path, Some(Principal::Operator)).await;
    assert_eq!((&seen["state"], &seen["customer"]), (&json!("authorizing"), &json!(order.customer)));
    assert_eq!(seen["amount"], json!({"amount": 12_90, "currency": "EUR"}));
    let progress: Vec<&Value> = seen["commands"].as_array().unwrap().iter().map(|one| &one["progress"]).collect();
    assert_eq!(progress, ["in_work", "waiting"]);
    let intent = &seen["intents"][0];
    assert_eq!((&intent["operation"], &intent["key"]), (&json!("authorize"), &json!(key.as_str())));

    let (_, seen) = client.get(&path, Some(Principal::Customer(order.customer))).await;
    let fields: Vec<&String> = seen.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["amount", "created_at", "order", "state", "updated_at"]);

    bench.provider.is(Mood::Talks);
    bench.answered(2).await;
    let (_, seen) = client.get(&path, Some(Principal::Operator)).await;
    assert_eq!((&seen["state"], &seen["intents"]), (&json!("voided"), &json!([])));
    assert_eq!(seen["commands"][1]["answer"], json!("voided"));
}

#[tokio::test]
async fn the_trial_balance_adds_up() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let (_, nothing) = client.get("/v1/ledger/accounts", Some(Principal::Operator)).await;
    assert_eq!(nothing, json!({"accounts": []}));
    let orders = [Order::with("tok_ok"), Order::with("tok_ok")];
    bench.send(&orders.map(|order| order.authorize())).await.unwrap();
    bench.answered(2).await;
    let between: String =
        sqlx::query_scalar("select to_json(max(at)) #>> '{}' from ledger_entry").fetch_one(&bench.pool).await.unwrap();
    bench.send(&orders.map(|order| order.capture())).await.unwrap();
    bench.answered(4).await;
    let account = |name: &str, debits: i64, credits: i64| json!({"account": name, "currency": "EUR", "debits": debits, "credits": credits, "balance": debits - credits});
    let at_rate = |mut account: Value| {
        account["vat_rate"] = json!(1900);
        account
    };
    let (_, seen) = client.get("/v1/ledger/accounts", Some(Principal::Operator)).await;
    let expected = [
        account("memo_authorized", 25_80, 25_80),
        account("memo_customers", 25_80, 25_80),
        account("provider_fees", 36, 0),
        account("provider_receivable", 25_80, 36),
        at_rate(account("sales", 0, 21_68)),
        at_rate(account("vat_payable", 0, 4_12)),
    ];
    assert_eq!(seen, json!({ "accounts": expected }));

    let path = format!("/v1/ledger/accounts?as_of={}", between.replace('+', "%2B"));
    let (status, seen) = client.get(&path, Some(Principal::Operator)).await;
    assert_eq!(status, 200, "{seen}");
    let expected = [account("memo_authorized", 25_80, 0), account("memo_customers", 0, 25_80)];
    assert_eq!(seen, json!({ "accounts": expected }), "as it was before the captures");
    for nonsense in ["as_of=yesterday", "asof=2026-01-01T00:00:00Z"] {
        let path = format!("/v1/ledger/accounts?{nonsense}");
        assert_eq!(client.get(&path, Some(Principal::Operator)).await.0, 400, "{nonsense}");
    }
}

#[tokio::test]
async fn a_sum_larger_than_any_amount_and_a_time_before_any_calendar_are_shown() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    for seq in [1, 2] {
        // Both postings in one statement, for each statement must add nothing in sum.
        let booked = format!(
            "insert into ledger_entry values ({seq}, gen_random_uuid(), 'authorization', 1, now(), sha256(''));
             insert into ledger_posting values ({seq}, 1, 'memo_authorized', {most}, 'EUR'),
                                               ({seq}, 2, 'memo_customers', -{most}, 'EUR')",
            most = i64::MAX
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(booked)).execute(&bench.pool).await.unwrap();
    }
    let (status, seen) = client.get("/v1/ledger/accounts", Some(Principal::Operator)).await;
    assert_eq!(status, 200, "{seen}");
    let both = u64::try_from(i64::MAX).unwrap() * 2;
    let seen = seen["accounts"].as_array().unwrap();
    assert_eq!((&seen[0]["debits"], &seen[1]["credits"]), (&json!(both), &json!(both)));
    assert!(seen[1]["balance"].as_f64().unwrap() < -1.8e19, "{seen:?}");
    let long_ago = "/v1/ledger/accounts?as_of=-009999-01-02T02:00:00Z";
    let (status, seen) = client.get(long_ago, Some(Principal::Operator)).await;
    assert_eq!((status.as_u16(), seen), (200, json!({"accounts": []})));
    let far_ahead = "/v1/ledger/accounts?as_of=9999-12-30T22:00:00Z";
    assert_eq!(client.get(far_ahead, Some(Principal::Operator)).await.0, 200);
}

/// Also the codes of problems: those of this API, and those every API has.
#[tokio::test]
async fn fixed_sets_of_words_are_said_in_the_description() {
    let client = Client::of(&Bench::start(HANDED_OVER_ONLY).await);
    let (_, description) = client.get("/openapi.json", None).await;
    let schemas = &description["components"]["schemas"];
    let states = State::ALL.map(State::name);
    assert_eq!(schemas["Payment"]["properties"]["state"]["enum"], json!(states));
    assert_eq!(schemas["Command"]["properties"]["progress"]["enum"], json!(["waiting", "in_work", "answered"]));
    assert_eq!(schemas["Refund"]["properties"]["state"]["enum"], json!(["open", "refunded", "refused"]));
    let operations = json!(["authorize", "void", "capture", "refund"]);
    for schema in ["Intent", "ParkedPayment"] {
        assert_eq!(schemas[schema]["properties"]["operation"]["enum"], operations, "{schema}");
    }
    assert_eq!(schemas["InvoiceSummary"]["properties"]["kind"]["enum"], json!(["invoice", "credit_note"]));
    let shown = &description["paths"]["/v1/payments/{order}"]["get"]["responses"]["200"]["content"];
    assert_eq!(shown["application/json"]["schema"]["$ref"], "#/components/schemas/ShownPayment");
    let any = json!([{ "$ref": "#/components/schemas/WholePayment" }, { "$ref": "#/components/schemas/Payment" }]);
    assert_eq!(schemas["ShownPayment"]["anyOf"], any);
    let codes = schemas["ProblemCode"]["enum"].as_array().unwrap();
    assert!(["payment_not_found", "invalid_refund", "overloaded"].iter().all(|code| codes.contains(&json!(code))));
}
