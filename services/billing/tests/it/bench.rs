//! The service without its broker, and the provider under control.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing::commands::Commands;
use billing::over_http::OverHttp;
use billing::provider::{Done, Found, Operation, Outcome, Provider, ProviderKey, Request, Unclear};
use billing::settle::{Desk, Pace, Worker};
use contracts::billing::{BillingCommand, BillingEvent, PaymentToken};
use contracts::vat::VatRate;
use contracts::{CommandId, Currency, CustomerId, Message, Money, OrderId, Topic};
use messaging::{Batch, HandleError, Handler, Position, Record};
use service::clock::Clock;
use sqlx::PgPool;
use sqlx::types::Uuid;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What every order costs.
pub(crate) const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };
/// Longer than anything here takes. Whatever is waited for and does not come in that time has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a call to the provider may take.
const CALL_TIMEOUT: Duration = Duration::from_millis(500);
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
    commands: Commands,
    offset: AtomicI64,
    workers: JoinSet<()>,
    stop: CancellationToken,
}

impl Bench {
    pub(crate) async fn start(pace: Pace) -> Self {
        Self::with_calls_of(CALL_TIMEOUT, pace).await
    }

    /// Billing whose calls to the provider may take `timeout`.
    pub(crate) async fn with_calls_of(timeout: Duration, pace: Pace) -> Self {
        let database = testkit::postgres().await.database().await;
        billing::prepare(&database.pool).await.unwrap();
        let inserted: i32 = sqlx::query_scalar(
            "insert into consumer_offset (topic, partition, next_offset) values ($1, 0, 0) returning partition",
        )
        .bind(Topic::BillingCommands.name())
        .fetch_one(&database.pool)
        .await
        .unwrap();
        assert_eq!(inserted, 0);
        let provider = Watched::start(timeout).await;
        Self::on(database.pool, database.url, provider, pace)
    }

    /// Another process of the billing that is on this database and this provider.
    pub(crate) async fn join(database: &str, provider: &str, pace: Pace) -> Self {
        let pool = PgPool::connect(database).await.unwrap();
        let provider = Watched::at(provider, CALL_TIMEOUT);
        let bench = Self::on(pool, database.to_owned(), provider, pace);
        bench.reload_offset().await;
        bench
    }

    fn on(pool: PgPool, url: String, provider: Watched, pace: Pace) -> Self {
        let provider = Arc::new(provider);
        let worker = Worker::new(pool.clone(), Clock::system(), Arc::clone(&provider), pace);
        let desk = worker.desk();
        let commands = Commands::new(pool.clone(), Clock::system(), desk.clone());
        let mut workers = JoinSet::new();
        let stop = CancellationToken::new();
        workers.spawn(worker.run(stop.clone()));
        Self { pool, provider, desk, url, commands, offset: AtomicI64::new(0), workers, stop }
    }

    /// Goes on where the database is, and says whether it went on since.
    pub(crate) async fn reload_offset(&self) -> bool {
        let stored = self.count("select next_offset from consumer_offset").await;
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

    /// Hands over one batch of fresh messages.
    pub(crate) async fn send(&self, commands: &[BillingCommand]) -> Result<(), HandleError> {
        self.handle(&self.batch(commands.iter().map(|command| record(command, Uuid::now_v7())).collect())).await
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
        self.commands.handle(batch).await?;
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
        let (amount, taxes) = (PRICE, vec![VatRate(1900).within(PRICE)]);
        BillingCommand::AuthorizePayment { command, order, customer, amount, taxes, token }
    }

    pub(crate) fn void(&self) -> BillingCommand {
        BillingCommand::VoidPayment { command: self.command("void"), order: self.id }
    }

    pub(crate) fn capture(&self) -> BillingCommand {
        BillingCommand::CapturePayment { command: self.command("capture"), order: self.id }
    }

    pub(crate) fn key(&self, operation: Operation) -> ProviderKey {
        ProviderKey::of(self.id, operation)
    }

    fn command(&self, step: &str) -> CommandId {
        CommandId::try_from(format!("{}/{step}/1", self.id)).unwrap()
    }
}

pub(crate) fn record(command: &BillingCommand, id: Uuid) -> Record {
    Record {
        topic: Topic::BillingCommands.name().to_owned(),
        partition: 0,
        offset: 0,
        id,
        kind: command.kind().to_owned(),
        key: command.key(),
        payload: serde_json::to_vec(command).unwrap(),
        ..Record::default()
    }
}

/// The simulator over HTTP, with its calls counted and its answers under control.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: OverHttp,
    executed: Mutex<HashMap<ProviderKey, u32>>,
    asked: Mutex<HashMap<ProviderKey, u32>>,
    mood: watch::Sender<Mood>,
    pub(crate) url: String,
    /// The simulator, if it runs in this process: the folder that holds its log, and its server.
    own: Option<(tempfile::TempDir, JoinSet<()>)>,
}

