//! The payment against every interleaving of all messages of an order's life, from both topics and each up to twice, of a
//! part that an operator returns, and of the provider's outcomes. What the orchestrator never sends is left out: a void
//! behind a capture that is not refused, a capture or refund or event ahead of the answer that it follows; but that an
//! order is cancelled is also told at any time, as if somebody had erred. States that were seen are not looked at again.

use std::collections::{BTreeMap, HashSet};

use super::ways::{answered, customer};
use super::*;
use crate::customer::Customer;
use crate::invoice::{Papers, Party, Sale, is_due};
use crate::ledger::EntryKind;
use crate::refund::{RefundError, RefundState};

const PART: Money = Money { amount: 5_00, ..PRICE };
const COMMANDS: [(&str, Kind); 4] =
    [("authorize", Kind::Authorize), ("void", Kind::Void), ("capture", Kind::Capture), ("refund", Kind::Refund)];

/// One way through the interleavings.
#[derive(Debug, Clone)]
struct Way {
    payment: Payment,
    /// Copies still to come.
    left: BTreeMap<&'static str, u8>,
    /// Whether the end is told at any time, and not only when nothing is held.
    erring: bool,
    papers: Papers,
    /// What the provider has set aside, taken, returned. Unit: cents.
    aside: i64,
    taken: i64,
    returned: i64,
    /// How often the provider may still refuse to return something.
    refusals: u8,
    /// Per command: its answer, and how often it was given.
    answers: BTreeMap<CommandId, (BillingEvent, u32)>,
    /// Per command: how often an answer is due.
    due: BTreeMap<CommandId, u32>,
    /// What the ledger has of refunds. Unit: cents.
    booked: i64,
}

#[derive(Debug, Default)]
struct Reached {
    seen: HashSet<String>,
    /// How it ended: the payment's state, whether there is an invoice, how many credit notes.
    ends: BTreeMap<(&'static str, bool, usize), u32>,
    parts_before_the_invoice: u32,
    parts_behind_the_rest: u32,
    rests_that_waited: u32,
    rests_refused: u32,
    invoices_of_what_goes_back: u32,
    confirmed_behind_cancelled: u32,
    late_cleanups: u32,
    parts_under_way_at_the_end: u32,
    commands_behind_the_end: u32,
}

impl Way {
    fn explore(&self, orchestrator: &Orchestrator, reached: &mut Reached) {
        if !reached.seen.insert(format!("{self:?}")) {
            return;
        }
        let mut ended = true;
        for (name, copies) in self.left.clone() {
            if copies == 0 || !self.may_come(name) {
                continue;
            }
            ended = false;
            let mut way = self.clone();
            *way.left.get_mut(name).unwrap() -= 1;
            way.come(name, orchestrator, reached);
            way.explore(orchestrator, reached);
        }
        let invoiced = if self.papers.invoice.is_some() { PRICE.amount } else { 0 };
        assert!(self.credited() <= invoiced, "more is credited than was invoiced: {:?}", self.papers);
        for way in self.settled(reached) {
            ended = false;
            way.explore(orchestrator, reached);
        }
        if ended {
            self.judge(reached);
        }
    }

    fn said(&self, wanted: fn(&BillingEvent) -> bool) -> bool {
        self.answers.values().any(|(answer, _)| wanted(answer))
    }

    fn may_come(&self, name: &str) -> bool {
        let captured = self.said(|answer| matches!(answer, BillingEvent::PaymentCaptured { .. }));
        match name {
            "authorize" => true,
            "void" => {
                let asked = self.payment.commands.iter().any(|record| record.kind == Kind::Capture);
                !asked || self.said(|answer| matches!(answer, BillingEvent::CaptureRefused { .. }))
            }
            // A void that is sent turns the saga.
            "capture" => {
                let turned = self.payment.commands.iter().any(|record| record.kind == Kind::Void);
                let known = self.payment.commands.iter().any(|record| record.kind == Kind::Capture);
                (known || !turned) && self.said(|answer| matches!(answer, BillingEvent::PaymentAuthorized { .. }))
            }
            "refund" | "confirmed" | "part" => captured,
            "cancelled" if self.erring => true,
            "cancelled" => {
                let free = self.said(|answer| {
                    matches!(answer, BillingEvent::PaymentVoided { .. } | BillingEvent::PaymentRefused { .. })
                });
                let back = self.said(|answer| matches!(answer, BillingEvent::PaymentRefunded { .. }));
                back || (free && !captured)
            }
            other => panic!("{other}"),
        }
    }

    fn come(&mut self, name: &str, orchestrator: &Orchestrator, reached: &mut Reached) {
        match name {
            "confirmed" => self.confirmed(reached),
            "cancelled" => self.cancelled(reached),
            "part" => self.part(reached),
            name => {
                let (_, kind) = COMMANDS.iter().find(|(command, _)| *command == name).unwrap();
                self.receive(&orchestrator.command(*kind, name), reached);
            }
        }
    }

