//! The replication slot, and what the service's own database knows of it.
//!
//! The slot says from where the log will be read, but not whether it is the slot that was read before: one that was
//! dropped and made again begins at the present, as if nothing were missing. So what is confirmed to the slot is first
//! written to table `relay`. A slot that is ahead of that is another slot, and a null says that a slot is about to be made.

use pgwire_replication::Lsn;
use sqlx::{PgPool, types::Json};

use crate::{
    generation::{self, Acknowledged},
    postgres::{answered, visible::until_all_have_ended},
};

/// SQLSTATE: another replica created the slot meanwhile.
const DUPLICATE_OBJECT: &str = "42710";

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none of that name.
    Missing,
    /// The database has given it up, because it kept too much of the log.
    Lost,
    /// It reads another database.
    Foreign,
    /// Somebody reads it.
    Busy,
    /// Nobody reads it.
    Free,
}

/// Where a slot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The log is confirmed up to here, by the slot.
    pub(super) confirmed: Lsn,
    pub(super) known: Known,
}

/// What table `relay` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The log is confirmed up to here; nothing if the slot or the generation is new.
    pub(super) confirmed: Option<Lsn>,
    pub(super) generation: i64,
    pub(super) acknowledged: Acknowledged,
}

impl Standing {
    /// Whether messages may be missing between what we know to be sent and where the slot begins.
    pub(super) fn has_a_gap(&self) -> bool {
        self.known.confirmed.is_none_or(|known| known < self.confirmed)
    }
}

pub(super) async fn state(pool: &PgPool, slot: &str) -> sqlx::Result<State> {
    let asked = sqlx::query_as(
        "-- slot::state
         select database = current_database(), active, wal_status is not distinct from 'lost'
         from pg_replication_slots where slot_name = $1",
    )
    .bind(slot)
    .fetch_optional(pool);
    let found: Option<(bool, bool, bool)> = answered(asked).await?;
    Ok(match found {
        None => State::Missing,
        Some((false, _, _)) => State::Foreign,
        Some((true, true, _)) => State::Busy,
        Some((true, false, true)) => State::Lost,
        Some((true, false, false)) => State::Free,
    })
}

/// The process of the database that reads `slot` for somebody.
pub(super) async fn reader(pool: &PgPool, slot: &str) -> sqlx::Result<Option<i32>> {
    let reader: Option<Option<i32>> =
        sqlx::query_scalar("-- slot::reader\nselect active_pid from pg_replication_slots where slot_name = $1")
            .bind(slot)
            .fetch_optional(pool)
            .await?;
    Ok(reader.flatten())
}

/// Makes the slot, if it is missing or lost. That it is new is written down first, so that whoever reads it knows.
pub(super) async fn create(pool: &PgPool, slot: &str) -> sqlx::Result<()> {
    sqlx::query(
        "-- slot::create: what is known of the slot before
         insert into relay (slot, confirmed) values ($1, null) on conflict (slot) do update set confirmed = null",
    )
    .bind(slot)
    .execute(pool)
    .await?;
    sqlx::query(
        "-- slot::create: away with a lost one
         select pg_drop_replication_slot(slot_name) from pg_replication_slots
         where slot_name = $1 and wal_status = 'lost' and not active",
    )
    .bind(slot)
    .execute(pool)
    .await?;
    let created = sqlx::query(
        "-- slot::create
         select pg_create_logical_replication_slot($1, 'pgoutput')
         where not exists (select from pg_replication_slots where slot_name = $1)",
    )
    .bind(slot)
    .execute(pool)
    .await;
    match created {
        // Another replica makes it, or has made it: until it has, nobody can say where the slot stands.
        Err(error) if sqlstate(&error).as_deref() == Some(DUPLICATE_OBJECT) => Ok(()),
        Ok(nothing) if nothing.rows_affected() == 0 => Ok(()),
        Ok(_) => skip_an_empty_outbox(pool, slot).await,
        Err(error) => Err(error),
    }
}

