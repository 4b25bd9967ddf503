//! Everything the audit looks at, read from the three stores.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use contracts::{Money, order::OrderEvent, vat::Taxed};
use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use serde::Deserialize;
use sqlx::{FromRow, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use super::{
    messages::{self, Partition},
    papers::{INVOICES, Invoice},
    stock::{Hold, Movement, Shipment, Stock},
    witness::{Outcome, Witness},
};

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of an order that stands: it is to be shipped, or is.
pub(super) const STANDING: &[&str] = &["confirmed", "partly_shipped", "shipped"];

/// The ledger's entries in the order of the chain. Billing makes the hashes in its program; here the database makes them
/// again from its rows, by the rule that stands at the table.
const ENTRIES: &str = "
    select seq, order_id, kind, hash = sha256(before || convert_to(said, 'UTF8')) as sound
    from (
        select entry.seq, order_id, kind, hash, lag(hash, 1, '') over (order by entry.seq) as before,
               concat_ws('|', entry.seq, order_id, kind, number, (extract(epoch from at) * 1000000)::bigint,
                         string_agg(concat_ws(':', account, amount, currency, vat_rate), '|' order by line)) as said
        from ledger_entry entry left join ledger_posting using (seq) group by entry.seq
    ) as chain
    order by seq";

/// Read access to the stores of the three services.
#[derive(Debug, Clone)]
pub struct Stores {
    orders: PgPool,
    billing: PgPool,
    inventory: Database,
    /// The payment provider's URL.
    provider: String,
}

/// What the three services have written down.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub(super) orders: BTreeMap<Uuid, Order>,
    pub(super) events: BTreeMap<Uuid, Vec<(i32, OrderEvent)>>,
    pub(super) sagas: Vec<Saga>,
    /// For each saga, the numbers of its log.
    pub(super) saga_log: BTreeMap<Uuid, Vec<i32>>,
    pub(super) stock: Vec<Stock>,
    pub(super) movements: Vec<Movement>,
    pub(super) holds: BTreeMap<Uuid, Hold>,
    pub(super) shipments: Vec<Shipment>,
    pub(super) payments: BTreeMap<Uuid, Payment>,
    pub(super) entries: Vec<Entry>,
    pub(super) postings: Vec<Posting>,
    pub(super) outcomes: Vec<Outcome>,
    /// For each order with refunds that were made, what they returned at each rate of VAT.
    pub(super) returned: BTreeMap<Uuid, Vec<Taxed>>,
    pub(super) invoices: Vec<Invoice>,
    pub(super) witness: Witness,
    /// What the services read.
    pub(super) partitions: Vec<Partition>,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct Order {
    pub(super) id: Uuid,
    pub(super) customer_id: Uuid,
    pub(super) status: String,
    pub(super) version: i32,
    pub(super) total_amount: i64,
    pub(super) total_currency: String,
    pub(super) lines: sqlx::types::Json<Vec<contracts::order::OrderLine>>,
    pub(super) cancel_reason: Option<sqlx::types::Json<contracts::order::CancelReason>>,
    pub(super) shipments: sqlx::types::Json<Vec<contracts::ShipmentId>>,
    pub(super) cancellation_refused: bool,
    /// Unit: microseconds since 1970, like the next.
    pub(super) placed_us: i64,
    pub(super) updated_us: i64,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct Saga {
    pub(super) id: Uuid,
    /// `checkout` or `cancellation`.
    pub(super) kind: String,
    pub(super) order_id: Uuid,
    pub(super) state: String,
    /// The number of the newest entry of its log, as the saga itself has it.
    pub(super) seq: i32,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct Payment {
    pub(super) order_id: Uuid,
    pub(super) state: String,
    pub(super) customer_id: Option<Uuid>,
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<String>,
    /// Billing knows that the order is cancelled.
    pub(super) closed: bool,
    /// Something was held for it then.
    pub(super) late_cleanup: bool,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct Entry {
    pub(super) seq: i64,
    pub(super) order_id: Uuid,
    pub(super) kind: String,
    /// Whether its hash is that of what it says after the hash before.
    pub(super) sound: bool,
}

#[derive(Debug, Clone, FromRow)]
pub(super) struct Posting {
    pub(super) seq: i64,
    pub(super) account: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) vat_rate: Option<i32>,
}

impl Stores {
    /// Connects to the stores by their URLs.
    ///
    /// # Errors
    /// If one of them cannot be reached.
    pub async fn connect(orders: &str, billing: &str, inventory: &str, provider: &str) -> anyhow::Result<Self> {
        let pool = || PgPoolOptions::new().acquire_timeout(PATIENCE);
        let mut options = ClientOptions::parse(inventory).await.context("the MongoDB URL cannot be read")?;
        options.server_selection_timeout = Some(PATIENCE);
        let inventory = Client::with_options(options).context("the MongoDB URL cannot be used")?;
        let stores = Self {
            orders: pool().connect(orders).await.context("the order database cannot be reached")?,
            billing: pool().connect(billing).await.context("the billing database cannot be reached")?,
            inventory: inventory.default_database().context("the MongoDB URL names no database")?,
            provider: provider.to_owned(),
        };
        let ping = stores.inventory.run_command(doc! { "ping": 1 }).await;
        ping.context("the inventory database cannot be reached")?;
        Ok(stores)
    }

    /// Waits until no saga is running and what the services tell each other of orders that have ended has come, at most for
    /// `at_most`. Gives back how many sagas still run.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn settle(&self, at_most: Duration) -> anyhow::Result<i64> {
        let deadline = tokio::time::Instant::now() + at_most;
        loop {
            let running: i64 =
                sqlx::query_scalar("select count(*) from saga where state = 'running'").fetch_one(&self.orders).await?;
            let settled = running == 0 && self.stock_is_settled().await? && self.papers_are_issued().await?;
            if settled || tokio::time::Instant::now() >= deadline {
                return Ok(running);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Once no saga runs, an open hold waits to hear that its order is confirmed, and a shipment that the order service
    /// does not know of is on its way there.
    async fn stock_is_settled(&self) -> anyhow::Result<bool> {
        let open = self.inventory.collection::<Document>("hold").count_documents(doc! { "state": "Open" }).await?;
        let shipped = self.inventory.collection::<Document>("shipment").count_documents(doc! {}).await?;
        let known = "select coalesce(sum(json_array_length(shipments)), 0) from orders";
        let known: i64 = sqlx::query_scalar(known).fetch_one(&self.orders).await?;
        Ok(open == 0 && u64::try_from(known).is_ok_and(|known| known >= shipped))
    }

    /// Once no saga runs, billing may still have to hear that an order is confirmed, or cancelled.
    async fn papers_are_issued(&self) -> anyhow::Result<bool> {
        let ended = "select count(*) filter (where status in ('confirmed', 'partly_shipped', 'shipped')),
                            count(*) filter (where status = 'cancelled') from orders";
        let heard = "select (select count(*) from invoice join payment using (order_id)
                             where kind = 'invoice' and not closed),
                            (select count(*) from payment where closed)";
        let ended: (i64, i64) = sqlx::query_as(ended).fetch_one(&self.orders).await?;
        let heard: (i64, i64) = sqlx::query_as(heard).fetch_one(&self.billing).await?;
        Ok(heard.0 >= ended.0 && heard.1 >= ended.1)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Whatever the databases say, and what cannot be read back.
    pub async fn read(&self) -> anyhow::Result<Books> {
        let orders: Vec<Order> = rows(
            &self.orders,
            "select id, customer_id, status, version, total_amount, total_currency, lines, cancel_reason,
                    shipments, cancellation_refused,
                    (extract(epoch from placed_at) * 1000000)::bigint as placed_us,
                    (extract(epoch from updated_at) * 1000000)::bigint as updated_us
             from orders",
        )
        .await?;
        let log: Vec<(Uuid, i32)> =
            rows(&self.orders, "select saga_id, (entry ->> 'seq')::int as seq from saga_log, json_array_elements(entries) as entry order by saga_id, seq").await?;
        let payments: Vec<Payment> = rows(
            &self.billing,
            "select order_id, state, customer_id, amount, currency, closed, late_cleanup from payment",
        )
        .await?;
        let postings = "select seq, account, amount, currency, vat_rate from ledger_posting order by seq, line";
        let outcomes = "select order_id, operation, attempt, amount, currency, decline_code from payment_outcome";
        let returned = "select order_id, taxes from refund where state = 'refunded'";
        let returned: Vec<(Uuid, sqlx::types::Json<Vec<Taxed>>)> = rows(&self.billing, returned).await?;
        let holds: Vec<Hold> = self.documents("hold").await?;
        let mut books = Books {
            orders: orders.into_iter().map(|order| (order.id, order)).collect(),
            events: self.events().await?,
            sagas: rows(&self.orders, "select id, kind, order_id, state, (instance ->> 'seq')::int as seq from saga")
                .await?,
            stock: self.documents("stock").await?,
            movements: self.documents("movement").await?,
            shipments: self.documents("shipment").await?,
            holds: holds.into_iter().map(|hold| (Uuid::from_bytes(hold.order.bytes()), hold)).collect(),
            payments: payments.into_iter().map(|payment| (payment.order_id, payment)).collect(),
            entries: rows(&self.billing, ENTRIES).await?,
            postings: rows(&self.billing, postings).await?,
            outcomes: rows(&self.billing, outcomes).await?,
            returned: BTreeMap::new(),
            invoices: rows(&self.billing, INVOICES).await?,
            witness: Witness::read(&self.provider).await?,
            partitions: self.partitions().await?,
            saga_log: BTreeMap::new(),
        };
        for (order, taxes) in returned {
            books.returned.entry(order).or_default().extend(taxes.0);
        }
        for (saga, seq) in log {
            books.saga_log.entry(saga).or_default().push(seq);
        }
        Ok(books)
    }

    async fn events(&self) -> anyhow::Result<BTreeMap<Uuid, Vec<(i32, OrderEvent)>>> {
        let query = "select order_id, version, data from order_events order by order_id, version";
        let stored: Vec<(Uuid, i32, sqlx::types::Json<OrderEvent>)> = rows(&self.orders, query).await?;
        let mut events: BTreeMap<Uuid, Vec<(i32, OrderEvent)>> = BTreeMap::new();
        for (order, version, event) in stored {
            events.entry(order).or_default().push((version, event.0));
        }
        Ok(events)
    }

    async fn partitions(&self) -> anyhow::Result<Vec<Partition>> {
        let mut partitions = messages::of_postgres(&self.orders, "order").await?;
        partitions.extend(messages::of_postgres(&self.billing, "billing").await?);
        let (places, waiting) = (self.documents("consumer_offset").await?, self.documents("parked_message").await?);
        partitions.extend(messages::of_mongo(places, waiting, "inventory")?);
        Ok(partitions)
    }

    async fn documents<T: for<'de> Deserialize<'de>>(&self, collection: &str) -> anyhow::Result<Vec<T>> {
        let mut cursor = self.inventory.collection::<Document>(collection).find(doc! {}).await?;
        let mut found = Vec::new();
        while cursor.advance().await? {
            let document = cursor.deserialize_current()?;
            found.push(mongodb::bson::deserialize_from_document(document).with_context(|| format!("a {collection}"))?);
        }
        Ok(found)
    }
}

pub(super) async fn rows<T>(pool: &PgPool, query: &'static str) -> anyhow::Result<Vec<T>>
where
    T: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    sqlx::query_as(query).fetch_all(pool).await.with_context(|| query.to_owned())
}

impl Payment {
    /// Whether money was taken, of which some may have gone back.
    pub(super) fn was_captured(&self) -> bool {
        matches!(self.state.as_str(), "captured" | "refunding" | "refunded")
    }
}

impl Order {
    pub(super) fn total(&self) -> (i64, &str) {
        (self.total_amount, &self.total_currency)
    }
}

impl Books {
    /// How much of an order's payment went back. Unit: minor units.
    pub(super) fn returned(&self, order: &Uuid) -> i128 {
        let parts = self.returned.get(order).map_or(&[][..], Vec::as_slice);
        parts.iter().map(|part| i128::from(part.gross.amount)).sum()
    }
}

/// An amount and the code of its currency, as the stores have it.
pub(super) fn columns(money: &Money) -> (i64, &'static str) {
    (money.amount, money.currency.code())
}
