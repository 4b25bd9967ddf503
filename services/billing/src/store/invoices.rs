//! The rows of invoices and credit notes.

use std::collections::BTreeMap;

use contracts::{CustomerId, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{payments, unreadable};
use crate::customer::Customer;
use crate::invoice::{Invoice, Number, Papers, Sale, Series};
use crate::refund::Refund;
use crate::state::State;
use crate::terms::Terms;

/// What decides whether an order that is confirmed is invoiced, and what the invoice is made of.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) state: State,
    pub(crate) closed: bool,
    pub(crate) invoiced: bool,
    /// None for a tombstone.
    pub(crate) terms: Option<Terms>,
    pub(crate) buyer: Option<Customer>,
}

/// Those of `orders` that have a payment. They need no lock: what an order's events lead to is decided in the order of
/// its events, and once captured a payment stays so.
pub(crate) async fn candidates(
    conn: &mut PgConnection,
    orders: &[OrderId],
) -> sqlx::Result<BTreeMap<OrderId, Candidate>> {
    if orders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = orders.iter().map(|order| order.as_uuid()).collect();
    let rows = sqlx::query!(
        r#"-- invoices::candidates
        select order_id as "order_id!", state as "state!", closed as "closed!", customer_id, amount, currency,
               lines as "lines: Json<Vec<contracts::order::OrderLine>>",
               name as "name?", address as "address?", country as "country?", vat_id as "vat_id?",
               exists (select from invoice where invoice.order_id = payment.order_id and kind = 'invoice') as "invoiced!"
        from payment left join customer on customer.id = customer_id where order_id = any($1)"#,
        &ids,
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let named = row.name.zip(row.address).zip(row.country);
        let buyer = named.map(|((name, address), country)| Customer {
            name,
            address,
            country,
            email: None,
            vat_id: row.vat_id,
        });
        let candidate = Candidate {
            state: payments::state(row.order_id, &row.state)?,
            closed: row.closed,
            invoiced: row.invoiced,
            terms: payments::terms(row.order_id, row.customer_id, row.amount.zip(row.currency), row.lines)?,
            buyer,
        };
        Ok((OrderId::from(row.order_id), candidate))
    });
    rows.collect()
}

/// A credit note that is wanted: for a part that was refunded, or for all that is left of the invoice.
#[derive(Debug)]
pub(crate) struct Credit {
    pub(crate) order: OrderId,
    pub(crate) part: Option<Refund>,
}

/// Issues an invoice for each of `sales`, then the credit notes. Nobody else numbers any until the transaction ends: call
/// it late. The payments of what is credited are locked.
pub(crate) async fn issue(
    conn: &mut PgConnection,
    sales: &BTreeMap<OrderId, Sale>,
    credits: &[Credit],
) -> sqlx::Result<()> {
    let mut rows = Rows::default();
    let mut issued = Vec::new();
    if !sales.is_empty() {
        let (from, at) = number(&mut *conn, Series::Invoice, sales.len(), None).await?;
        for (place, sale) in (from..).zip(sales.values()) {
            let invoice = sale.invoice(place, at);
            rows.push(&invoice, 0);
            if credits.iter().any(|credit| credit.order == sale.order) {
                issued.push(invoice);
            }
        }
    }
    if !credits.is_empty() {
        let mut papers = of_orders(&mut *conn, credits.iter().map(|credit| credit.order)).await?;
        for invoice in issued {
            papers.entry(invoice.order).or_default().add(0, invoice);
        }
        credit(&mut *conn, &mut papers, credits, &mut rows).await?;
    }
    rows.insert(conn).await
}

async fn credit(
    conn: &mut PgConnection,
    papers: &mut BTreeMap<OrderId, Papers>,
    credits: &[Credit],
    rows: &mut Rows,
) -> sqlx::Result<()> {
    let due = credits.iter().filter_map(|Credit { order, part }| {
        let papers = papers.get_mut(order)?;
        let taxes = papers.credit(part.as_ref().map(|part| (part.number, &part.taxes[..])))?;
        Some((papers.invoice.clone()?, part.as_ref().map_or(0, |part| part.number), taxes))
    });
    let due: Vec<_> = due.collect();
    if due.is_empty() {
        return Ok(());
    }
    let latest = due.iter().map(|(invoice, ..)| invoice.issued_at).max();
    let (from, at) = number(conn, Series::CreditNote, due.len(), latest).await?;
    for (place, (invoice, refund, taxes)) in (from..).zip(due) {
        rows.push(&invoice.credit(place, at, &taxes), refund);
    }
    Ok(())
}

/// Takes the next numbers of `series`: the first of so many, and when they are issued, which is not before `at_least`,
/// whatever the clock says.
async fn number(
    conn: &mut PgConnection,
    series: Series,
    count: usize,
    at_least: Option<Timestamp>,
) -> sqlx::Result<(i64, Timestamp)> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = sqlx::query!(
        "-- invoices::number
        update invoice_series set last = last + $2, issued_at = greatest(issued_at, clock_timestamp(), $3)
        where kind = $1 returning last, issued_at",
        series.name(),
        count,
        at_least.map(|at| at.to_sqlx()) as _,
    );
    let row = row.fetch_one(conn).await?;
    Ok((row.last - count + 1, row.issued_at.to_jiff()))
}