/// Spares the first reader of a new database the sending of messages that it will find in the log as well. What had
/// committed before the slot began is visible once all transactions of this moment have ended; if that is nothing, the
/// log has all.
async fn skip_an_empty_outbox(pool: &PgPool, slot: &str) -> sqlx::Result<()> {
    let Standing { confirmed, known } = standing(pool, slot).await?;
    until_all_have_ended(pool).await?;
    let is_empty = "-- slot::skip_an_empty_outbox\nselect not exists (select from outbox)";
    if known.confirmed.is_none() && sqlx::query_scalar(is_empty).fetch_one(pool).await? {
        confirm(pool, slot, &known, confirmed, &known.acknowledged).await?;
    }
    Ok(())
}

/// Up to where the log is confirmed, as far as table `relay` knows; the log's beginning, if it does not.
pub(super) async fn confirmed(pool: &PgPool, slot: &str) -> sqlx::Result<Lsn> {
    let asked = sqlx::query_scalar("-- slot::confirmed\nselect (confirmed - '0/0')::bigint from relay where slot = $1")
        .bind(slot)
        .fetch_optional(pool);
    let known: Option<Option<i64>> = answered(asked).await?;
    Ok(Lsn(known.flatten().unwrap_or(0).cast_unsigned()))
}

/// Where `slot` stands. Ask while reading it: then nobody else moves it.
pub(super) async fn standing(pool: &PgPool, slot: &str) -> sqlx::Result<Standing> {
    let asked = sqlx::query_as(
        "-- slot::standing
         select (s.confirmed_flush_lsn - '0/0')::bigint, (r.confirmed - '0/0')::bigint,
                coalesce(r.generation, $2), coalesce(r.acknowledged, '[]')
         from pg_replication_slots s left join relay r on r.slot = s.slot_name where s.slot_name = $1",
    )
    .bind(slot)
    .bind(generation::FIRST)
    .fetch_one(pool);
    let (confirmed, known, generation, acknowledged): (i64, Option<i64>, i64, Json<Acknowledged>) =
        answered(asked).await?;
    let lsn = |bytes: i64| Lsn(bytes.cast_unsigned());
    let known = Known { confirmed: known.map(lsn), generation, acknowledged: acknowledged.0 };
    Ok(Standing { confirmed: lsn(confirmed), known })
}

/// Writes down that all up to `end` is sent, and what the topics have acknowledged, before the slot hears of it. False if
/// `known` is not what is written there: somebody else reads the slot, or has made a new one.
pub(super) async fn confirm(
    pool: &PgPool,
    slot: &str,
    known: &Known,
    end: Lsn,
    acknowledged: &Acknowledged,
) -> sqlx::Result<bool> {
    let asked = sqlx::query(
        "-- slot::confirm
         insert into relay (slot, confirmed, generation, acknowledged) values ($1, $2::text::pg_lsn, $3, $4)
         on conflict (slot) do update set confirmed = excluded.confirmed, acknowledged = excluded.acknowledged
         where relay.confirmed is not distinct from $5::text::pg_lsn and relay.generation = $3",
    )
    .bind(slot)
    .bind(end.to_string())
    .bind(known.generation)
    .bind(Json(acknowledged))
    .bind(known.confirmed.map(|known| known.to_string()))
    .execute(pool);
    Ok(answered(asked).await?.rows_affected() == 1)
}

/// Begins the generation behind `generation`, whose first reader will send all again. One of several does it.
pub(super) async fn begin_generation_after(pool: &PgPool, slot: &str, generation: i64) -> sqlx::Result<()> {
    let asked = sqlx::query(
        "-- slot::begin_generation_after
         update relay set generation = generation + 1, confirmed = null, acknowledged = '[]'
         where slot = $1 and generation = $2",
    )
    .bind(slot)
    .bind(generation)
    .execute(pool);
    answered(asked).await.map(drop)
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_ahead_of_what_is_known_has_a_gap() {
        let standing = |confirmed| {
            let known = Known { confirmed, generation: 1, acknowledged: Acknowledged::default() };
            Standing { confirmed: Lsn(10), known }
        };
        assert!(standing(None).has_a_gap());
        assert!(standing(Some(Lsn(9))).has_a_gap());
        assert!(!standing(Some(Lsn(10))).has_a_gap());
        assert!(!standing(Some(Lsn(11))).has_a_gap(), "the slot heard of it later, or forgot it in a crash");
    }
}
