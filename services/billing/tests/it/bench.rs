//! The service without its broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use billing::invoice::Party;
use billing::provider::{Act, Operation, ProviderKey, Request};
use billing::reader::Reader;
use billing::settle::{Desk, Pace, Worker};
use contracts::billing::{BillingCommand, BillingEvent, PaymentToken};
use contracts::order::{CancelReason, OrderEvent, OrderLine};
use contracts::vat::VatRate;
use contracts::{CommandId, Currency, CustomerId, Message, Money, OrderId, Topic};
use jiff::Timestamp;
use messaging::{Batch, HandleError, Handler, Position, Record};
use service::clock::Clock;
use service::work::Stuck;
use sqlx::PgPool;
use sqlx::types::Uuid;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::watched::{Mood, Watched};

/// What every order costs.
pub(crate) const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };
/// Longer than anything here takes. Whatever is waited for and does not come in that time has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How long a call to the provider may take that is meant to exceed it.
pub(crate) const IMPATIENCE: Duration = Duration::from_secs(2);
const NEVER: Duration = Duration::from_secs(3_600);
/// A worker that never finds anything in the database: what it settles was handed over or announced.
pub(crate) const HANDED_OVER_ONLY: Pace =
    Pace { first: 64, prompt: NEVER, again: 64, call_timeout: PATIENCE, lease: NEVER, poll: NEVER };
/// A worker that takes over at once from one that is gone.
pub(crate) const EAGER: Pace =
    Pace { lease: Duration::from_millis(100), poll: Duration::from_millis(20), ..HANDED_OVER_ONLY };

/// A worker that looks for what is due all the time, and takes nothing that another may still be at.
pub(crate) const WATCHFUL: Pace = Pace { lease: NEVER, ..EAGER };

/// Billing on a database of its own.
pub(crate) struct Bench {
    pub(crate) pool: PgPool,
    pub(crate) provider: Arc<Watched>,
    pub(crate) desk: Desk,
    /// Of the database.
    pub(crate) url: String,
    reader: Reader,
    offset: AtomicI64,
    /// The same of `order.events`.
    told: AtomicI64,
    workers: JoinSet<Result<(), Stuck>>,
    stop: CancellationToken,
}

impl Bench {
    /// Billing that waits for the provider's answers, however slow the machine.
    pub(crate) async fn start(pace: Pace) -> Self {
        Self::with_calls_of(PATIENCE, pace).await
    }

    /// Billing whose calls to the provider may take `timeout`.
    pub(crate) async fn with_calls_of(timeout: Duration, pace: Pace) -> Self {
        let database = testkit::postgres().await.database().await;
        billing::prepare(&database.pool).await.unwrap();
        for topic in [Topic::BillingCommands, Topic::OrderEvents] {
            let inserted: i32 = sqlx::query_scalar(
                "insert into consumer_offset (topic, partition, next_offset) values ($1, 0, 0) returning partition",
            )
            .bind(topic.name())
            .fetch_one(&database.pool)
            .await
            .unwrap();
            assert_eq!(inserted, 0);
        }
        let provider = Watched::start(timeout).await;
        Self::on(database.pool, database.url, provider, pace)
    }

    /// Another process of the billing that is on this database and this provider.
    pub(crate) async fn join(database: &str, provider: &str, pace: Pace) -> Self {
        let pool = PgPool::connect(database).await.unwrap();
        let provider = Watched::at(provider, PATIENCE);
        let bench = Self::on(pool, database.to_owned(), provider, pace);
        bench.reload_offset().await;
        bench
    }

    fn on(pool: PgPool, url: String, provider: Watched, pace: Pace) -> Self {
        let provider = Arc::new(provider);
        let worker = Worker::new(pool.clone(), Clock::system(), Arc::clone(&provider), pace);
        let desk = worker.desk();
        let reader = Reader::new(pool.clone(), Clock::system(), desk.clone(), seller());
        let mut workers = JoinSet::new();
        let stop = CancellationToken::new();
        workers.spawn(worker.run(stop.clone()));
        let (offset, told) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { pool, provider, desk, url, reader, offset, told, workers, stop }
    }

    /// Goes on where the database is, and says whether it went on since.
    pub(crate) async fn reload_offset(&self) -> bool {
        let stored = self.count("select next_offset from consumer_offset where topic = 'billing.commands'").await;
        let told = self.count("select next_offset from consumer_offset where topic = 'order.events'").await;
        self.told.store(told, Ordering::SeqCst);
        self.offset.swap(stored, Ordering::SeqCst) != stored
    }

