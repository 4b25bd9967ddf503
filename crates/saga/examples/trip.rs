//! A trip: a room and a seat are reserved side by side, the card decides, then the tickets go out.
//!
//! Run it with `cargo run --package saga --example trip`. There is no broker and no database here: `travel` plays all
//! participants at once, answers from a list of refusals, and prints what is said.

use jiff::{SignedDuration, Timestamp};
use saga::{Answer, CommandId, Data, Ended, Input, Saga, step};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// All a trip is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trip {
    city: String,
    nights: u32,
}

/// What the agency asks others to do.
#[derive(Debug, Clone, PartialEq)]
enum Command {
    ReserveRoom { city: String, nights: u32 },
    GiveUpRoom,
    ReserveSeat { city: String },
    GiveUpSeat,
    Charge { nights: u32 },
    SendTickets { city: String },
}

/// Why others decline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Refusal {
    FullyBooked,
    CardDeclined,
}

impl Data for Trip {
    type Command = Command;
    type Refusal = Refusal;
}

fn trip() -> Saga<Trip> {
    Saga::named("trip")
        .deadline(SignedDuration::from_mins(10))
        .side_by_side([
            step("reserve room", Trip::reserve_room, |_, _| Command::GiveUpRoom),
            step("reserve seat", Trip::reserve_seat, |_, _| Command::GiveUpSeat),
        ])
        .pivot("charge card", |trip, _| Command::Charge { nights: trip.nights })
        .then("send tickets", |trip, _| Command::SendTickets { city: trip.city.clone() })
        .ends()
}

impl Trip {
    fn reserve_room(&self, _: &CommandId) -> Command {
        Command::ReserveRoom { city: self.city.clone(), nights: self.nights }
    }

    fn reserve_seat(&self, _: &CommandId) -> Command {
        Command::ReserveSeat { city: self.city.clone() }
    }
}

fn main() {
    println!("{}", trip());
    let none: &[(&str, Refusal)] = &[];
    for refusals in [none, &[("reserve-seat", Refusal::FullyBooked)], &[("charge-card", Refusal::CardDeclined)]] {
        println!("{:?}\n", travel(refusals));
    }
}

/// Lets one trip happen. Every command is answered in the order in which it was sent.
fn travel(refusals: &[(&str, Refusal)]) -> Ended<Refusal> {
    let (saga, now) = (trip(), Timestamp::UNIX_EPOCH);
    let data = Trip { city: "Lisbon".to_owned(), nights: 3 };
    let (mut instance, first) = saga.start(Uuid::now_v7(), data, now);
    let mut commands = first.commands;
    while !commands.is_empty() {
        let (id, command) = commands.remove(0);
        let refusal = refusals.iter().find(|(step, _)| *step == id.step).map(|(_, refusal)| refusal.clone());
        let answer = match (id.direction, refusal) {
            (saga::Direction::Do, Some(refusal)) => Answer::Refused(refusal),
            (saga::Direction::Do, None) | (saga::Direction::Undo, _) => Answer::Done,
        };
        println!("{command:?}: {answer:?}");
        let input = Input::Answered { command: id, answer };
        commands.extend(saga.advance(&mut instance, input, now).expect("all of it was asked").commands);
    }
    instance.ended().cloned().expect("everything was answered")
}

#[cfg(test)]
mod tests {
    use saga::{Why, testing::exhaust};

    use super::*;

    #[test]
    fn a_trip_survives_anything() {
        let data = Trip { city: "Lisbon".to_owned(), nights: 3 };
        println!("{}", exhaust(&trip(), &data, &[Refusal::FullyBooked, Refusal::CardDeclined]));
    }

    #[test]
    fn a_trip_without_a_seat_is_given_up() {
        let why = Why::Refused { step: "reserve-seat".to_owned(), reason: Refusal::FullyBooked };
        assert_eq!(travel(&[("reserve-seat", Refusal::FullyBooked)]), Ended::Unwound(why));
        assert_eq!(travel(&[]), Ended::Completed);
    }
}
