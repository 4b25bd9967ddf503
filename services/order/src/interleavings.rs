//! Every interleaving of what an order can meet: the answers of both participants in any order, each twice, shipments, a
//! cancel at any time, the deadline.
//!
//! Between topics there is no order, and after a loss not even within one, so the test takes what was said in any order.
//! It goes through all states that can be reached, runs the service's own code without its database, and holds every end
//! against what a shop may be proud of. What each state meets is pinned: it is the table that the model-checked protocol
//! prints for the order service, less the rows of a restored database and of a refund that is refused, which billing
//! never does.

mod participants;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use contracts::{
    Currency, CustomerId, Money, OrderId, Quantity, ShipmentId,
    billing::{BillingCommand, BillingEvent},
    inventory::{InventoryCommand, InventoryEvent},
    order::{OrderEvent, OrderLine},
    vat::VatRate,
};
use jiff::Timestamp;
use saga::{Ended, Phase};

use crate::{
    answers::{Heard, from_billing, from_inventory},
    cancellation::{Wanted, wanted},
    order::{Order, Status},
    sagas::{AnySaga, Moves, Progress},
};

/// What the states meet, by checkout and cancellation.
const MET: &str = "\
Cancelled/-: CaptureRefused, PaymentAuthorized, PaymentRefused, PaymentVoided, StockHeld, StockRefused, StockReleased
Cancelled/Cancelled: PaymentAuthorized, PaymentCaptured, PaymentRefunded, StockHeld, StockReclaimed
Capturing/-: CaptureRefused, PaymentAuthorized, PaymentCaptured, StockHeld
Confirmed/-: PaymentAuthorized, PaymentCaptured, StockHeld, StockShipped
Confirmed/ReclaimRefused: PaymentAuthorized, PaymentCaptured, ReclaimRefused, StockHeld, StockShipped
Confirmed/Reclaiming: PaymentAuthorized, PaymentCaptured, ReclaimRefused, StockHeld, StockReclaimed, StockShipped
Confirmed/Refunding: PaymentAuthorized, PaymentCaptured, PaymentRefunded, StockHeld, StockReclaimed
Holding/-: PaymentAuthorized, PaymentRefused, StockHeld, StockRefused
Undoing/-: CaptureRefused, PaymentAuthorized, PaymentRefused, PaymentVoided, StockHeld, StockRefused, StockReleased";

/// How the participants stand: their side of the protocol, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hold {
    None,
    Open,
    Allocated,
    PartlyShipped,
    Shipped,
    Released,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Paid {
    None,
    Authorized,
    Refused,
    Voided,
    Captured,
    CaptureRefused,
    Refunded,
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Inventory(InventoryEvent),
    Billing(BillingEvent),
}

/// Everything: the order service, what is on its way, and the participants.
#[derive(Debug, Clone)]
struct World {
    order: Order,
    sagas: Vec<AnySaga>,
    to_inventory: VecDeque<InventoryCommand>,
    to_billing: VecDeque<BillingCommand>,
    /// What was said, and how often it was heard.
    said: Vec<(Said, u8)>,
    /// The confirmation is on its way to inventory.
    is_confirmation_unread: bool,
    hold: Hold,
    paid: Paid,
    now: Timestamp,
    may_time_out: bool,
    /// How often the customer will yet ask to cancel.
    cancels: u8,
    shipments: [ShipmentId; 2],
}

/// What was reached, so that nothing passes unseen.
#[derive(Debug, Default)]
struct Reached {
    met: BTreeMap<String, BTreeSet<&'static str>>,
    ends: BTreeMap<String, usize>,
    wanted: BTreeMap<String, usize>,
}

#[test]
fn every_interleaving_ends_well() {
    let mut reached = Reached::default();
    let (mut seen, mut left) = (HashSet::new(), vec![World::begin()]);
    while let Some(world) = left.pop() {
        if !seen.insert(world.key()) {
            continue;
        }
        world.judge(&mut reached);
        left.extend(world.next(&mut reached));
    }
    let met: Vec<String> = reached.met.iter().map(|(state, met)| format!("{state}: {}", join(met))).collect();
    assert_eq!(met.join("\n"), MET);
    let ends: Vec<&str> = reached.ends.keys().map(String::as_str).collect();
    let expected = [
        "cancelled, never paid",
        "cancelled, refunded, never confirmed",
        "cancelled, refunded, once confirmed",
        "confirmed",
        "partly_shipped",
        "partly_shipped, its cancellation refused",
        "shipped",
        "shipped, its cancellation refused",
    ];
    assert_eq!(ends, expected, "{:?}", reached.ends);
    let wanted: Vec<&str> = reached.wanted.keys().map(String::as_str).collect();
    assert_eq!(wanted, ["Already", "ByCancellation", "ByCheckout", "TooLate"], "{:?}", reached.wanted);
    assert!(seen.len() > 10_000, "{} states", seen.len());
}