    fn receive(&mut self, command: &BillingCommand, reached: &mut Reached) {
        let (id, kind) = named(command);
        let known = self.payment.commands.iter().any(|record| record.id == *id);
        let customers = customer(command).into_iter().collect();
        let effects = self.payment.receive(command, &customers, NOW).unwrap_or_else(|fault| panic!("{fault}"));
        if !known || self.answers.contains_key(id) {
            *self.due.entry(id.clone()).or_default() += 1;
        }
        reached.rests_that_waited += u32::from(kind == Kind::Refund && !known && effects.is_empty());
        reached.commands_behind_the_end += u32::from(self.payment.closed && !known);
        self.note(effects);
    }

    fn part(&mut self, reached: &mut Reached) {
        match Refund::request(&self.payment, self.papers.invoice.is_some(), "part", PART) {
            Ok(Requested::New(refund)) => self.payment.refunds.push(refund),
            Err(RefundError::NotInvoiced) => reached.parts_before_the_invoice += 1,
            Err(RefundError::TooMuch { left }) if left.amount == 0 => reached.parts_behind_the_rest += 1,
            other => panic!("{other:?}"),
        }
    }

    fn confirmed(&mut self, reached: &mut Reached) {
        let Payment { order, state, closed, .. } = self.payment;
        if is_due(order, state, closed, self.papers.invoice.is_some()).unwrap() {
            reached.invoices_of_what_goes_back += u32::from(state != State::Captured);
            let sale =
                Sale { order, seller: party(), buyer: party(), at: NOW, terms: self.payment.terms.clone().unwrap() };
            self.papers.add(0, sale.invoice(1, NOW));
        }
        reached.confirmed_behind_cancelled += u32::from(closed);
    }

    fn cancelled(&mut self, reached: &mut Reached) {
        let under_way = self.payment.refunds.iter().any(|refund| refund.is_part() && refund.state == RefundState::Open);
        let Some(end) = self.payment.close(NOW) else { return };
        assert!(self.erring || !end.held && end.effects.is_empty(), "late cleanup of {:?}", self.payment);
        reached.late_cleanups += u32::from(end.held);
        reached.parts_under_way_at_the_end += u32::from(under_way);
        self.papers.credit(None);
        self.note(end.effects);
    }

    /// The ways on which the provider says something.
    fn settled(&self, reached: &mut Reached) -> Vec<Self> {
        let mut ways = Vec::new();
        if let Some(operation) = self.payment.state.operation() {
            for outcome in [ok(), declined()] {
                if operation == Operation::Void && outcome != ok() {
                    continue;
                }
                let mut way = self.clone();
                if outcome == ok() {
                    way.does(operation);
                }
                let effects = way.payment.outcome(operation, &outcome, NOW).unwrap();
                way.note(effects);
                ways.push(way);
            }
        }
        for refund in self.payment.refunds.iter().filter(|refund| refund.state == RefundState::Open) {
            let mut way = self.clone();
            way.returned += refund.amount.amount;
            way.hear(refund.number, &done(Some(refund.amount)));
            ways.push(way);
            if self.refusals > 0 {
                let mut way = self.clone();
                way.refusals -= 1;
                reached.rests_refused += u32::from(!refund.is_part());
                way.hear(refund.number, &declined());
                ways.push(way);
            }
        }
        ways
    }

    fn does(&mut self, operation: Operation) {
        match operation {
            Operation::Authorize => self.aside += PRICE.amount,
            Operation::Void => self.aside -= PRICE.amount,
            Operation::Capture => {
                self.aside -= PRICE.amount;
                self.taken += PRICE.amount;
            }
        }
        assert!(self.aside >= 0 && self.taken <= PRICE.amount, "{operation:?} of {:?}", self.payment);
    }

