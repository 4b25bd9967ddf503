//! The HTTP API: what is known of a payment, and what the books say.

mod customers;
mod invoices;
mod parked;
mod refunds;
mod republish;
mod webhooks;

use std::borrow::Cow;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use contracts::{CommandId, CustomerId, Money, OrderId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::clock::Clock;
use sqlx::PgPool;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use web::access::{Operator, Principal, Verifier};
use web::extract::{Json, Path, Query};
use web::openapi;
use web::problem::Problem;

use crate::problem;
use crate::provider::{Act, Operation};
use crate::record::{Answer, CommandRecord, Kind, Progress};
use crate::settle::Desk;
use crate::state::State as PaymentState;
use crate::store::intents::{self, StoredIntent};
use crate::store::ledger::{self, AccountBalance};
use crate::store::payments::{self, StoredPayment};
use crate::terms::Terms;
use crate::webhook::Webhooks;

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Api {
    /// The database.
    pub pool: PgPool,
    /// Tells who is asking.
    pub verifier: Verifier,
    /// Where the worker hears that something is due.
    pub desk: Desk,
    /// Tells the time.
    pub clock: Clock,
    /// Tells the provider's webhooks from others; without it none is taken in.
    pub webhooks: Option<Webhooks>,
    /// The largest of them.
    pub webhook_max_bytes: u32,
}

impl FromRef<Api> for Verifier {
    fn from_ref(api: &Api) -> Self {
        api.verifier.clone()
    }
}

/// Every route of this service but the health checks, and its description.
pub fn router(api: Api) -> Router {
    let (router, document) = openapi::split(description(api.webhook_max_bytes as usize));
    router.with_state(api).merge(openapi::routes(document))
}

fn description(webhook_max_bytes: usize) -> OpenApiRouter<Api> {
    // Customers are named here.
    let private = OpenApiRouter::new()
        .routes(routes!(customers::put, customers::show, customers::erase))
        .routes(routes!(invoices::page))
        .routes(routes!(invoices::show))
        .routes(routes!(invoices::list));
    let from_the_provider = OpenApiRouter::new().routes(routes!(webhooks::receive));
    openapi::api("Billing", "Payments, refunds, invoices, the ledger, and who customers are.", problem::ALL)
        .merge(private.layer(map_response(uncached)))
        .routes(routes!(parked::list))
        .routes(routes!(show_payment))
        .routes(routes!(resume))
        .routes(routes!(republish::payment))
        .routes(routes!(refunds::request, refunds::list))
        .routes(routes!(list_accounts))
        .merge(from_the_provider.layer(DefaultBodyLimit::max(webhook_max_bytes)))
}

/// Nobody on the way keeps the answer.
async fn uncached(mut answer: Response) -> Response {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The payment of an order: to its customer what they paid, to an operator all but the token.
#[utoipa::path(
    get,
    path = "/v1/payments/{order}",
    params(("order" = OrderId, Path, description = "The order that is paid for.")),
    responses((status = 200, description = "The payment; a customer does not see how it is dealt with.", body = Shown))
)]
async fn show_payment(
    State(api): State<Api>,
    principal: Principal,
    Path(order): Path<OrderId>,
) -> Result<Json<Shown>, Problem> {
    let stored = payments::find(&api.pool, order).await.map_err(problem::store)?;
    let stored = stored.ok_or_else(|| problem::payment_not_found(order))?;
    match principal {
        Principal::Operator => {
            let intents = intents::of_order(&api.pool, order).await.map_err(problem::store)?;
            Ok(Json(Shown::Whole(OperatorView::new(stored, intents))))
        }
        Principal::Customer(customer) if stored.payment.is_of(customer) => {
            Ok(Json(Shown::Own(PaymentView::from(&stored))))
        }
        // Whose payment it is, is nobody else's business.
        Principal::Customer(_) => Err(problem::payment_not_found(order)),
    }
}

/// An operator has spoken with the provider: what is parked is asked again.
#[utoipa::path(
    post,
    path = "/v1/payments/{order}/resume",
    params(("order" = OrderId, Path, description = "The order that is paid for.")),
    responses((status = 202, description = "It is asked again."))
)]
async fn resume(State(api): State<Api>, _: Operator, Path(order): Path<OrderId>) -> Result<Response, Problem> {
    let resumed = intents::resume(&api.pool, order).await.map_err(problem::store)?;
    if resumed == 0 {
        return Err(problem::not_parked(order));
    }
    tracing::info!(order.id = %order, "An operator has resumed a parked payment.");
    api.desk.look_now();
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Up to when the ledger is read; without it, to its end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AsOf {
    /// RFC 3339. An entry has the time of the clock of the replica that booked it, so this is as exact as those clocks agree.
    as_of: Option<Timestamp>,
}

/// The trial balance: what each account holds, or held. Debits and credits are equal in each currency.
#[utoipa::path(
    get,
    path = "/v1/ledger/accounts",
    params(AsOf),
    responses((status = 200, description = "Every account that was ever posted to.", body = Accounts))
)]
async fn list_accounts(
    State(api): State<Api>,
    _: Operator,
    Query(AsOf { as_of }): Query<AsOf>,
) -> Result<Json<Accounts>, Problem> {
    let balances = ledger::trial_balance(&api.pool, as_of).await.map_err(problem::store)?;
    Ok(Json(Accounts { accounts: balances.iter().map(AccountView::from).collect() }))
}

