//! The payment provider over HTTP. Whatever is not a whole answer, in time, is [`Unclear`]: it is asked about later. So is
//! a call that it turns away, but somebody is told.
//!
//! A circuit breaker stands before it: when half of the last `CALLS_LOOKED_AT` calls found no working provider, none is
//! made for `PAUSE`, and then a few at first. An intent whose call was not made is put off like any other. A call that
//! takes too long while others are answered is slow, and says nothing against the provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::Money;
use contracts::billing::DECLINE_CODE_MAX;
use recloser::{AsyncRecloser, Recloser};
use reqwest::header::HeaderName;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use web::problem::chain;

use crate::provider::{Act, Done, Found, Outcome, Provider, ProviderKey, Request, Unclear};

/// The longest answer that is read. Unit: bytes.
const LONGEST_ANSWER: usize = 16 * 1024;
/// How much is kept of a decline code, or of a key that is not ours: as much as a message may say of it. Unit: bytes.
const LONGEST_WORD: usize = DECLINE_CODE_MAX;

/// How many calls the breaker looks back at.
const CALLS_LOOKED_AT: usize = 100;
/// How many calls show that the provider works again.
const CALLS_TO_TRUST: usize = 10;
/// How long no call is made once the breaker is open.
const PAUSE: Duration = Duration::from_secs(1);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A client of the provider. Connections are kept.
#[derive(Debug, Clone)]
pub struct OverHttp {
    client: Client,
    operations: Url,
    breaker: AsyncRecloser,
    /// How many calls were answered.
    answered: Arc<AtomicU64>,
}

/// What came of a call: status and body.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

/// No reply came from a working provider. What the breaker counts.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the call failed")]
    Call(#[source] reqwest::Error),
    /// Others were answered meanwhile.
    #[error("the call takes too long")]
    Slow,
    #[error("the provider has a fault of its own: {0}")]
    Status(StatusCode),
    #[error("the answer is too long")]
    TooLong,
}

