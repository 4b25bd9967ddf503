//! Orders and their events.

use std::collections::HashMap;

use contracts::{
    Currency, CustomerId, Message, Money, OrderId, ShipmentId,
    order::{CancelReason, OrderEvent, OrderLine},
};
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    order::{Order, Status},
    store::{Stored, unreadable},
};

/// Adds new orders.
pub(crate) async fn insert(tx: &mut PgConnection, orders: &[Order]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.as_uuid()).collect();
    let customers: Vec<Uuid> = orders.iter().map(|order| order.customer.as_uuid()).collect();
    let lines: Vec<String> = orders.iter().map(|order| json(&order.lines)).collect();
    let amounts: Vec<i64> = orders.iter().map(|order| order.total.amount).collect();
    let currencies: Vec<String> = orders.iter().map(|order| order.total.currency.code().to_owned()).collect();
    let placed: Vec<jiff_sqlx::Timestamp> = orders.iter().map(|order| order.placed_at.to_sqlx()).collect();
    sqlx::query!(
        "-- orders::insert
         insert into orders (id, customer_id, status, version, lines, total_amount, total_currency, placed_at, updated_at)
         select id, customer_id, 'pending', 1, lines::json, amount, currency, at, at
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
              as placed (id, customer_id, lines, amount, currency, at)",
        &ids,
        &customers,
        &lines,
        &amounts,
        &currencies,
        &placed as &[jiff_sqlx::Timestamp],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes back orders that have changed.
pub(crate) async fn update(tx: &mut PgConnection, orders: &[Order]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.as_uuid()).collect();
    let statuses: Vec<&str> = orders.iter().map(|order| order.status.name().as_str()).collect();
    let reasons: Vec<Option<String>> = orders.iter().map(|order| order.status.cancel_reason().map(json)).collect();
    let shipments: Vec<String> = orders.iter().map(|order| json(&order.shipments)).collect();
    let refused: Vec<bool> = orders.iter().map(|order| order.cancellation_refused).collect();
    let versions: Vec<i32> = orders.iter().map(|order| int(order.version)).collect::<sqlx::Result<_>>()?;
    let updated: Vec<jiff_sqlx::Timestamp> = orders.iter().map(|order| order.updated_at.to_sqlx()).collect();
    sqlx::query!(
        "-- orders::update
         update orders
         set status = changed.status, cancel_reason = changed.reason::json, shipments = changed.shipments::json,
             cancellation_refused = changed.refused, version = changed.version, updated_at = changed.at
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::int[], $7::timestamptz[])
              as changed (id, status, reason, shipments, refused, version, at)
         where orders.id = changed.id",
        &ids,
        &statuses as &[&str],
        &reasons as &[Option<String>],
        &shipments,
        &refused,
        &versions,
        &updated as &[jiff_sqlx::Timestamp],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Appends to the orders' streams.
pub(crate) async fn append(tx: &mut PgConnection, events: &[OrderEvent]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let (mut ids, mut versions, mut types, mut data, mut ats) = (vec![], vec![], vec![], vec![], vec![]);
    for event in events {
        ids.push(event.order().as_uuid());
        versions.push(int(event.version())?);
        types.push(event.kind().to_owned());
        data.push(json(event));
        ats.push(event.at().to_sqlx());
    }
    sqlx::query!(
        "-- orders::append
         insert into order_events (order_id, version, type, data, at)
         select order_id, version, type, data::json, at
         from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[])
              as event (order_id, version, type, data, at)",
        &ids,
        &versions,
        &types,
        &data,
        &ats as &[jiff_sqlx::Timestamp],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The stream of one order.
pub(crate) async fn events(tx: &mut PgConnection, id: OrderId) -> sqlx::Result<Vec<OrderEvent>> {
    let stored = sqlx::query_scalar!(
        r#"-- orders::events
         select data as "data: Json<OrderEvent>" from order_events where order_id = $1 order by version"#,
        id.as_uuid(),
    )
    .fetch_all(tx)
    .await?;
    Ok(stored.into_iter().map(|event| event.0).collect())
}

/// The orders with these ids, locked, in the order of their ids.
pub(crate) async fn lock(tx: &mut PgConnection, ids: &[OrderId]) -> sqlx::Result<HashMap<OrderId, Order>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"-- orders::lock
         select id, customer_id, status, cancel_reason as "cancel_reason: _", version, lines as "lines: _",
                total_amount, total_currency, shipments as "shipments: _", cancellation_refused,
                placed_at as "placed_at: _", updated_at as "updated_at: _"
         from orders where id = any($1) order by id for update"#,
        &ids,
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(|row| Order::try_from(row).map(|order| (order.id, order))).collect()
}

/// An order that is stored, whether it can be read or not.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: OrderId,
    pub(crate) order: sqlx::Result<Order>,
}

