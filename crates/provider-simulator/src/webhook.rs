//! Webhooks: what was decided, said unasked. Signed as <https://www.standardwebhooks.com> has it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::json;
use service::clock::Clock;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use uuid::Uuid;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a webhook is sent that is not taken in.
const TRIES: u32 = 6;
/// The pause after the first try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How late a late webhook is.
const LATE: Duration = Duration::from_secs(3);

/// Where webhooks go, and what they are signed with.
pub(crate) struct Webhooks {
    client: Client,
    url: Url,
    signer: Webhook,
}

/// How a webhook comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Until it is taken in.
    Once,
    /// The same one twice, at the same time.
    Twice,
    /// After what came later.
    Late,
    /// From somebody who does not know the secret.
    Forged,
}

/// The secret is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the webhooks is not `whsec_` and base64")]
pub(crate) struct NotASecret;

impl Webhooks {
    pub(crate) fn new(url: Url, secret: &str) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(PATIENCE).build()?;
        let signer = Webhook::new(secret).map_err(|_| NotASecret)?;
        Ok(Self { client, url, signer })
    }

    /// Says that `key` is decided. `note` is told each time what was answered.
    pub(crate) async fn deliver(
        &self,
        key: &str,
        delivery: Delivery,
        clock: &Clock,
        note: impl Fn(Timestamp, &str, Option<u16>),
    ) {
        let id = format!("msg_{}", Uuid::now_v7().simple());
        let send = async || {
            let status = self.send(&id, key, delivery, clock.now()).await;
            note(clock.now(), &id, status);
            status.is_some_and(|status| (200..300).contains(&status))
        };
        match delivery {
            Delivery::Twice => {
                tokio::join!(send(), send());
            }
            Delivery::Forged => drop(send().await),
            Delivery::Once | Delivery::Late => {
                if delivery == Delivery::Late {
                    tokio::time::sleep(LATE).await;
                }
                for tried in 1..=TRIES {
                    if send().await || tried == TRIES {
                        return;
                    }
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(tried - 1)).await;
                }
            }
        }
    }

    async fn send(&self, id: &str, key: &str, delivery: Delivery, at: Timestamp) -> Option<u16> {
        let body = json!({ "type": "operation.decided", "timestamp": at, "data": { "key": key } }).to_string();
        let seconds = at.as_second();
        let signed = match delivery {
            Delivery::Forged => {
                Webhook::from_bytes(vec![0; 32]).and_then(|other| other.sign(id, seconds, body.as_bytes()))
            }
            Delivery::Once | Delivery::Twice | Delivery::Late => self.signer.sign(id, seconds, body.as_bytes()),
        };
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let request = request.header(HEADER_WEBHOOK_ID, id).header(HEADER_WEBHOOK_TIMESTAMP, seconds);
        let request = request.header(HEADER_WEBHOOK_SIGNATURE, signed.expect("a body of JSON is text"));
        request.body(body).send().await.ok().map(|answer| answer.status().as_u16())
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}
