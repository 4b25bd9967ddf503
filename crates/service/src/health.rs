//! Whether the process is ready: its database and its broker can be reached, its relay and its consumers are well, and it
//! is not about to stop.
//!
//! None of it is asked while somebody waits for the answer. Each need beats while it is well, and is not met once it has
//! been silent for longer than one slow answer takes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use messaging::{Broker, Condition, Pulse};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use web::health::Need;

use crate::{tasks::Tasks, work::Work};

/// Between two questions to a database or a broker, and how long an answer may take.
const ASK_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// What answered this long ago may be there: two questions must fail, each asked in vain for as long as it may take.
const SILENCE: Duration = ASK_EVERY.saturating_add(PATIENCE.saturating_mul(2));
/// A relay beats every second, unless its database takes 3 s to answer, or its broker 2 s.
const RELAY_SILENCE: Duration = Duration::from_secs(6);
/// A batch of a consumer may take so long, and what another loop does at once.
const LONG_BATCH: Duration = Duration::from_secs(15);

/// What one process needs.
pub struct Health {
    needs: Vec<Look>,
    stop: CancellationToken,
}

type Look = Box<dyn Fn() -> Need + Send + Sync>;

impl Health {
    /// A process that is ready until it is told to stop.
    pub fn until(stop: &CancellationToken) -> Self {
        let (told, stop) = (stop.clone(), stop.clone());
        let runs = move || match told.is_cancelled() {
            false => Need { name: "process", says: "runs", is_ready: true },
            true => Need { name: "process", says: "stops", is_ready: false },
        };
        Self { needs: vec![Box::new(runs)], stop }
    }

    /// It needs the database that answers to `ask`, which one of `tasks` asks again and again.
    #[must_use]
    pub fn reaches_database<F>(self, ask: impl Fn() -> F + Send + Sync + 'static, tasks: &mut Tasks) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let (name, pulse) = ("database", Pulse::new());
        tasks.spawn("database probe", keep_asking(name, pulse.clone(), ask, self.stop.clone()));
        self.reaches(name, pulse)
    }

    /// It needs `broker`, which one of `tasks` asks again and again.
    #[must_use]
    pub fn reaches_broker(self, broker: &Broker, tasks: &mut Tasks) -> Self {
        let (name, pulse, broker, stop) = ("broker", Pulse::new(), broker.clone(), self.stop.clone());
        let asked = pulse.clone();
        tasks.spawn("broker probe", async move {
            let probe = broker.probe()?;
            keep_asking(name, asked, || probe.answers(PATIENCE), stop).await
        });
        self.reaches(name, pulse)
    }

    fn reaches(self, name: &'static str, pulse: Pulse) -> Self {
        self.with(move || match pulse.condition(SILENCE) {
            Condition::Works | Condition::StandsBy => Need { name, says: "reached", is_ready: true },
            Condition::Silent => Need { name, says: "away", is_ready: false },
        })
    }

    /// It has a relay, which streams or stands by while another replica's does.
    #[must_use]
    pub fn relays(self, pulse: Pulse) -> Self {
        let name = "relay";
        self.with(move || match pulse.condition(RELAY_SILENCE) {
            Condition::Works => Need { name, says: "streams", is_ready: true },
            Condition::StandsBy => Need { name, says: "stands by", is_ready: true },
            Condition::Silent => Need { name, says: "interrupted", is_ready: false },
        })
    }

    /// It has a consumer called `name`.
    #[must_use]
    pub fn consumes(self, name: &'static str, pulse: Pulse) -> Self {
        self.with(move || match pulse.condition(LONG_BATCH) {
            Condition::Works | Condition::StandsBy => Need { name, says: "reads", is_ready: true },
            Condition::Silent => Need { name, says: "stalled", is_ready: false },
        })
    }

    /// It has a loop that does `work`.
    #[must_use]
    pub fn does(self, work: &Work) -> Self {
        let (name, work) = (work.name(), work.clone());
        self.with(move || match work.is_at_it_for(LONG_BATCH) {
            false => Need { name, says: "works", is_ready: true },
            true => Need { name, says: "stuck", is_ready: false },
        })
    }

