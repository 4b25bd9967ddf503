//! The payment provider over HTTP. Whatever is not a whole answer, in time, is [`Unclear`]: it is asked about later.

use std::time::Duration;

use contracts::Money;
use reqwest::header::HeaderName;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::provider::{Act, Found, Outcome, Provider, ProviderKey, Request, Unclear};

/// The longest answer that is read. Unit: bytes.
const LONGEST_ANSWER: usize = 16 * 1024;
/// The longest decline code. Unit: bytes.
const LONGEST_CODE: usize = 64;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A client of the provider. Connections are kept.
#[derive(Debug, Clone)]
pub struct OverHttp {
    client: Client,
    operations: Url,
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
    Executed { amount: Option<Money> },
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
        Ok(Self { client, operations })
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
        let answer = send(call.json(&Body::of(request)), &request.key).await?;
        if answer.status() != StatusCode::OK {
            return Err(unclear(&request.key, &answer.status()));
        }
        read(answer, &request.key).await
    }

    async fn ask(&self, key: &ProviderKey) -> Result<Found, Unclear> {
        let answer = send(self.client.get(self.of_key(key)), key).await?;
        match answer.status() {
            StatusCode::OK => read(answer, key).await.map(Found::Definite),
            StatusCode::NOT_FOUND => Ok(Found::NotFound),
            status => Err(unclear(key, &status)),
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
        }
    }
}

async fn send(call: RequestBuilder, key: &ProviderKey) -> Result<Response, Unclear> {
    // Its address is our own setting, and the key stands beside it.
    call.send().await.map_err(|error| unclear(key, &error.without_url()))
}

/// The word on `key`, if the answer has one that can be read.
async fn read(mut answer: Response, key: &ProviderKey) -> Result<Outcome, Unclear> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unclear(key, &error.without_url()))? {
        text.extend_from_slice(&chunk);
        if text.len() > LONGEST_ANSWER {
            return Err(unclear(key, &"the answer is too long"));
        }
    }
    // What it says stays out of the log: it is a stranger's text.
    let answer: Answer = serde_json::from_slice(&text).map_err(|_| unclear(key, &"the answer cannot be read"))?;
    if answer.key != key.as_str() {
        return Ok(Outcome::OfAnother(answer.key.chars().take(LONGEST_CODE).collect()));
    }
    match answer.word {
        Word::Executed { amount } => Ok(Outcome::Executed(amount)),
        Word::Refused { decline_code } if decline_code.len() <= LONGEST_CODE => Ok(Outcome::Refused { decline_code }),
        Word::Refused { .. } => Err(unclear(key, &"the decline code is too long")),
    }
}

fn unclear(key: &ProviderKey, why: &dyn std::fmt::Display) -> Unclear {
    tracing::info!(provider.key = %key, why = %why, "A call to the provider has no clear outcome; it is asked about later.");
    Unclear
}
