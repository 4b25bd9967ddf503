//! Whether another order is taken. One that would have to wait for so many others that its deadline comes before its turn
//! is better refused at once, with nothing done: its customer is told when to come again. So is the order of somebody who
//! has that many on their way already that others would soon find no room.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use contracts::CustomerId;
use service::work::Work;
use tokio_util::sync::CancellationToken;

use crate::{App, meters, store};

/// How often the open sagas are counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Counts the sagas that are open: those that were at the last look, whoever began them, and those that we have begun
/// since. What has ended since is still counted, but for half a second only.
///
/// The same for each customer, in memory, so that it costs an order nothing in the database. Who has how many is looked
/// up only while there are so many in all that one customer could have too many.
///
/// A look forgets what has been let in and is not committed yet. So both limits can be passed by what waits for the
/// committer meanwhile: usually what comes in half a second, and by all that may wait while the database holds it up.
#[derive(Debug)]
pub(crate) struct Admission {
    open: AtomicI64,
    open_max: i64,
    of_customers: Mutex<HashMap<CustomerId, i64>>,
    of_customer_max: i64,
}

/// Why an order is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too many are on their way.
    Shop,
    /// Too many of this customer's.
    Customer,
}

impl Admission {
    /// Lets orders in while fewer sagas than `open_max` are open, and of their customer fewer than `of_customer_max`.
    pub(crate) fn new(open_max: u32, of_customer_max: u32) -> Self {
        let (open_max, of_customer_max) = (open_max.into(), of_customer_max.into());
        Self { open: AtomicI64::new(0), open_max, of_customers: Mutex::default(), of_customer_max }
    }

    /// Lets one more of `customer` in, or says why it may not.
    pub(crate) fn admit(&self, customer: CustomerId) -> Result<(), Full> {
        let mut of_customers = self.of_customers.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = of_customers.entry(customer).or_default();
        if *theirs >= self.of_customer_max {
            return Err(Full::Customer);
        }
        let more = |open: i64| (open < self.open_max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Full::Shop)?;
        *theirs += 1;
        Ok(())
    }

    /// So many are open, and so many of these customers; of others too few to matter.
    fn counted(&self, open: i64, of_customers: HashMap<CustomerId, i64>) {
        self.open.store(open, Ordering::Relaxed);
        *self.of_customers.lock().unwrap_or_else(PoisonError::into_inner) = of_customers;
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
    let at_most = admission.open_max + 1;
    let mut conn = app.db.acquire().await?;
    let counts = store::sagas::count(&mut conn, at_most).await?;
    let of_customers = match counts.open < admission.of_customer_max {
        true => HashMap::new(),
        false => store::sagas::count_by_customer(&mut conn, at_most).await?,
    };
    admission.counted(counts.open, of_customers);
    meters::sagas(counts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_in_as_many_as_there_is_room_for_and_more_once_some_have_ended() {
        let admission = Admission::new(3, 3);
        let admit = || admission.admit(CustomerId::mint());
        assert_eq!([(); 5].map(|()| admit()), [Ok(()), Ok(()), Ok(()), Err(Full::Shop), Err(Full::Shop)]);
        admission.counted(2, HashMap::new());
        assert_eq!([(); 2].map(|()| admit()), [Ok(()), Err(Full::Shop)]);
        admission.counted(4, HashMap::new());
        assert_eq!(admit(), Err(Full::Shop));
    }

    #[test]
    fn one_customer_leaves_room_for_all_others() {
        let admission = Admission::new(4, 2);
        let (many, few) = (CustomerId::mint(), CustomerId::mint());
        assert_eq!([(); 3].map(|()| admission.admit(many)), [Ok(()), Ok(()), Err(Full::Customer)]);
        assert_eq!([(); 3].map(|()| admission.admit(few)), [Ok(()), Ok(()), Err(Full::Customer)]);
        assert_eq!(admission.admit(CustomerId::mint()), Err(Full::Shop), "none of those refused took any room");
        admission.counted(3, HashMap::from([(many, 2), (few, 1)]));
        assert_eq!([many, few].map(|customer| admission.admit(customer)), [Err(Full::Customer), Ok(())]);
    }
}