    /// It needs `name` to be complete.
    #[must_use]
    pub fn completes(self, name: &'static str, complete: Arc<AtomicBool>) -> Self {
        self.with(move || match complete.load(Ordering::Relaxed) {
            true => Need { name, says: "complete", is_ready: true },
            false => Need { name, says: "incomplete", is_ready: false },
        })
    }

    /// Looks at all needs as they are at that moment.
    pub fn look(self) -> impl Fn() -> Vec<Need> + Clone + Send + Sync + 'static {
        let needs = Arc::new(self.needs);
        move || needs.iter().map(|look| look()).collect()
    }

    fn with(mut self, look: impl Fn() -> Need + Send + Sync + 'static) -> Self {
        self.needs.push(Box::new(look));
        self
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs: Vec<Need> = self.needs.iter().map(|look| look()).collect();
        f.debug_tuple("Health").field(&needs).finish()
    }
}

/// Lets `pulse` beat while `name` answers, until `stop`. Logs when it stops to, and when it answers again.
async fn keep_asking<F>(
    name: &'static str,
    pulse: Pulse,
    ask: impl Fn() -> F + Send + Sync,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    F: Future<Output = bool> + Send,
{
    let mut next = interval(ASK_EVERY);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_away = false;
    let asking = async {
        loop {
            next.tick().await;
            if timeout(PATIENCE, ask()).await == Ok(true) {
                pulse.works();
            }
            let was_away = std::mem::replace(&mut is_away, pulse.condition(SILENCE) == Condition::Silent);
            match (was_away, is_away) {
                (false, true) => warn!("The {name} cannot be reached: not ready."),
                (true, false) => info!("The {name} can be reached again."),
                (true, true) | (false, false) => {}
            }
        }
    };
    stop.run_until_cancelled(asking).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(look: &impl Fn() -> Vec<Need>) -> Vec<(&'static str, &'static str)> {
        let lacking = look().into_iter().filter(|need| !need.is_ready);
        lacking.map(|need| (need.name, need.says)).collect()
    }

    #[test]
    fn a_process_is_ready_once_it_has_all_it_needs_and_until_it_is_told_to_stop() {
        let (stop, complete) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let (relay, reads, database) = (Pulse::new(), Pulse::new(), Pulse::new());
        let health = Health::until(&stop).relays(relay.clone()).consumes("answers", reads.clone());
        let health = health.reaches("database", database.clone()).completes("catalogue", Arc::clone(&complete)).look();
        let at_first =
            [("relay", "interrupted"), ("answers", "stalled"), ("database", "away"), ("catalogue", "incomplete")];
        assert_eq!(lacking(&health), at_first);
        relay.stands_by();
        reads.works();
        complete.store(true, Ordering::Relaxed);
        assert_eq!(lacking(&health), [("database", "away")]);
        database.works();
        assert_eq!(lacking(&health), []);
        assert_eq!(health()[1].says, "stands by");
        stop.cancel();
        assert_eq!(lacking(&health), [("process", "stops")]);
    }

    /// One answer that is too late is not the end; what never answers is found out.
    #[tokio::test]
    async fn one_slow_answer_is_forgiven_and_two_are_not() {
        let (stop, pulse, asked) = (CancellationToken::new(), Pulse::new(), std::sync::atomic::AtomicUsize::new(0));
        // The first answers, the second is too late, the third answers, and none after it.
        let ask = || {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    0 | 2 => true,
                    _ => std::future::pending().await,
                }
            }
        };
        let health = Health::until(&stop).reaches("database", pulse.clone()).look();
        let watching = async {
            let mut away = None;
            while away.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let number = asked.load(Ordering::SeqCst);
                if number > 0 && !lacking(&health).is_empty() {
                    away = Some(number);
                }
            }
            stop.cancel();
            away
        };
        let (_, away) = tokio::join!(keep_asking("database", pulse, ask, stop.clone()), watching);
        assert!(away >= Some(5), "away at question {away:?}");
    }
}