/// The orders with these ids, as they are now.
pub(crate) async fn all(conn: &mut PgConnection, ids: &[OrderId]) -> sqlx::Result<Vec<Order>> {
    each(conn, ids).await?.into_iter().map(|found| found.order).collect()
}

/// The same, each for itself: that one cannot be read is the business of no other.
pub(crate) async fn each(conn: &mut PgConnection, ids: &[OrderId]) -> sqlx::Result<Vec<Found>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"-- orders::all
         select id, customer_id, status, cancel_reason as "cancel_reason: _", version, lines as "lines: _",
                total_amount, total_currency, shipments as "shipments: _", cancellation_refused,
                placed_at as "placed_at: _", updated_at as "updated_at: _"
         from orders where id = any($1)"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Found::from).collect())
}

/// At most `limit` orders of `customer`, those placed last first, behind `before`; those of one status, if it says.
pub(crate) async fn of_customer(
    conn: &mut PgConnection,
    customer: CustomerId,
    status: Option<&str>,
    before: Option<OrderId>,
    limit: u32,
) -> sqlx::Result<Vec<Found>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- orders::of_customer
         select id, customer_id, status, cancel_reason as "cancel_reason: _", version, lines as "lines: _",
                total_amount, total_currency, shipments as "shipments: _", cancellation_refused,
                placed_at as "placed_at: _", updated_at as "updated_at: _"
         from orders where customer_id = $1 and id < $2 and ($3::text is null or status = $3)
         order by id desc limit $4"#,
        customer.as_uuid(),
        before.map_or(Uuid::max(), OrderId::as_uuid),
        status,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Found::from).collect())
}

/// The same of all customers. Looks at each order on the way: an index by status would cost each order an entry more at
/// every step.
pub(crate) async fn of_everybody(
    conn: &mut PgConnection,
    status: Option<&str>,
    before: Option<OrderId>,
    limit: u32,
) -> sqlx::Result<Vec<Found>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- orders::of_everybody
         select id, customer_id, status, cancel_reason as "cancel_reason: _", version, lines as "lines: _",
                total_amount, total_currency, shipments as "shipments: _", cancellation_refused,
                placed_at as "placed_at: _", updated_at as "updated_at: _"
         from orders where id < $1 and ($2::text is null or status = $2) order by id desc limit $3"#,
        before.map_or(Uuid::max(), OrderId::as_uuid),
        status,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Found::from).collect())
}

struct Row {
    id: Uuid,
    customer_id: Uuid,
    status: String,
    cancel_reason: Option<Stored<Json<CancelReason>>>,
    version: i32,
    lines: Stored<Json<Vec<OrderLine>>>,
    total_amount: i64,
    total_currency: String,
    shipments: Stored<Json<Vec<ShipmentId>>>,
    cancellation_refused: bool,
    placed_at: Stored<jiff_sqlx::Timestamp>,
    updated_at: Stored<jiff_sqlx::Timestamp>,
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        Self { id: row.id.into(), order: row.try_into() }
    }
}

impl TryFrom<Row> for Order {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let currency = Currency::from_code(&row.total_currency).ok_or_else(|| unreadable("currency"))?;
        let reason = row.cancel_reason.map(|reason| reason.read("cancel_reason")).transpose()?;
        let status = match (row.status.as_str(), reason) {
            ("pending", None) => Status::Pending,
            ("confirmed", None) => Status::Confirmed,
            ("partly_shipped", None) => Status::PartlyShipped,
            ("shipped", None) => Status::Shipped,
            ("cancelled", Some(Json(reason))) => Status::Cancelled(reason),
            (other, _) => return Err(unreadable(format!("status {other}"))),
        };
        Ok(Self {
            id: row.id.into(),
            customer: row.customer_id.into(),
            lines: row.lines.read("lines")?.0,
            total: Money::new(row.total_amount, currency),
            status,
            version: row.version.try_into().map_err(unreadable)?,
            shipments: row.shipments.read("shipments")?.0,
            cancellation_refused: row.cancellation_refused,
            placed_at: row.placed_at.read("placed_at")?.into(),
            updated_at: row.updated_at.read("updated_at")?.into(),
        })
    }
}

/// `value` as it is stored.
pub(super) fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("a plain struct is always JSON")
}

/// A number as Postgres has it.
pub(super) fn int(number: u32) -> sqlx::Result<i32> {
    number.try_into().map_err(unreadable)
}
