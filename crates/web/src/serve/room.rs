//! Room for connections: so many at once, and while another has none, no longer for one that keeps us waiting.
//!
//! Otherwise whoever opens connections enough, and says nothing, shuts out everybody, and among them whoever asks whether
//! the process lives and would start it again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::connection::Turns;

/// Whoever has said something within this time keeps its room: a head on its way, or the next request of a busy client.
const KEPT: Duration = Duration::from_secs(1);
/// Between two looks whether somebody keeps us waiting, while another has no room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of all connections so many are hung up on at once, and one: to look through all of them for each costs too much.
const SHARE: usize = 64;

/// Room for so many connections.
#[derive(Debug)]
pub(super) struct Room {
    seats: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, (Turns, CancellationToken)>,
}

/// The room of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) turns: Turns,
    /// Cancelled when the room is needed. Whose turn it is may have changed meanwhile.
    pub(super) needed: CancellationToken,
    number: u64,
    taken: Arc<Mutex<Taken>>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn of(connections: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(connections)), taken: Arc::default() }
    }

    /// Room for one more, as soon as there is. Meanwhile those are hung up on who have kept us waiting longest.
    pub(super) async fn seat(&self) -> Seat {
        let permit = loop {
            let free = Arc::clone(&self.seats).acquire_owned();
            if let Ok(permit) = timeout(LOOK_AGAIN, free).await {
                break permit.expect("nobody closes the room");
            }
            self.make_room();
        };
        let (turns, needed) = (Turns::default(), CancellationToken::new());
        let mut taken = lock(&self.taken);
        taken.next += 1;
        let number = taken.next;
        taken.seats.insert(number, (turns.clone(), needed.clone()));
        Seat { turns, needed, number, taken: Arc::clone(&self.taken), _permit: permit }
    }

    fn make_room(&self) {
        let taken = lock(&self.taken);
        let waiting = taken.seats.values().filter_map(|(turns, needed)| Some((turns.client_silent_for()?, needed)));
        let mut idle: Vec<_> = waiting.filter(|(silent, _)| *silent > KEPT).collect();
        idle.sort_by_key(|(silent, _)| std::cmp::Reverse(*silent));
        idle.iter().take(taken.seats.len() / SHARE + 1).for_each(|(_, needed)| needed.cancel());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.taken).seats.remove(&self.number);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
