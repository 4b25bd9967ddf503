//! Messages that a service could not take in, and what an operator does about them.
//!
//! They lie in the service's own database, so all of this works while the service is down; only a replay is done by the
//! service itself, through the handler that refused them.

use std::{fmt::Write, time::Duration};

use anyhow::Context;
use messaging::{
    mongo,
    parked::{Dropped, ParkedKey, ParkedMessage},
    postgres,
};
use mongodb::{Client, Database, options::ClientOptions};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::{Instant, sleep};

use crate::{Service, ShopError, state::Stores, status::plain_table};

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a replay is waited for, and how often looked at.
const REPLAY_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of a message, and of a reason in a table, so many characters are shown.
const SHOWN: usize = 2_000;
const SHOWN_IN_TABLE: usize = 100;

/// Access to what the services have parked.
#[derive(Debug, Clone)]
pub struct Dead {
    stores: [(Service, Store); 3],
}

#[derive(Debug, Clone)]
enum Store {
    Postgres(PgPool),
    Mongo(Database),
}

/// Which parked key is meant.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// As it is listed.
    pub key: String,
    /// Only in this topic.
    pub topic: Option<String>,
    /// Only at this service.
    pub service: Option<Service>,
}

/// A parked key, and which service has parked it.
pub type Parked = (Service, ParkedKey);

impl Dead {
    /// Reaches the stores when they are asked.
    ///
    /// # Errors
    /// A URL that cannot be used.
    pub async fn of(stores: &Stores) -> anyhow::Result<Self> {
        let pool = |url: &str| PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy(url);
        let mut options = ClientOptions::parse(&stores.inventory).await.context("the MongoDB URL cannot be read")?;
        options.server_selection_timeout = Some(PATIENCE);
        let inventory = Client::with_options(options).context("the MongoDB URL cannot be used")?;
        let inventory = inventory.default_database().context("the MongoDB URL names no database")?;
        Ok(Self {
            stores: [
                (Service::Order, Store::Postgres(pool(&stores.orders)?)),
                (Service::Inventory, Store::Mongo(inventory)),
                (Service::Billing, Store::Postgres(pool(&stores.billing)?)),
            ],
        })
    }

    /// Every parked key.
    ///
    /// # Errors
    /// A store does not answer.
    pub async fn list(&self) -> anyhow::Result<Vec<Parked>> {
        self.list_of(None).await
    }

    /// Every key that `service` has parked; the others are not asked, for they may be down. `None`: that any has.
    async fn list_of(&self, service: Option<Service>) -> anyhow::Result<Vec<Parked>> {
        let mut all = Vec::new();
        for (service, store) in self.stores.iter().filter(|(of, _)| service.is_none_or(|wanted| wanted == *of)) {
            let keys = match store {
                Store::Postgres(pool) => postgres::parked::list(pool).await.map_err(anyhow::Error::from),
                Store::Mongo(db) => mongo::parked::list(db).await.map_err(anyhow::Error::from),
            };
            let keys = keys.with_context(|| format!("the database of the {} service does not say", service.name()))?;
            all.extend(keys.into_iter().map(|key| (*service, key)));
        }
        Ok(all)
    }

    /// The parked keys that `which` may mean: at least one.
    ///
    /// # Errors
    /// [`ShopError::NotParked`] if there is none.
    pub async fn find(&self, which: &Which) -> anyhow::Result<Vec<Parked>> {
        let mut found = self.list_of(which.service).await?;
        found.retain(|(_, parked)| {
            parked.key == which.key && which.topic.as_ref().is_none_or(|topic| *topic == parked.topic)
        });
        if found.is_empty() { Err(ShopError::NotParked { key: safe(&which.key) }.into()) } else { Ok(found) }
    }

