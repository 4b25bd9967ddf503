//! Whether a transaction that stands in the log can already be seen.
//!
//! Postgres writes a commit to its log first and shows it to other sessions a moment later. On a busy machine that
//! moment can be longer than the way of a message through the broker and back, so an answer could come before the row
//! it is about. So a message is sent only once its transaction is visible: whoever has read it can also read its cause.

use std::time::Duration;

use sqlx::PgPool;

use super::answered;

/// Between two looks at a commit that is not yet visible; doubled from look to look. Most are after a few microseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest time between two looks, such as while a synchronous standby is away.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Returns once all transactions `xids` of the log are visible to new snapshots.
pub(super) async fn until_visible(pool: &PgPool, xids: &[u32]) -> sqlx::Result<()> {
    if xids.is_empty() {
        return Ok(());
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = sqlx::query_scalar("-- until_visible\nselect pg_current_snapshot()::text").fetch_one(pool);
        let snapshot: String = answered(asked).await?;
        match Snapshot::parse(&snapshot) {
            Some(snapshot) if xids.iter().all(|xid| snapshot.sees(*xid)) => return Ok(()),
            Some(_) => tracing::debug!("a commit is in the log and not yet visible"),
            None => return Err(sqlx::Error::Protocol(format!("no snapshot: {snapshot}"))),
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Returns once all transactions of this moment have ended, and can be seen.
pub(super) async fn until_all_have_ended(pool: &PgPool) -> sqlx::Result<()> {
    let asked = sqlx::query_scalar("-- until_all_have_ended\nselect pg_snapshot_xmax(pg_current_snapshot())::text")
        .fetch_one(pool);
    let next: String = answered(asked).await?;
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = "-- until_all_have_ended: yet?\nselect pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
        if answered(sqlx::query_scalar(ended).bind(&next).fetch_one(pool)).await? {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Which transactions have ended. Source: PostgreSQL's documentation, table "Snapshot Components".
struct Snapshot {
    /// The first transaction id that is not yet assigned, or later than all that have ended.
    xmax: u64,
    /// Those below that are still running.
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip_list`, whose ids have 64 bits.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').skip(1);
        let xmax = parts.next()?.parse().ok()?;
        let running: Result<_, _> = parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(str::parse).collect();
        Some(Self { xmax, running: running.ok()? })
    }

    /// Whether the transaction has ended. The log knows only the lower 32 bits of its id; it is the one nearest to ours.
    fn sees(&self, xid: u32) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "the lower 32 bits are meant")]
        let ahead = xid.wrapping_sub(self.xmax as u32).cast_signed();
        let full = self.xmax.saturating_add_signed(i64::from(ahead));
        full < self.xmax && !self.running.contains(&full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(snapshot: &str, xid: u32) -> bool {
        Snapshot::parse(snapshot).unwrap().sees(xid)
    }

    #[test]
    fn what_has_ended_is_seen() {
        assert!(sees("10:20:", 19));
        assert!(sees("10:20:10,15", 9));
        assert!(sees("10:20:10,15", 14));
    }

    #[test]
    fn what_runs_or_has_ended_behind_the_snapshot_is_not() {
        assert!(!sees("10:20:10,15", 10));
        assert!(!sees("10:20:10,15", 15));
        assert!(!sees("10:20:", 20));
        assert!(!sees("10:20:", 25));
    }

    #[test]
    fn ids_wrap_around() {
        let wrapped = 1_u64 << 32;
        let snapshot = format!("{}:{}:{}", wrapped - 5, wrapped + 5, wrapped - 2);
        assert!(sees(&snapshot, u32::MAX - 2), "before the wrap, ended");
        assert!(!sees(&snapshot, u32::MAX - 1), "before the wrap, running");
        assert!(sees(&snapshot, 4), "after the wrap, ended");
        assert!(!sees(&snapshot, 5), "after the wrap, to come");
    }

    #[test]
    fn nonsense_is_no_snapshot() {
        assert!(Snapshot::parse("").is_none());
        assert!(Snapshot::parse("1:2").is_none());
        assert!(Snapshot::parse("1:2:x").is_none());
    }
}
