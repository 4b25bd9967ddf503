//! Whether another order is taken. One that would have to wait for so many others that its deadline comes before its turn
//! is better refused at once, with nothing done: its customer is told when to come again.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use service::work::Work;
use tokio_util::sync::CancellationToken;

use crate::{App, meters, store};

/// How often the open sagas are counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Counts the sagas that are open: those that were at the last look, whoever began them, and those that we have begun
/// since. What has ended since is still counted, but for half a second only.
#[derive(Debug)]
pub(crate) struct Admission {
    open: AtomicI64,
    open_max: i64,
}

impl Admission {
    /// Lets orders in while fewer sagas than this are open.
    pub(crate) fn new(open_max: u32) -> Self {
        Self { open: AtomicI64::new(0), open_max: open_max.into() }
    }

    /// Lets one more in, or says that it may not.
    pub(crate) fn admit(&self) -> bool {
        let more = |open: i64| (open < self.open_max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// So many are open.
    fn counted(&self, open: i64) {
        self.open.store(open, Ordering::Relaxed);
    }
}

/// Counts the open sagas, again and again, until `stop`. While the database is away, nothing can be placed anyway.
pub(crate) async fn run(app: App, work: Work, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if let Err(error) = work.unit(look(&app)).await? {
            tracing::warn!(error = &error as &dyn std::error::Error, "the open sagas could not be counted");
        }
    }
    Ok(())
}

/// Counts them once.
pub(crate) async fn look(app: &App) -> sqlx::Result<()> {
    let admission = app.committer.admission();
    // One more is as good as all: to count tens of thousands twice a second would be part of the trouble.
    let counts = store::sagas::count(&mut *app.db.acquire().await?, admission.open_max + 1).await?;
    admission.counted(counts.open);
    meters::sagas(counts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_as_many_as_there_is_room_for_and_more_once_some_have_ended() {
        let admission = Admission::new(3);
        assert_eq!([(); 5].map(|()| admission.admit()), [true, true, true, false, false]);
        admission.counted(2);
        assert_eq!([(); 2].map(|()| admission.admit()), [true, false]);
        admission.counted(4);
        assert!(!admission.admit());
    }
}