/// What was issued for `orders`; those for which nothing was are left out.
async fn of_orders(
    conn: &mut PgConnection,
    orders: impl Iterator<Item = OrderId>,
) -> sqlx::Result<BTreeMap<OrderId, Papers>> {
    let ids: Vec<Uuid> = orders.map(|order| order.as_uuid()).collect();
    let rows = sqlx::query!(
        "-- invoices::of_orders
        select order_id, refund, facts from invoice where order_id = any($1) order by order_id, kind desc, number",
        &ids,
    );
    let mut papers: BTreeMap<OrderId, Papers> = BTreeMap::new();
    for row in rows.fetch_all(conn).await? {
        let invoice = serde_json::from_str(&row.facts).map_err(|_| unreadable(row.order_id, "its invoice is none"))?;
        let refund =
            u32::try_from(row.refund).map_err(|_| unreadable(row.order_id, "its credit note has no refund"))?;
        papers.entry(row.order_id.into()).or_default().add(refund, invoice);
    }
    Ok(papers)
}

/// Whether the invoice of `order` is issued.
pub(crate) async fn is_issued(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"-- invoices::is_issued
        select exists (select from invoice where order_id = $1 and kind = 'invoice') as "issued!""#,
        order.as_uuid(),
    )
    .fetch_one(conn)
    .await
}

/// An invoice as it is stored, with whose it is.
#[derive(Debug)]
pub(crate) struct StoredInvoice {
    pub(crate) number: Number,
    pub(crate) customer: Option<CustomerId>,
    pub(crate) facts: String,
    pub(crate) hash: Vec<u8>,
}

/// The invoice or credit note `number`.
pub(crate) async fn find(conn: impl PgExecutor<'_>, number: Number) -> sqlx::Result<Option<StoredInvoice>> {
    let row = sqlx::query!(
        "-- invoices::find
        select facts, hash, customer_id from invoice join payment using (order_id) where kind = $1 and number = $2",
        number.series.name(),
        number.place,
    );
    let row = row.fetch_optional(conn).await?;
    Ok(row.map(|row| {
        let customer = row.customer_id.map(CustomerId::from);
        StoredInvoice { number, customer, facts: row.facts, hash: row.hash }
    }))
}

/// The invoice of `order`, and its credit notes as they were issued.
pub(crate) async fn list(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<Vec<StoredInvoice>> {
    let rows = sqlx::query!(
        r#"-- invoices::list
        select kind, number, facts, hash, customer_id
        from invoice join payment using (order_id) where order_id = $1 order by kind desc, number"#,
        order.as_uuid(),
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    rows.map(|row| stored(order.as_uuid(), &row.kind, row.number, row.customer_id, row.facts, row.hash)).collect()
}

/// At most `limit` invoices and then credit notes, of each the latest first, behind `before`; those of one customer, if it
/// says.
pub(crate) async fn page(
    conn: &mut PgConnection,
    customer: Option<CustomerId>,
    before: Option<Number>,
    limit: u32,
) -> sqlx::Result<Vec<StoredInvoice>> {
    // No kind is behind the last letter of the alphabet.
    let (kind, number) = before.map_or(("z", i64::MAX), |number| (number.series.name(), number.place));
    let limit = i64::from(limit);
    let Some(customer) = customer else {
        let rows = sqlx::query!(
            "-- invoices::page
            select kind, number, order_id, facts, hash, customer_id from invoice join payment using (order_id)
            where (kind, number) < ($1, $2) order by kind desc, number desc limit $3",
            kind,
            number,
            limit,
        );
        let rows = rows.fetch_all(conn).await?.into_iter();
        return rows
            .map(|row| stored(row.order_id, &row.kind, row.number, row.customer_id, row.facts, row.hash))
            .collect();
    };
    let rows = sqlx::query!(
        "-- invoices::page: of a customer
        select kind, number, order_id, facts, hash, customer_id from invoice join payment using (order_id)
        where customer_id = $4 and (kind, number) < ($1, $2) order by kind desc, number desc limit $3",
        kind,
        number,
        limit,
        customer.as_uuid(),
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    rows.map(|row| stored(row.order_id, &row.kind, row.number, row.customer_id, row.facts, row.hash)).collect()
}

fn stored(
    order: Uuid,
    kind: &str,
    place: i64,
    customer: Option<Uuid>,
    facts: String,
    hash: Vec<u8>,
) -> sqlx::Result<StoredInvoice> {
    let series = Series::ALL.into_iter().find(|series| series.name() == kind);
    let series = series.ok_or_else(|| unreadable(order, "its invoice is of no known kind"))?;
    Ok(StoredInvoice { number: Number { series, place }, customer: customer.map(CustomerId::from), facts, hash })
}

/// Invoices as columns.
#[derive(Default)]
struct Rows {
    kinds: Vec<&'static str>,
    numbers: Vec<i64>,
    orders: Vec<Uuid>,
    refunds: Vec<i32>,
    issued: Vec<jiff_sqlx::Timestamp>,
    facts: Vec<String>,
    hashes: Vec<Vec<u8>>,
}

impl Rows {
    fn push(&mut self, invoice: &Invoice, refund: u32) {
        let facts = invoice.facts();
        self.kinds.push(invoice.number.series.name());
        self.numbers.push(invoice.number.place);
        self.orders.push(invoice.order.as_uuid());
        self.refunds.push(i32::try_from(refund).unwrap_or(i32::MAX));
        self.issued.push(invoice.issued_at.to_sqlx());
        self.hashes.push(Sha256::digest(&facts).to_vec());
        self.facts.push(facts);
    }

    async fn insert(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        if self.kinds.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "-- invoices::insert
            insert into invoice (kind, number, order_id, refund, issued_at, facts, hash)
            select * from unnest($1::text[], $2::bigint[], $3::uuid[], $4::int[], $5::timestamptz[], $6::text[], $7::bytea[])",
            &self.kinds as _,
            &self.numbers,
            &self.orders,
            &self.refunds,
            &self.issued as _,
            &self.facts,
            &self.hashes,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}