    /// Kills the worker in the middle of whatever it does.
    pub(crate) async fn kill_worker(&mut self) {
        self.workers.shutdown().await;
    }

    /// Tells the workers to stop.
    pub(crate) fn stop_workers(&self) {
        self.stop.cancel();
    }

    /// Waits until the workers have stopped.
    pub(crate) async fn workers_ended(&mut self) {
        while self.workers.join_next().await.is_some() {}
    }

    /// Starts another worker, as another process would.
    pub(crate) fn start_worker(&mut self, pace: Pace) {
        let worker = Worker::new(self.pool.clone(), Clock::system(), Arc::clone(&self.provider), pace);
        self.desk = worker.desk();
        self.workers.spawn(worker.run(self.stop.clone()));
    }

    /// Hands over one batch of fresh messages. Whoever shall pay has a name and an address.
    pub(crate) async fn send(&self, commands: &[BillingCommand]) -> Result<(), HandleError> {
        let payers = commands.iter().filter_map(|command| match command {
            BillingCommand::AuthorizePayment { customer, .. } => Some(*customer),
            BillingCommand::VoidPayment { .. }
            | BillingCommand::CapturePayment { .. }
            | BillingCommand::RefundPayment { .. } => None,
        });
        self.introduce(&payers.collect::<Vec<_>>()).await;
        self.handle(&self.batch(commands.iter().map(|command| record(command, Uuid::now_v7())).collect())).await
    }

    /// Gives them a name and an address, unless they have one.
    pub(crate) async fn introduce(&self, customers: &[CustomerId]) {
        let ids: Vec<Uuid> = customers.iter().map(|customer| customer.as_uuid()).collect();
        let insert = "insert into customer select id, 'Ada Lovelace', array['12 St James''s Square', 'London'], 'GB',
                             'ada@example.org', null, now(), now()
                      from unnest($1::uuid[]) as id on conflict do nothing returning id";
        let _new: Vec<Uuid> = sqlx::query_scalar(insert).bind(ids).fetch_all(&self.pool).await.unwrap();
    }

    /// Hands over one batch of fresh events of orders.
    pub(crate) async fn tell(&self, events: &[OrderEvent]) -> Result<(), HandleError> {
        let batch = self.events(events);
        self.reader.handle(&batch).await?;
        self.told.store(batch.positions[0].to, Ordering::SeqCst);
        Ok(())
    }

    /// Hands over fresh messages of both topics, in one batch.
    pub(crate) async fn send_and_tell(
        &self,
        commands: &[BillingCommand],
        events: &[OrderEvent],
    ) -> Result<(), HandleError> {
        let mut both = self.events(events);
        let commands = self.batch(commands.iter().map(|command| record(command, Uuid::now_v7())).collect());
        both.records.extend(commands.records);
        both.positions.extend(commands.positions);
        self.reader.handle(&both).await?;
        self.told.store(both.positions[0].to, Ordering::SeqCst);
        self.offset.store(both.positions[1].to, Ordering::SeqCst);
        Ok(())
    }

    /// A batch of events that follows the last one.
    fn events(&self, events: &[OrderEvent]) -> Batch {
        let records: Vec<Record> = events.iter().map(|event| record(event, Uuid::now_v7())).collect();
        let from = self.told.load(Ordering::SeqCst);
        let to = from + i64::try_from(records.len()).unwrap();
        let topic = Topic::OrderEvents.name().to_owned();
        let positions = vec![Position { topic, from, to, ..Position::default() }];
        Batch { records, positions, ..Batch::default() }
    }

    /// A batch that follows the last one.
    pub(crate) fn batch(&self, records: Vec<Record>) -> Batch {
        let from = self.offset.load(Ordering::SeqCst);
        let to = from + i64::try_from(records.len()).unwrap();
        let topic = Topic::BillingCommands.name().to_owned();
        let positions = vec![Position { topic, from, to, ..Position::default() }];
        Batch { records, positions, ..Batch::default() }
    }