/// The address is none.
#[derive(Debug, thiserror::Error)]
pub enum NotAProvider {
    /// It is no base to which a path can be added.
    #[error("{0} is no address of a provider")]
    Address(Url),
    /// The client cannot be made.
    #[error("no HTTP client could be made")]
    Client(#[from] reqwest::Error),
}

#[derive(Serialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
enum Body<'r> {
    Authorize { reference: String, amount: Money, token: &'r str },
    Void { reference: String, authorization: &'r str },
    Capture { reference: String, authorization: &'r str, amount: Money },
    Refund { reference: String, authorization: &'r str, amount: Money },
}

#[derive(Deserialize)]
struct Answer {
    key: String,
    #[serde(flatten)]
    word: Word,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Word {
    Executed { amount: Option<Money>, fee: Option<Money> },
    Refused { decline_code: String },
}

impl OverHttp {
    /// The provider at `base`; a call may take `timeout`.
    ///
    /// # Errors
    /// [`NotAProvider`].
    pub fn new(base: &Url, timeout: Duration) -> Result<Self, NotAProvider> {
        // A redirect would send a token to whomever the answer names.
        let client = Client::builder().timeout(timeout).redirect(Policy::none()).tcp_nodelay(true).build()?;
        let mut operations = base.clone();
        match operations.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(["v1", "operations"]),
            Err(()) => return Err(NotAProvider::Address(base.clone())),
        };
        let breaker = Recloser::custom().error_rate(0.5).closed_len(CALLS_LOOKED_AT).half_open_len(CALLS_TO_TRUST);
        let breaker = breaker.open_wait(PAUSE).build().into();
        Ok(Self { client, operations, breaker, answered: Arc::default() })
    }

    /// Makes a call, unless the breaker is open.
    async fn call(&self, call: RequestBuilder, key: &ProviderKey) -> Result<Reply, Unclear> {
        let counts = |trouble: &Trouble| !matches!(trouble, Trouble::Slow);
        self.breaker.call_with(counts, self.send(call)).await.map_err(|error| match error {
            recloser::Error::Inner(trouble) => unclear(key, &chain(&trouble)),
            recloser::Error::Rejected => {
                tracing::debug!(provider.key = %key, "The provider does not work; no call was made.");
                Unclear::NoAnswer
            }
        })
    }

    async fn send(&self, call: RequestBuilder) -> Result<Reply, Trouble> {
        let before = self.answered.load(Ordering::Relaxed);
        let sent = send(call).await;
        let after = match &sent {
            Ok(_) => self.answered.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.answered.load(Ordering::Relaxed),
        };
        match sent {
            Err(Trouble::Call(error)) if error.is_timeout() && after > before => Err(Trouble::Slow),
            sent => sent,
        }
    }

    fn of_key(&self, key: &ProviderKey) -> Url {
        let mut url = self.operations.clone();
        url.path_segments_mut().expect("a path was added before").push(key.as_str());
        url
    }
}

impl Provider for OverHttp {
    async fn execute(&self, request: &Request) -> Result<Outcome, Unclear> {
        let call = self.client.post(self.operations.clone()).header(IDEMPOTENCY_KEY, request.key.as_str());
        let reply = self.call(call.json(&Body::of(request)), &request.key).await?;
        match reply.status {
            StatusCode::OK => read(&reply.body, &request.key),
            status => Err(no_word(&request.key, status)),
        }
    }

    async fn ask(&self, key: &ProviderKey) -> Result<Found, Unclear> {
        let reply = self.call(self.client.get(self.of_key(key)), key).await?;
        match reply.status {
            StatusCode::OK => read(&reply.body, key).map(Found::Definite),
            StatusCode::NOT_FOUND => Ok(Found::NotFound),
            status => Err(no_word(key, status)),
        }
    }
}

impl<'r> Body<'r> {
    fn of(request: &'r Request) -> Self {
        let reference = request.order.to_string();
        match &request.act {
            Act::Authorize { amount, token } => Self::Authorize { reference, amount: *amount, token: token.expose() },
            Act::Void { authorization } => Self::Void { reference, authorization: authorization.as_str() },
            Act::Capture { authorization, amount } => {
                Self::Capture { reference, authorization: authorization.as_str(), amount: *amount }
            }
            Act::Refund { authorization, amount, number: _ } => {
                Self::Refund { reference, authorization: authorization.as_str(), amount: *amount }
            }
        }
    }
}

async fn send(call: RequestBuilder) -> Result<Reply, Trouble> {
    // The address is our own setting, and the key stands beside it in the log.
    let trouble = |error: reqwest::Error| Trouble::Call(error.without_url());
    let mut answer: Response = call.send().await.map_err(trouble)?;
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Trouble::Status(status));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(trouble)? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(Trouble::TooLong);
        }
    }
    Ok(Reply { status, body })
}

/// The word on `key`, if the answer has one that can be read.
fn read(body: &[u8], key: &ProviderKey) -> Result<Outcome, Unclear> {
    // What it says stays out of the log: it is a stranger's text.
    let answer: Answer = serde_json::from_slice(body).map_err(|_| unclear(key, &"the answer cannot be read"))?;
    if answer.key != key.as_str() {
        return Ok(Outcome::OfAnother(tamed(&answer.key)));
    }
    Ok(match answer.word {
        Word::Executed { amount, fee } => Outcome::Executed(Done { amount, fee }),
        Word::Refused { decline_code } => Outcome::Refused { decline_code: tamed(&decline_code) },
    })
}

/// A stranger's word as it can be stored and shown: visible ASCII, and not too long. The refusal it explains is definite
/// whatever it says.
fn tamed(word: &str) -> String {
    word.chars().filter(char::is_ascii_graphic).take(LONGEST_WORD).collect()
}

fn unclear(key: &ProviderKey, why: &dyn std::fmt::Display) -> Unclear {
    tracing::info!(provider.key = %key, why = %why, "A call to the provider has no clear outcome; it is asked about later.");
    Unclear::NoAnswer
}

/// An answer of this status says nothing of what became of `key`.
fn no_word(key: &ProviderKey, status: StatusCode) -> Unclear {
    if !is_for_good(status) {
        return unclear(key, &status);
    }
    tracing::warn!(provider.key = %key, %status,
        "The provider turns a call away. It is asked again, and after some tries an operator.");
    Unclear::TurnedAway { status: status.as_u16() }
}

/// Whether the same call would be turned away again: it is the client's fault (4xx), and not that it came too soon, as
/// while the first call under its key is still at work (409), or that the provider does not know us, which is none of this
/// call alone.
fn is_for_good(status: StatusCode) -> bool {
    let passes = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::LOCKED,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !passes.contains(&status)
}
