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

use super::turns::Turns;

/// Whoever keeps us waiting for no longer than this keeps its room: the next request of a busy client has so long to come,
/// its head from the first byte on, and its body from the end of the head on. So long it may also read an answer.
const KEPT: Duration = Duration::from_secs(1);
/// Between two looks whether somebody keeps us waiting, while another has no room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Of all connections one in so many is hung up on at once, and one more: to look through all of them for each costs too
/// much.
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
        // Who has been told already may take a moment to go.
        let others = taken.seats.values().filter(|(_, needed)| !needed.is_cancelled());
        let waiting = others.filter_map(|(turns, needed)| Some((turns.kept_waiting_for()?, needed)));
        let mut idle: Vec<_> = waiting.filter(|(waited, _)| *waited > KEPT).collect();
        idle.sort_by_key(|(waited, _)| std::cmp::Reverse(*waited));
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Longer than a client that keeps us waiting keeps its room.
    const LONG: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn each_time_that_room_is_made_another_goes() {
        let room = Room::of(3);
        let seats = [room.seat().await, room.seat().await, room.seat().await];
        advance(LONG).await;
        for told in 1..=3 {
            room.make_room();
            assert_eq!(seats.iter().filter(|seat| seat.needed.is_cancelled()).count(), told);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_just_begun_keeps_its_room_for_a_moment_and_a_body_too() {
        let room = Room::of(2);
        let (head, body) = (room.seat().await, room.seat().await);
        advance(LONG).await;
        head.turns.heard(b"GET /");
        body.turns.heard(b"POST /");
        let _answer = body.turns.begin();
        let _body = body.turns.await_body();
        room.make_room();
        assert!(!head.needed.is_cancelled() && !body.needed.is_cancelled());
        advance(KEPT + Duration::from_millis(1)).await;
        room.make_room();
        room.make_room();
        assert!(head.needed.is_cancelled() && body.needed.is_cancelled());
    }
}