    /// The messages parked under a key, in their order.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn messages(&self, (service, parked): &Parked) -> anyhow::Result<Vec<ParkedMessage>> {
        let ParkedKey { topic, key, .. } = parked;
        Ok(match self.store(*service) {
            Store::Postgres(pool) => postgres::parked::show(pool, topic, key).await?,
            Store::Mongo(db) => mongo::parked::show(db, topic, key).await?,
        })
    }

    /// Marks what `which` means to be taken in by its service, and waits until it was. Gives the number of the messages
    /// that were marked.
    ///
    /// # Errors
    /// [`ShopError::NotParked`], [`ShopError::StillAtFault`], [`ShopError::NotReplayed`].
    pub async fn replay(&self, which: &Which) -> anyhow::Result<u64> {
        let mut marked = 0;
        for (service, ParkedKey { topic, key, .. }) in self.find(which).await? {
            marked += match self.store(service) {
                Store::Postgres(pool) => postgres::parked::replay(pool, &topic, &key).await?,
                Store::Mongo(db) => mongo::parked::replay(db, &topic, &key).await?,
            };
        }
        let deadline = Instant::now() + REPLAY_LIMIT;
        loop {
            let left = match self.find(which).await {
                Ok(left) => left,
                Err(error) if matches!(error.downcast_ref(), Some(ShopError::NotParked { .. })) => return Ok(marked),
                Err(error) => return Err(error),
            };
            if let Some((service, parked)) = left.iter().find(|(_, parked)| !parked.replaying) {
                let reason = safe(&parked.reason);
                return Err(ShopError::StillAtFault { service: service.name(), reason }.into());
            }
            if Instant::now() > deadline {
                return Err(ShopError::NotReplayed { after_s: REPLAY_LIMIT.as_secs() }.into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Drops the first message of the one key that `which` means, or all of them.
    ///
    /// # Errors
    /// [`ShopError::NotParked`], [`ShopError::Ambiguous`].
    pub async fn drop(&self, which: &Which, all: bool) -> anyhow::Result<(Parked, Dropped)> {
        let mut found = self.find(which).await?;
        let places: Vec<String> = found.iter().map(|one| format!("{} {}", one.0.name(), one.1.topic)).collect();
        let (Some((service, parked)), true) = (found.pop(), found.is_empty()) else {
            return Err(ShopError::Ambiguous { key: safe(&which.key), places: places.join(", ") }.into());
        };
        let dropped = match self.store(service) {
            Store::Postgres(pool) => postgres::parked::drop(pool, &parked.topic, &parked.key, all).await?,
            Store::Mongo(db) => mongo::parked::drop(db, &parked.topic, &parked.key, all).await?,
        };
        Ok(((service, parked), dropped))
    }

    fn store(&self, service: Service) -> &Store {
        let found = self.stores.iter().find(|(of, _)| *of == service);
        &found.expect("every service has a store").1
    }
}

/// `parked` as a table, or a sentence.
pub fn table(parked: &[Parked]) -> String {
    if parked.is_empty() {
        return "Nothing is parked.".to_owned();
    }
    let mut table = plain_table(["service", "topic", "key", "messages", "since", "what is wrong with the first"]);
    for (service, key) in parked {
        let state = if key.replaying { " (to be replayed)" } else { "" };
        let reason: String = safe(&key.reason).chars().take(SHOWN_IN_TABLE).collect();
        let since = key.since.strftime("%F %T UTC").to_string();
        let messages = format!("{}{state}", key.messages);
        table.add_row([service.name(), &key.topic, &safe(&key.key), &messages, &since, &reason]);
    }
    table.to_string()
}

/// `messages` of one key, byte for byte but for what is cut.
pub fn details((service, parked): &Parked, messages: &[ParkedMessage]) -> String {
    let mut text = format!("{} service, topic {}, key {}\n", service.name(), parked.topic, safe(&parked.key));
    for (number, one) in (1..).zip(messages) {
        let kind = one.kind.as_deref().map_or_else(|| "no message".to_owned(), safe);
        let reason = one.reason.as_deref().map_or_else(|| "none, it waits behind the others".to_owned(), safe);
        let lines = [
            ("what", kind),
            ("id", one.id.to_string()),
            ("read at", format!("{}/{}@{}", one.topic, one.partition, one.offset)),
            ("at fault", reason),
            ("raw key", one.raw_key.escape_ascii().to_string()),
            ("headers", safe(&one.headers)),
            ("size", format!("{} bytes", one.bytes)),
            ("value", bytes(&one.payload)),
        ];
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\nmessage {number} of {}", messages.len());
        for (name, value) in lines {
            let _ = writeln!(text, "  {name:<9} {}", cut(&value));
        }
    }
    text
}

/// What an operator is told who has dropped something, and may want it back.
pub fn after_drop((_, parked): &Parked, Dropped { messages, left }: &Dropped) -> String {
    let mut text = format!("{} dropped: {} of {}.", count(messages.len() as u64), safe(&parked.key), parked.topic);
    if *left > 0 {
        let _ =
            write!(text, "\n{} of this key still wait: `cargo shop dead replay {}`.", count(*left), safe(&parked.key));
    }
    let key = safe(&parked.key);
    text.push_str(&match (parked.topic.as_str(), parked.key.parse::<uuid::Uuid>().is_ok()) {
        ("inventory.catalogue", _) => {
            format!("\nIf it was the product's own: `cargo shop republish --sku {key}` sends the product again.")
        }
        (topic, true) if topic.ends_with(".commands") => {
            "\nIf it was a command of the order's saga: the saga asks again by itself for as long as it waits."
                .to_owned()
        }
        (_, true) => {
            format!(
                "\nIf it was the order's own: `cargo shop republish --order {key}` sends the order's messages again."
            )
        }
        (_, false) => "\nThe key names no order: there is nothing to republish.".to_owned(),
    });
    text
}

fn count(messages: u64) -> String {
    if messages == 1 { "1 message".to_owned() } else { format!("{messages} messages") }
}

/// Bytes as text if they are, else each that is not printable ASCII as `\xNN`.
fn bytes(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), safe)
}

/// `text` without what a terminal would obey.
fn safe(text: &str) -> String {
    let shown =
        |sign: char| if matches!(sign, '"' | '\'' | '\\') { sign.to_string() } else { sign.escape_debug().to_string() };
    text.chars().map(shown).collect()
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        let _ = write!(shown, "... ({} bytes more)", text.len() - shown.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn parked(topic: &str, key: &str) -> Parked {
        let (topic, key, reason) = (topic.to_owned(), key.to_owned(), "bad \u{1b}[31m".to_owned());
        let since = jiff::Timestamp::UNIX_EPOCH;
        (Service::Order, ParkedKey { topic, key, messages: 2, since, reason, replaying: false })
    }

    #[test]
    fn what_is_shown_commands_no_terminal() {
        let message = ParkedMessage {
            id: Uuid::nil(),
            topic: "a".into(),
            partition: 0,
            offset: 1,
            key: "k".into(),
            kind: None,
            traceparent: None,
            raw_key: b"\x1b]0;".to_vec(),
            headers: r#"[["a","\\x1b"]]"#.into(),
            payload: "{\"a\": \"\u{202e}\u{7}\"}".into(),
            bytes: 4,
            reason: Some("bad \u{1b}[2J".into()),
        };
        let garbage = ParkedMessage { payload: vec![0xff, 0x1b, b'\n'], ..message.clone() };
        let shown = details(&parked("a", "\u{1b}k"), &[message, garbage]) + &table(&[parked("a", "\u{1b}k")]);
        assert!(!shown.chars().any(|sign| sign.is_control() && sign != '\n' || sign == '\u{202e}'), "{shown}");
        assert!(shown.contains(r#"{"a": "\u{202e}\u{7}"}"#) && shown.contains(r"\xff\x1b\n"), "{shown}");
        assert!(shown.contains(r#"[["a","\\x1b"]]"#), "{shown}");
    }

    #[test]
    fn who_drops_something_is_told_how_to_get_it_back() {
        let order = Uuid::now_v7().to_string();
        let said = |topic: &str, key: &str, left| {
            after_drop(&parked(topic, key), &Dropped { messages: vec![(Uuid::nil(), None)], left })
        };
        let events = said("billing.events", &order, 2);
        assert!(events.starts_with("1 message dropped") && events.contains("2 messages of this key"), "{events}");
        assert!(events.contains(&format!("cargo shop dead replay {order}")), "{events}");
        assert!(events.contains(&format!("cargo shop republish --order {order}")), "{events}");
        assert!(said("billing.commands", &order, 0).contains("asks again by itself"));
        assert!(said("inventory.catalogue", "MUG", 0).contains("republish --sku MUG"));
        assert!(said("billing.events", "nonsense", 0).contains("nothing to republish"));
        assert_eq!(table(&[]), "Nothing is parked.");
    }
}