    fn hear(&mut self, number: u32, outcome: &Outcome) {
        let effects = self.payment.refund_outcome(number, outcome, NOW).unwrap();
        self.note(effects);
        let before = self.payment.clone();
        assert_eq!(self.payment.refund_outcome(number, outcome, NOW), Ok(Vec::new()), "booked twice");
        assert_eq!(self.payment, before, "booked twice");
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Post(entry) if entry.kind == EntryKind::Refund => {
                    let back = entry.postings.iter().find(|posting| posting.account.name() == "provider_receivable");
                    self.booked -= back.unwrap().amount.amount;
                }
                Effect::Credit(refund) => {
                    let credited = self.papers.credit(Some((refund.number, &refund.taxes)));
                    // What was under way when the order was cancelled was credited with the rest.
                    assert_eq!(credited.is_some(), !self.payment.closed, "a part is credited once: {:?}", self.papers);
                }
                Effect::Post(_) | Effect::OpenIntent(_) | Effect::Park(..) | Effect::Keep(_) => {}
                Effect::Answer(event) => {
                    if let BillingEvent::PaymentRefunded { .. } = event {
                        assert_eq!(self.taken, self.returned, "refunded is said while something is left");
                    }
                    let (first, times) = self.answers.entry(answered(&event)).or_insert_with(|| (event.clone(), 0));
                    *times += 1;
                    assert_eq!(*first, event, "an answer never changes");
                }
            }
        }
    }

    fn credited(&self) -> i64 {
        self.papers.credits.iter().flat_map(|(_, taxes)| taxes).map(|tax| tax.gross.amount).sum()
    }

    fn judge(&self, reached: &mut Reached) {
        let Self { payment, papers, .. } = self;
        let invoiced = papers.invoice.is_some();
        *reached.ends.entry((payment.state.name(), invoiced, papers.credits.len())).or_default() += 1;
        let credited = self.credited();
        let parts = payment.refunds.iter().filter(|refund| refund.is_part() && refund.state == RefundState::Refunded);
        let parts: i64 = parts.map(|refund| refund.amount.amount).sum();
        assert_eq!((self.booked, payment.stuck()), (self.returned, None), "{payment:?}");
        if payment.closed {
            assert_eq!((self.aside, self.taken - self.returned), (0, 0), "a cancelled order holds {payment:?}");
            assert_eq!(credited, if invoiced { PRICE.amount } else { 0 }, "{papers:?}");
        } else {
            assert_eq!(credited, parts, "{papers:?}");
        }
        for (command, due) in &self.due {
            let times = self.answers.get(command).map_or(0, |(_, times)| *times);
            assert_eq!(times, *due, "{command} in {payment:?}");
        }
    }
}

fn party() -> Party {
    let (name, address, country) = ("Somebody".to_owned(), vec!["Somewhere".to_owned()], "DE".to_owned());
    Customer { name, address, country, email: None, vat_id: None }.into()
}

/// Every way from the beginning.
fn explored(erring: bool) -> Reached {
    let orchestrator = Orchestrator::new();
    let twice = COMMANDS.map(|(name, _)| name).into_iter().chain(["confirmed", "cancelled"]).map(|name| (name, 2));
    let way = Way {
        payment: Payment::none(orchestrator.order),
        left: twice.chain([("part", 1)]).collect(),
        erring,
        papers: Papers::default(),
        aside: 0,
        taken: 0,
        returned: 0,
        refusals: 1,
        answers: BTreeMap::new(),
        due: BTreeMap::new(),
        booked: 0,
    };
    let mut reached = Reached::default();
    way.explore(&orchestrator, &mut reached);
    reached
}

#[test]
fn holds_in_every_interleaving_of_commands_events_parts_duplicates_and_outcomes() {
    let reached = explored(false);
    let states = reached.seen.len();
    let Reached { ends, .. } = &reached;
    assert!(states > 1_000, "{states} states");
    let ends: Vec<(&str, bool, usize)> = ends.keys().copied().collect();
    for end in [("refunded", true, 1), ("refunded", true, 2), ("refunded", false, 0), ("voided", false, 0)] {
        assert!(ends.contains(&end), "{end:?} is not among {ends:?}");
    }
    for (what, times) in [
        ("a part was asked for before the invoice", reached.parts_before_the_invoice),
        ("a part was asked for behind the rest", reached.parts_behind_the_rest),
        ("the rest waited for a part", reached.rests_that_waited),
        ("the rest was refused", reached.rests_refused),
        ("what goes back was invoiced", reached.invoices_of_what_goes_back),
        ("confirmed came behind cancelled", reached.confirmed_behind_cancelled),
    ] {
        assert!(times > 0, "never: {what}");
    }
}

/// A cancelled order ends charged nothing, and its papers add up to nothing, whenever the end is told.
#[test]
fn holds_whenever_the_end_is_told_and_never_more_is_credited_than_invoiced() {
    let reached = explored(true);
    let states = reached.seen.len();
    assert!(states > 1_000, "{states} states");
    let ends: Vec<(&str, bool, usize)> = reached.ends.keys().copied().collect();
    for end in [("refunded", true, 1), ("refunded", true, 2), ("refunded", false, 0), ("voided", false, 0)] {
        assert!(ends.contains(&end), "{end:?} is not among {ends:?}");
    }
    for (what, times) in [
        ("something was held at the end", reached.late_cleanups),
        ("a part was under way at the end", reached.parts_under_way_at_the_end),
        ("a command came behind the end", reached.commands_behind_the_end),
        ("confirmed came behind cancelled", reached.confirmed_behind_cancelled),
    ] {
        assert!(times > 0, "never: {what}");
    }
}