    pub(crate) async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        self.reader.handle(batch).await?;
        self.offset.store(batch.positions[0].to, Ordering::SeqCst);
        Ok(())
    }

    /// Every answer so far, in the order of the outbox.
    pub(crate) async fn answers(&self) -> Vec<BillingEvent> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("select topic, key, kind, payload from outbox order by sequence")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let event = |(topic, key, kind, payload): (String, String, String, String)| {
            let event: BillingEvent = serde_json::from_str(&payload).unwrap();
            assert_eq!((topic.as_str(), key, kind.as_str()), ("billing.events", event.key(), event.kind()));
            event
        };
        rows.into_iter().map(event).collect()
    }

    /// Waits until there are so many answers, and gives them.
    pub(crate) async fn answered(&self, count: usize) -> Vec<BillingEvent> {
        let answers = self.poll(async || Some(self.answers().await).filter(|answers| answers.len() >= count)).await;
        assert_eq!(answers.len(), count, "{answers:?}");
        answers
    }

    /// The answers, in short.
    pub(crate) async fn said(&self, count: usize) -> Vec<&'static str> {
        self.answered(count).await.iter().map(BillingEvent::kind).collect()
    }

    pub(crate) async fn state(&self, order: OrderId) -> String {
        let state = sqlx::query_scalar("select state from payment where order_id = $1").bind(order.as_uuid());
        state.fetch_one(&self.pool).await.unwrap()
    }

    /// What each account holds, but for those that hold nothing.
    pub(crate) async fn balances(&self) -> Vec<(&'static str, i64)> {
        let query = "select account, sum(amount)::bigint from ledger_posting group by account
                     having sum(amount) <> 0 order by account";
        let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(account, balance)| (&*account.leak(), balance)).collect()
    }

    pub(crate) async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(&self.pool).await.unwrap()
    }

    /// Asks again and again until there is something; fails past the deadline.
    pub(crate) async fn poll<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let said = self.answers().await;
            assert!(Instant::now() < deadline, "it did not come; so far there is {said:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// One order, and the commands for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) customer: CustomerId,
    token: &'static str,
}

impl Order {
    pub(crate) fn with(token: &'static str) -> Self {
        Self { id: OrderId::mint(), customer: CustomerId::mint(), token }
    }

    /// The order that another process has made.
    pub(crate) fn known(id: OrderId, customer: CustomerId) -> Self {
        Self { id, customer, token: "tok_ok" }
    }

    pub(crate) fn authorize(&self) -> BillingCommand {
        let token = PaymentToken::try_from(self.token.to_owned()).unwrap();
        let (command, order, customer) = (self.command("authorize"), self.id, self.customer);
        let (sku, name, quantity) = ("MUG".parse().unwrap(), "Mug".into(), 1.try_into().unwrap());
        let line = OrderLine::priced(sku, name, quantity, PRICE, VatRate(1900)).unwrap();
        let (amount, lines) = (PRICE, vec![line]);
        BillingCommand::AuthorizePayment { command, order, customer, amount, lines, token }
    }

    pub(crate) fn void(&self) -> BillingCommand {
        BillingCommand::VoidPayment { command: self.command("void"), order: self.id }
    }

    pub(crate) fn capture(&self) -> BillingCommand {
        BillingCommand::CapturePayment { command: self.command("capture"), order: self.id }
    }

    pub(crate) fn refund(&self) -> BillingCommand {
        BillingCommand::RefundPayment { command: self.command("refund"), order: self.id }
    }

    pub(crate) fn confirmed(&self) -> OrderEvent {
        self.confirmed_at(at())
    }

    pub(crate) fn confirmed_at(&self, at: Timestamp) -> OrderEvent {
        OrderEvent::Confirmed { order: self.id, version: 2, at }
    }

    pub(crate) fn cancelled(&self) -> OrderEvent {
        OrderEvent::Cancelled { order: self.id, version: 3, reason: CancelReason::Requested, at: at() }
    }

    pub(crate) fn key(&self, operation: Operation) -> ProviderKey {
        ProviderKey::of(self.id, operation)
    }

    /// The key of its refund `number`.
    pub(crate) fn refund_key(&self, number: u32) -> ProviderKey {
        let act = Act::Refund { authorization: self.key(Operation::Authorize), amount: PRICE, number };
        Request::new(self.id, act).key
    }

    fn command(&self, step: &str) -> CommandId {
        CommandId::try_from(format!("{}/{step}/1", self.id)).unwrap()
    }
}

/// Who sells.
fn seller() -> Party {
    let (name, address) = ("Ironmonger".to_owned(), vec!["1 Anvil Lane".to_owned(), "Berlin".to_owned()]);
    Party { name, address, country: "DE".to_owned(), vat_id: Some("DE000000000".to_owned()) }
}

/// When orders are confirmed and cancelled.
fn at() -> Timestamp {
    "2026-11-21T09:30:00Z".parse().unwrap()
}

pub(crate) fn record<M: Message>(command: &M, id: Uuid) -> Record {
    Record {
        topic: M::TOPIC.name().to_owned(),
        partition: 0,
        offset: 0,
        id,
        kind: command.kind().to_owned(),
        key: command.key(),
        payload: serde_json::to_vec(command).unwrap(),
        ..Record::default()
    }
}
