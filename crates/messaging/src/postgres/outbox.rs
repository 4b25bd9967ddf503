//! Messages leave by being inserted in the transaction that caused them.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::Outgoing;

/// Puts `messages` into the outbox, in their order. They leave when, and only when, the transaction of `conn` commits.
///
/// # Errors
/// Whatever the database says; [`sqlx::Error::Encode`] with a [`TooLarge`](crate::TooLarge) if a message could not leave.
pub async fn put(conn: &mut PgConnection, messages: &[Outgoing]) -> sqlx::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    messages.iter().try_for_each(Outgoing::check_size).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let topics: Vec<&str> = messages.iter().map(|message| message.topic).collect();
    let keys: Vec<&str> = messages.iter().map(|message| message.key.as_str()).collect();
    let kinds: Vec<&str> = messages.iter().map(|message| message.kind).collect();
    let payloads: Vec<&str> = messages.iter().map(|message| message.payload.as_str()).collect();
    let traceparents: Vec<Option<&str>> = messages.iter().map(|message| message.traceparent.as_deref()).collect();
    sqlx::query(
        "-- outbox::put
         insert into outbox (id, topic, key, kind, payload, traceparent)
         select id, topic, key, kind, payload, traceparent
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
              with ordinality as m (id, topic, key, kind, payload, traceparent, place)
         order by place",
    )
    .bind(ids)
    .bind(topics)
    .bind(keys)
    .bind(kinds)
    .bind(payloads)
    .bind(traceparents)
    .execute(conn)
    .await?;
    Ok(())
}