/// A payment, as whoever asks may see it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Whole(OperatorView),
    Own(PaymentView),
}

/// Not one of the two alone, for what fits an operator's view fits a customer's as well.
impl PartialSchema for Shown {
    fn schema() -> RefOr<Schema> {
        let item = |name| Ref::from_schema_name(name);
        Schema::AnyOf(AnyOfBuilder::new().item(item(OperatorView::name())).item(item(PaymentView::name())).build())
            .into()
    }
}

impl ToSchema for Shown {
    fn name() -> Cow<'static, str> {
        "ShownPayment".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((OperatorView::name().into_owned(), OperatorView::schema()));
        schemas.push((PaymentView::name().into_owned(), PaymentView::schema()));
        OperatorView::schemas(schemas);
    }
}

/// A payment, as its customer sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Payment)]
struct PaymentView {
    order: OrderId,
    #[schema(schema_with = states)]
    state: &'static str,
    /// None for a payment that was voided before anybody said how much.
    amount: Option<Money>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

fn states() -> RefOr<Schema> {
    openapi::words(PaymentState::ALL.map(PaymentState::name))
}

/// What the provider can be asked for.
fn operations() -> RefOr<Schema> {
    let [authorize, void, capture] = Operation::ALL.map(Operation::name);
    openapi::words([authorize, void, capture, Act::REFUND])
}

/// A payment, as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WholePayment)]
struct OperatorView {
    #[serde(flatten)]
    payment: PaymentView,
    customer: Option<CustomerId>,
    commands: Vec<CommandView>,
    /// The command that is impossible and keeps the others waiting.
    stuck: Option<CommandId>,
    intents: Vec<IntentView>,
    /// How often the payment was written.
    version: i32,
}

/// What became of a command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
struct CommandView {
    command: CommandId,
    kind: Kind,
    #[schema(inline)]
    progress: ProgressView,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProgressView {
    Waiting,
    InWork,
    Answered,
}

/// What the provider is being asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Intent)]
struct IntentView {
    #[schema(schema_with = operations)]
    operation: String,
    key: String,
    tries: i32,
    /// None while it is parked.
    next_try_at: Option<Timestamp>,
    /// Why it waits for an operator.
    parked: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Accounts {
    accounts: Vec<AccountView>,
}

/// What an account holds in one currency, at one rate of VAT where that makes a difference. Unit: minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    account: String,
    currency: String,
    /// Unit: hundredths of a percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    vat_rate: Option<i32>,
    debits: i128,
    credits: i128,
    /// Debits less credits.
    balance: i128,
}

impl From<&StoredPayment> for PaymentView {
    fn from(stored: &StoredPayment) -> Self {
        Self {
            order: stored.payment.order,
            state: stored.payment.state.name(),
            amount: stored.payment.terms.as_ref().map(Terms::amount),
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        }
    }
}

impl OperatorView {
    fn new(stored: StoredPayment, intents: Vec<StoredIntent>) -> Self {
        let payment = PaymentView::from(&stored);
        let StoredPayment { payment: whole, .. } = stored;
        Self {
            payment,
            customer: whole.terms.as_ref().map(Terms::customer),
            stuck: whole.stuck().cloned(),
            version: whole.version,
            commands: whole.commands.into_iter().map(CommandView::from).collect(),
            intents: intents.into_iter().map(IntentView::from).collect(),
        }
    }
}

impl From<StoredIntent> for IntentView {
    fn from(intent: StoredIntent) -> Self {
        let StoredIntent { operation, key, tries, next_try_at, parked } = intent;
        Self { operation, key, tries, next_try_at, parked }
    }
}

impl From<CommandRecord> for CommandView {
    fn from(record: CommandRecord) -> Self {
        let (progress, answer, answered_at) = match record.progress {
            Progress::Waiting => (ProgressView::Waiting, None, None),
            Progress::InWork => (ProgressView::InWork, None, None),
            Progress::Answered { answer, at } => (ProgressView::Answered, Some(answer), Some(at)),
        };
        Self { command: record.id, kind: record.kind, progress, answer, answered_at }
    }
}

impl From<&AccountBalance> for AccountView {
    fn from(balance: &AccountBalance) -> Self {
        Self {
            account: balance.account.clone(),
            currency: balance.currency.clone(),
            vat_rate: balance.vat_rate,
            debits: balance.debits,
            credits: balance.credits,
            // Both are sums of 64 bits, of which no table has enough rows to fill 128.
            balance: balance.debits.saturating_sub(balance.credits),
        }
    }
}
