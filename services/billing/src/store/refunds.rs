//! The rows of refunds. Written while the payment of their order is locked.

use contracts::OrderId;
use contracts::vat::Taxed;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{json, money, unreadable};
use crate::refund::{Refund, RefundState};

/// The refunds of `orders`, those of each in the order of their numbers.
pub(crate) async fn of_orders(conn: impl PgExecutor<'_>, orders: &[OrderId]) -> sqlx::Result<Vec<Refund>> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = orders.iter().map(|order| order.as_uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"-- refunds::of_orders
        select order_id, number, idempotency_key, amount, currency, taxes as "taxes: Json<Vec<Taxed>>", state,
               decline_code
        from refund where order_id = any($1) order by order_id, number"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let refund = |row: Row| {
        let number = u32::try_from(row.number).map_err(|_| unreadable(row.order_id, "its refund has no number"))?;
        Ok(Refund {
            order: row.order_id.into(),
            number,
            key: row.idempotency_key,
            amount: money(row.order_id, row.amount, &row.currency)?,
            taxes: row.taxes.0,
            state: match (row.state.as_str(), row.decline_code) {
                ("open", _) => RefundState::Open,
                ("refunded", _) => RefundState::Refunded,
                ("refused", Some(decline_code)) => RefundState::Refused { decline_code },
                _ => return Err(unreadable(row.order_id, "its refund has an unknown state")),
            },
        })
    };
    rows.into_iter().map(refund).collect()
}

struct Row {
    order_id: Uuid,
    number: i32,
    idempotency_key: Option<String>,
    amount: i64,
    currency: String,
    taxes: Json<Vec<Taxed>>,
    state: String,
    decline_code: Option<String>,
}

/// Writes `refunds`, new or settled.
pub(crate) async fn save<'r>(
    conn: &mut PgConnection,
    refunds: impl IntoIterator<Item = &'r Refund>,
    now: Timestamp,
) -> sqlx::Result<()> {
    // Few at a time, and seldom: refunds are made by people.
    for refund in refunds {
        let (state, decline_code) = match &refund.state {
            RefundState::Open => ("open", None),
            RefundState::Refunded => ("refunded", None),
            RefundState::Refused { decline_code } => ("refused", Some(decline_code.as_str())),
        };
        sqlx::query!(
            "-- refunds::save
            insert into refund (order_id, number, idempotency_key, amount, currency, taxes, state,
                                decline_code, requested_at, updated_at)
            values ($1, $2, $3, $4, $5, $9::text::json, $6, $7, $8, $8)
            on conflict (order_id, number) do update set
                state = excluded.state, decline_code = excluded.decline_code, updated_at = excluded.updated_at",
            refund.order.as_uuid(),
            i32::try_from(refund.number).unwrap_or(i32::MAX),
            refund.key,
            refund.amount.amount,
            refund.amount.currency.code(),
            state,
            decline_code,
            now.to_sqlx(),
            json(&refund.taxes),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