/// What the provider does with its answers. Whatever is asked for is done first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Gives them.
    Talks,
    /// No answer comes.
    Silent,
    /// Says another amount than it was asked for.
    Misstates,
    /// Answers about this key are held back until the mood changes.
    Holds(ProviderKey),
    /// The answer to a call under this key is held back until the mood changes; who asks is told.
    Loses(ProviderKey),
    /// The answer to a call under this key is held back until the mood changes; who asks gets no answer.
    Forgets(ProviderKey),
}

impl Watched {
    /// A simulator in this process, which answers as long as the provider is there.
    async fn start(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let router = provider_simulator::router(&folder.path().join("provider.log"), PATIENCE).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { web::serve::serve(listener, router, CancellationToken::new()).await.unwrap() });
        Self { own: Some((folder, server)), ..Self::at(&url, timeout) }
    }

    /// The simulator at `url`.
    fn at(url: &str, timeout: Duration) -> Self {
        let inner = OverHttp::new(&url.parse().unwrap(), timeout).unwrap();
        let (executed, asked, mood) = (Mutex::default(), Mutex::default(), watch::channel(Mood::Talks).0);
        Self { inner, executed, asked, mood, url: url.to_owned(), own: None }
    }

    /// The keys of all that the simulator in this process has done, by its own log.
    pub(crate) fn done(&self) -> Vec<String> {
        let (folder, _) = self.own.as_ref().expect("the simulator runs in this process");
        let log = std::fs::read_to_string(folder.path().join("provider.log")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        let key = |line| if let provider_simulator::Line::Executed { key, .. } = line { Some(key) } else { None };
        let mut keys: Vec<String> = lines.filter_map(key).collect();
        keys.sort();
        keys
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How often it was called under this key.
    pub(crate) fn executed(&self, key: &ProviderKey) -> u32 {
        self.executed.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    /// How many keys it was called under.
    pub(crate) fn keys(&self) -> usize {
        self.executed.lock().unwrap().len()
    }

    /// How often it was asked about this key.
    pub(crate) fn asked(&self, key: &ProviderKey) -> u32 {
        self.asked.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    /// Waits until the mood allows an answer, and says what is left of it.
    async fn answer(&self, key: &ProviderKey, outcome: Outcome) -> Result<Outcome, Unclear> {
        let held = Mood::Holds(key.clone());
        let mut mood = self.mood.subscribe();
        let mood = mood.wait_for(|mood| *mood != held).await.unwrap();
        match (&*mood, outcome) {
            (Mood::Silent | Mood::Forgets(_), _) => Err(Unclear),
            (Mood::Misstates, Outcome::Executed(Done { amount: Some(amount), fee })) => {
                let amount = Some(Money::new(amount.amount + 1, amount.currency));
                Ok(Outcome::Executed(Done { amount, fee }))
            }
            (Mood::Talks | Mood::Misstates | Mood::Holds(_) | Mood::Loses(_), outcome) => Ok(outcome),
        }
    }
}

impl Provider for Watched {
    async fn execute(&self, request: &Request) -> Result<Outcome, Unclear> {
        let done = self.inner.execute(request).await;
        *self.executed.lock().unwrap().entry(request.key.clone()).or_default() += 1;
        let holding = [Mood::Loses(request.key.clone()), Mood::Forgets(request.key.clone())];
        self.mood.subscribe().wait_for(|mood| !holding.contains(mood)).await.unwrap();
        self.answer(&request.key, done?).await
    }

    async fn ask(&self, key: &ProviderKey) -> Result<Found, Unclear> {
        let found = self.inner.ask(key).await;
        *self.asked.lock().unwrap().entry(key.clone()).or_default() += 1;
        match found? {
            Found::Definite(outcome) => self.answer(key, outcome).await.map(Found::Definite),
            Found::NotFound => Ok(Found::NotFound),
        }
    }
}
