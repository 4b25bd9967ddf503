//! The payment provider, under control.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use billing::over_http::OverHttp;
use billing::provider::{Done, Found, Outcome, Provider, ProviderKey, Request, Unclear};
use contracts::Money;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use web::gate::Gate;

use crate::bench::PATIENCE;

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
    /// Does not say of a void over how much it was.
    Withholds,
    /// Turns whatever is about this key away.
    TurnsAway(ProviderKey),
    /// Answers about this key are held back until the mood changes.
    Holds(ProviderKey),
    /// The answer to a call under this key is held back until the mood changes; who asks is told.
    Loses(ProviderKey),
    /// The answer to a call under this key is held back until the mood changes; who asks gets no answer.
    Forgets(ProviderKey),
}

impl Watched {
    /// A simulator in this process, which answers as long as the provider is there.
    pub(crate) async fn start(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let router = provider_simulator::router(&folder.path().join("provider.log"), PATIENCE).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move {
            web::serve::serve(listener, router, Gate::default(), CancellationToken::new()).await.unwrap()
        });
        Self { own: Some((folder, server)), ..Self::at(&url, timeout) }
    }

    /// The simulator at `url`.
    pub(crate) fn at(url: &str, timeout: Duration) -> Self {
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

    /// How many answers are held back.
    pub(crate) fn held(&self) -> usize {
        self.mood.receiver_count()
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
            (Mood::TurnsAway(turned), _) if turned == key => Err(Unclear::TurnedAway { status: 404 }),
            (Mood::Withholds, Outcome::Executed(done)) if *key.as_str().rsplit(':').nth(1).unwrap() == *"void" => {
                Ok(Outcome::Executed(Done { amount: None, ..done }))
            }
            (Mood::Silent | Mood::Forgets(_), _) => Err(Unclear::NoAnswer),
            (Mood::Misstates, Outcome::Executed(Done { amount: Some(amount), fee })) => {
                let amount = Some(Money::new(amount.amount + 1, amount.currency));
                Ok(Outcome::Executed(Done { amount, fee }))
            }
            (
                Mood::Talks | Mood::Misstates | Mood::Withholds | Mood::TurnsAway(_) | Mood::Holds(_) | Mood::Loses(_),
                outcome,
            ) => Ok(outcome),
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