fn join(names: &BTreeSet<&'static str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn at() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

impl World {
    fn begin() -> Self {
        let eur = |amount| Money::new(amount, Currency::EUR);
        let quantity = Quantity::try_from(2).unwrap();
        let line = OrderLine::priced("MUG".parse().unwrap(), "Mug".into(), quantity, eur(1290), VatRate(1900)).unwrap();
        let (order, customer) = (OrderId::mint(), CustomerId::mint());
        let placed = OrderEvent::Placed { order, version: 1, customer, lines: vec![line], total: eur(2580), at: at() };
        let mut world = Self {
            order: Order::apply(None, &placed).unwrap(),
            sagas: Vec::new(),
            to_inventory: VecDeque::new(),
            to_billing: VecDeque::new(),
            said: Vec::new(),
            is_confirmation_unread: false,
            hold: Hold::None,
            paid: Paid::None,
            now: at(),
            may_time_out: true,
            cancels: 2,
            shipments: [ShipmentId::mint(), ShipmentId::mint()],
        };
        let mut progress = Progress::default();
        let deadline = jiff::SignedDuration::from_secs(30);
        progress.placed(placed, "tok_ok".to_owned().try_into().unwrap(), deadline, at());
        world.take(progress);
        world
    }

    /// Takes over what the service has written, and hands out what it has sent.
    fn take(&mut self, progress: Progress) {
        let orders = HashMap::from([(self.order.id, self.order.clone())]);
        let (sagas, changed, sent) = progress.without_a_database(orders, self.now).unwrap();
        for saga in sagas {
            match self.sagas.iter_mut().find(|known| known.id() == saga.id()) {
                Some(known) => *known = saga,
                None => self.sagas.push(saga),
            }
        }
        if let Some(order) = changed.into_iter().next() {
            self.order = order;
        }
        for message in sent {
            match message.topic {
                "inventory.commands" => self.to_inventory.push_back(serde_json::from_str(&message.payload).unwrap()),
                "billing.commands" => self.to_billing.push_back(serde_json::from_str(&message.payload).unwrap()),
                _ if message.kind == "order.confirmed.v1" => self.is_confirmation_unread = true,
                _ => {}
            }
        }
    }

    /// All that can happen next.
    fn next(&self, reached: &mut Reached) -> Vec<Self> {
        let mut next = Vec::new();
        next.extend(self.inventory_works(true));
        next.extend(self.inventory_works(false));
        next.extend(self.billing_works(true));
        next.extend(self.billing_works(false));
        next.extend(self.inventory_allocates());
        next.extend(self.inventory_ships());
        for place in (0..self.said.len()).filter(|place| self.said[*place].1 < 2) {
            next.push(self.hears(place, reached));
        }
        next.extend(self.is_cancelled(reached));
        next.extend(self.times_out());
        next
    }

    fn hears(&self, place: usize, reached: &mut Reached) -> Self {
        let mut world = self.clone();
        world.said[place].1 += 1;
        let said = &self.said[place].0;
        reached.met.entry(self.state()).or_default().insert(said.name());
        let heard = match said.clone() {
            Said::Inventory(event) => from_inventory(event).unwrap(),
            Said::Billing(event) => from_billing(event).unwrap(),
        };
        let mut progress = Progress::of(self.sagas.clone());
        match heard {
            Heard::Answer(saga, moves) => progress.advance(saga, moves, self.now).unwrap(),
            Heard::News(order, news) => progress.tell(order, news),
            Heard::Erased(..) => unreachable!("nobody is forgotten here"),
        }
        world.take(progress);
        world
    }

    fn is_cancelled(&self, reached: &mut Reached) -> Option<Self> {
        let mut world = Self { cancels: self.cancels.checked_sub(1)?, ..self.clone() };
        let mut progress = Progress::of(self.sagas.clone());
        let wanted = wanted(&self.order, self.sagas.len() > 1);
        match wanted {
            Wanted::ByCheckout => progress.advance(self.sagas[0].id(), Moves::CancelRequested, self.now).unwrap(),
            Wanted::ByCancellation => progress.cancel(self.order.id, self.now),
            Wanted::Already | Wanted::TooLate => {}
        }
        *reached.wanted.entry(format!("{wanted:?}")).or_default() += 1;
        world.take(progress);
        Some(world)
    }

    fn times_out(&self) -> Option<Self> {
        if !self.may_time_out {
            return None;
        }
        let mut world = self.clone();
        world.may_time_out = false;
        world.now = at() + jiff::SignedDuration::from_secs(31);
        let mut progress = Progress::of(self.sagas.clone());
        for saga in &self.sagas {
            progress.advance(saga.id(), Moves::Woken, world.now).unwrap();
        }
        world.take(progress);
        Some(world)
    }

    /// What tells this state from all others: not the ids, which are new each time.
    fn key(&self) -> String {
        let mut said: Vec<String> = self.said.iter().map(|said| format!("{said:?}")).collect();
        said.sort_unstable();
        let state = format!("{:?}{said:?}", Self { said: Vec::new(), ..self.clone() });
        match self.sagas.get(1) {
            Some(cancellation) => state.replace(&cancellation.id().to_string(), "cancellation"),
            None => state,
        }
    }

    /// The state as the table names it.
    fn state(&self) -> String {
        let (mut checkout, mut cancellation) = ("", "-");
        for saga in &self.sagas {
            match saga {
                AnySaga::Checkout(instance) => {
                    checkout = match instance.phase() {
                        Phase::Begun => "Holding",
                        Phase::AtPivot | Phase::PastPivot | Phase::Parked { .. } => "Capturing",
                        Phase::Unwinding(_) => "Undoing",
                        Phase::Ended(_) if matches!(self.order.status, Status::Cancelled(_)) => "Cancelled",
                        Phase::Ended(_) => "Confirmed",
                    }
                }
                AnySaga::Cancellation(instance) => {
                    cancellation = match instance.phase() {
                        Phase::Begun | Phase::AtPivot => "Reclaiming",
                        Phase::PastPivot | Phase::Unwinding(_) | Phase::Parked { .. } => "Refunding",
                        Phase::Ended(Ended::Completed) => "Cancelled",
                        Phase::Ended(Ended::Unwound(_)) => "ReclaimRefused",
                    }
                }
            }
        }
        format!("{checkout}/{cancellation}")
    }

    /// What must hold always, and at an end.
    fn judge(&self, reached: &mut Reached) {
        if matches!(self.order.status, Status::Cancelled(_)) {
            assert!(matches!(self.hold, Hold::Released | Hold::Refused), "late cleanup: {self:#?}");
            assert!(matches!(self.paid, Paid::Voided | Paid::Refused | Paid::Refunded), "charged: {self:#?}");
        }
        let is_over = self.to_inventory.is_empty()
            && self.to_billing.is_empty()
            && !self.is_confirmation_unread
            && self.said.iter().all(|(_, heard)| *heard > 0);
        if !is_over {
            return;
        }
        let have_ended = self.sagas.iter().all(|saga| matches!(saga.stored().state, "completed" | "unwound"));
        assert!(have_ended, "a saga waits for nothing: {self:#?}");
        let was_confirmed = self.order.version > 2;
        let end = match (&self.order.status, self.hold, self.paid) {
            (Status::Confirmed, Hold::Allocated, Paid::Captured)
            | (Status::PartlyShipped, Hold::PartlyShipped, Paid::Captured)
            | (Status::Shipped, Hold::Shipped, Paid::Captured) => {
                let refused = if self.order.cancellation_refused { ", its cancellation refused" } else { "" };
                format!("{}{refused}", self.order.status.name().as_str())
            }
            (Status::Cancelled(_), _, Paid::Refunded) if was_confirmed => {
                "cancelled, refunded, once confirmed".to_owned()
            }
            (Status::Cancelled(_), _, Paid::Refunded) => "cancelled, refunded, never confirmed".to_owned(),
            (Status::Cancelled(_), ..) => "cancelled, never paid".to_owned(),
            _ => panic!("a bad end: {self:#?}"),
        };
        *reached.ends.entry(end).or_default() += 1;
    }
}

impl Said {
    fn json(&self) -> serde_json::Value {
        match self {
            Self::Inventory(event) => serde_json::to_value(event).unwrap(),
            Self::Billing(event) => serde_json::to_value(event).unwrap(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Inventory(InventoryEvent::StockHeld { .. }) => "StockHeld",
            Self::Inventory(InventoryEvent::StockRefused { .. }) => "StockRefused",
            Self::Inventory(InventoryEvent::StockReleased { .. }) => "StockReleased",
            Self::Inventory(InventoryEvent::StockReclaimed { .. }) => "StockReclaimed",
            Self::Inventory(InventoryEvent::ReclaimRefused { .. }) => "ReclaimRefused",
            Self::Inventory(InventoryEvent::StockShipped { .. }) => "StockShipped",
            Self::Billing(BillingEvent::PaymentAuthorized { .. }) => "PaymentAuthorized",
            Self::Billing(BillingEvent::PaymentRefused { .. }) => "PaymentRefused",
            Self::Billing(BillingEvent::PaymentVoided { .. }) => "PaymentVoided",
            Self::Billing(BillingEvent::PaymentCaptured { .. }) => "PaymentCaptured",
            Self::Billing(BillingEvent::CaptureRefused { .. }) => "CaptureRefused",
            Self::Billing(BillingEvent::PaymentRefunded { .. }) => "PaymentRefunded",
            Self::Billing(BillingEvent::CustomerErased { .. }) => "CustomerErased",
        }
    }
}
