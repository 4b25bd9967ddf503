//! Room for calls to the provider, in two lanes, so that what is slow or unclear does not hold back the rest.
//!
//! A first call is in the lane of its kind, and leaves it when it turns out to be slow. A call that is made again, because
//! the first had no clear outcome or its process died, never enters it: what was slow before is slow again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settle::Pace;

/// Both lanes. Clones are the same lanes.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    first: Arc<Semaphore>,
    again: Arc<Semaphore>,
}

/// Room for one call, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    lane: Lane,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Of calls that are made for the first time.
    First,
    /// Of those that are slow or made again.
    Again,
}

impl Lanes {
    pub(crate) fn of(pace: &Pace) -> Self {
        Self { first: Arc::new(Semaphore::new(pace.first)), again: Arc::new(Semaphore::new(pace.again)) }
    }

    /// Waits for room for a first call.
    pub(crate) async fn first(&self) -> Room {
        let place = Arc::clone(&self.first).acquire_owned().await.expect("nobody closes it");
        Room { lane: Lane::First, _place: place }
    }

    /// Whether there is room for a call that is made again.
    pub(crate) fn has_again(&self) -> bool {
        self.again.available_permits() > 0
    }

    /// All the room there is for calls that are made again, but for so many places at most.
    pub(crate) fn again(&self, most: usize) -> Vec<Room> {
        std::iter::from_fn(|| self.one_again()).take(most).collect()
    }

    fn one_again(&self) -> Option<Room> {
        let place = Arc::clone(&self.again).try_acquire_owned().ok()?;
        Some(Room { lane: Lane::Again, _place: place })
    }

    /// The room of a call that turned out to be slow: among the slow, if there is any left.
    pub(crate) fn slow(&self, room: Room) -> Room {
        match room.lane {
            Lane::First => self.one_again().unwrap_or(room),
            Lane::Again => room,
        }
    }
}
