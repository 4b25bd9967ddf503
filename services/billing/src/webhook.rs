//! Webhooks of the payment provider: whether one is from it, and which key it is about.
//!
//! A webhook is a hint, never a word that is booked: it makes the intent of its key due, and the worker asks the provider.
//! So one that is late, repeated, or ahead of the truth does nothing but have the provider asked once more.
//! Signed as <https://www.standardwebhooks.com> has it; what is older or newer than five minutes is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use moka::sync::Cache;
use serde::Deserialize;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_TIMESTAMP, Webhook, WebhookError};
use utoipa::ToSchema;

/// How long an id is known: longer than a signature is good for, on either side of the present.
const KNOWN_FOR: Duration = Duration::from_secs(15 * 60);
/// The most ids that are known. Beyond it a repetition is taken in once more, which is harmless.
const KNOWN: u64 = 100_000;
/// The least that is left of a secret without its prefix: base64 of 24 bytes.
const SHORTEST_SECRET: usize = 32;

/// Tells the provider's webhooks from others. Clones know the same ids.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    verifier: Webhook,
    known: Cache<String, ()>,
}

/// The secret is none. It is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the webhooks is not `whsec_` and base64 of 24 bytes or more")]
pub struct NotASecret;

/// Why nothing is done about a webhook.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the webhook is not signed by the payment provider, or not now")]
    Signature(#[from] WebhookError),
    #[error("the webhook cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// A webhook that is the provider's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) id: String,
    /// The key that is decided, as the provider has it; none if it is about something else.
    pub(crate) key: Option<String>,
}

/// Something is decided.
#[derive(Deserialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct Body {
    /// What kind of thing has happened.
    r#type: String,
    #[serde(default)]
    data: Option<Data>,
}

/// What it is about.
#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookData)]
pub(crate) struct Data {
    /// What the provider knows it by.
    key: String,
}

impl Webhooks {
    /// The webhooks that are signed with `secret`.
    ///
    /// # Errors
    /// [`NotASecret`].
    pub fn new(secret: &str) -> Result<Self, NotASecret> {
        let encoded = secret.strip_prefix("whsec_").filter(|encoded| encoded.len() >= SHORTEST_SECRET);
        let verifier = Webhook::new(encoded.ok_or(NotASecret)?).map_err(|_| NotASecret)?;
        let known = Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR).build();
        Ok(Self(Arc::new(Inner { verifier, known })))
    }

    /// What `body` says, if the provider has signed it just now.
    pub(crate) fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Hint, Refused> {
        require_a_time(headers)?;
        self.0.verifier.verify(body, headers)?;
        let id = headers.get(HEADER_WEBHOOK_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let Body { r#type, data } = serde_json::from_slice(body)?;
        let key = data.filter(|_| r#type == "operation.decided").map(|data| data.key);
        Ok(Hint { id, key })
    }

    /// Whether something was done about the webhook `id` before.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.0.known.contains_key(id)
    }

    /// Something was done about the webhook `id`.
    pub(crate) fn remember(&self, id: String) {
        self.0.known.insert(id, ());
    }
}

/// The verifier subtracts the time of a webhook from the present, and overflows with one that is no time at all.
fn require_a_time(headers: &HeaderMap) -> Result<(), WebhookError> {
    let sent = headers.get(HEADER_WEBHOOK_TIMESTAMP).and_then(|sent| sent.to_str().ok());
    let sent = sent.and_then(|sent| sent.parse::<i64>().ok()).and_then(|sent| jiff::Timestamp::from_second(sent).ok());
    sent.map(drop).ok_or(WebhookError::InvalidTimestamp)
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhooks(***)")
    }
}
