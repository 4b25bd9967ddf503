//! The example of the README.

use std::collections::HashMap;

use messaging::{
    Batch, Broker, Consumer, HandleError, Handler, Outgoing, Pulse, Retention, TopicSpec, Undecodable,
    postgres::{self, Offsets, inbox, outbox, relay},
};
use sqlx::{PgPool, query};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Somebody posts a letter: the letter and the word of it are in one transaction.
pub(crate) async fn post(db: &PgPool, to: &str, text: &str) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    // A key's messages travel in the order of their commits; the lock of the row makes that the order of the numbers.
    let count = "insert into posted (receiver, letters) values ($1, 1)
                 on conflict (receiver) do update set letters = posted.letters + 1";
    query(count).bind(to).execute(&mut *tx).await?;
    outbox::put(&mut tx, &[Outgoing::new("letters", to.to_owned(), "letter.posted.v1", &text)]).await?;
    tx.commit().await
}

/// Somebody else has the letterboxes, in another database.
struct Letterboxes(PgPool);

impl Handler for Letterboxes {
    /// All that was waiting, in one transaction: ids, offsets, and what is done with the letters.
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let read = batch.records.iter().map(|record| Ok((record.id, record.decode()?)));
        let texts = read.collect::<Result<HashMap<Uuid, String>, Undecodable>>()?;
        let mut tx = self.0.begin().await?;
        for letter in inbox::accept(&mut tx, batch).await? {
            let put = query("insert into letterbox (owner, text) values ($1, $2)");
            put.bind(&letter.key).bind(&texts[&letter.id]).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Carries the letters until `stop`: the relay runs where they are posted, and the consumer where they are received.
pub(crate) async fn carry(
    (posted, url): (PgPool, &str),
    received: PgPool,
    broker: Broker,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let topic = TopicSpec { name: "letters".into(), partitions: 4, retention: Retention::Millis(7 * 24 * 3_600_000) };
    broker.ensure_topics(std::slice::from_ref(&topic)).await?;
    let (slot, database_url, pulse) = (postgres::slot(&posted), url.to_owned(), Pulse::new());
    relay::prepare(&posted, &slot).await?;
    let config = relay::RelayConfig { database_url, slot, source: "post".into(), topics: vec![topic], pulse };
    let consumer = Consumer::new(broker.clone(), "letterboxes", &["letters"], Offsets::new(received.clone()), 500);
    let relayed = async { anyhow::Ok(relay::run(config, posted, broker, stop.clone()).await?) };
    let consumed = async { anyhow::Ok(consumer.run(Letterboxes(received), stop.clone()).await?) };
    tokio::try_join!(relayed, consumed).map(drop)
}
