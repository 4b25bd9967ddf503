//! The payment of one order: what each command and each word of the provider makes of it. Pure.
//!
//! What needs the provider opens an *intent*: the payment is then [`State::Authorizing`], [`State::Voiding`] or
//! [`State::Capturing`], and every further command waits in the payment until the provider's word is definite. So a void
//! never drops an authorization that may be on its way, and "voided" is said only when the provider has released or
//! refused it.
//!
//! | state | authorize | void | capture | refund |
//! |---|---|---|---|---|
//! | none | opens an intent | tombstone: voided | - | - |
//! | authorizing, voiding, capturing | waits | waits | waits | waits |
//! | authorized | authorized | opens an intent | opens an intent | - |
//! | refused | refused | voided | - | - |
//! | voided | refused | voided | refused | - |
//! | tombstone | refused | voided | - | - |
//! | captured | authorized | - | captured | refunding |
//! | capture refused | authorized | opens an intent | refused | - |
//! | refunding | authorized | - | captured | waits |
//! | refunded | authorized | - | captured | refunded |
//!
//! An authorization for a customer whom nobody knows by name and address opens no intent: it is refused, for no invoice
//! could be made out. What "refunding" does is in [`crate::returns`].
//!
//! `-` is impossible: the orchestrator never sends it. The table is for commands never seen before; a known one gets the
//! answer it got, or nothing while it is in work. A waiting command that turns out to be impossible stays where it is,
//! unanswered, and what comes later waits behind it: see [`Payment::stuck`].

use std::collections::BTreeSet;

use contracts::billing::{BillingCommand, BillingEvent, PaymentRefusal, PaymentToken};
use contracts::order::OrderLine;
use contracts::{CommandId, CustomerId, Money, OrderId};
use jiff::Timestamp;

use crate::fault::Fault;
use crate::ledger::LedgerEntry;
use crate::provider::{Act, Done, Operation, Outcome, ProviderKey, Unbookable};
use crate::record::{Answer, CommandRecord, Kind, Progress, named};
use crate::refund::Refund;
use crate::state::State;
use crate::terms::Terms;

/// The payment of one order, as its row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    /// For which order.
    pub order: OrderId,
    /// How far it has come.
    pub state: State,
    /// Who pays how much. Set by the authorization, so a tombstone has none.
    pub terms: Option<Terms>,
    /// Every command received, in the order of receipt.
    pub commands: Vec<CommandRecord>,
    /// Every refund. There is none before the capture.
    pub refunds: Vec<Refund>,
    /// Whether the order is cancelled: then nothing may be held for it.
    pub closed: bool,
    /// How often its row was written; 0 if there is none.
    pub version: i32,
}

/// What a transition asks for, beyond the changed payment.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Say so.
    Answer(BillingEvent),
    /// Have the provider do so.
    OpenIntent(Act),
    /// Let the provider do so once an operator has resumed it, who is told why.
    Park(Act, String),
    /// Book so.
    Post(LedgerEntry),
    /// Keep the refund as it is now.
    Keep(Refund),
    /// Credit the customer with a part that went back.
    Credit(Refund),
}

impl Payment {
    /// The payment of an order never heard of.
    pub fn none(order: OrderId) -> Self {
        Self {
            order,
            state: State::None,
            terms: None,
            commands: Vec::new(),
            refunds: Vec::new(),
            closed: false,
            version: 0,
        }
    }

    /// Takes in `command`, which is for this payment. Its customer has a name and an address if among `customers`.
    ///
    /// # Errors
    /// A [`Fault`] of the command; the payment is as it was.
    pub fn receive(
        &mut self,
        command: &BillingCommand,
        customers: &BTreeSet<CustomerId>,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Fault> {
        let (id, kind) = named(command);
        if let Some(known) = self.commands.iter().find(|known| known.id == *id) {
            return self.again(known, kind);
        }
        let mut step = if self.stuck().is_some() { Step::Wait } else { self.step(id, kind)? };
        let mut card = None;
        if let BillingCommand::AuthorizePayment { customer, amount, lines, token, .. } = command {
            self.agree(id, *customer, *amount, lines)?;
            card = Some(token);
            if matches!(step, Step::Open(_)) && !customers.contains(customer) {
                step = Step::Refuse;
            }
        }
        self.commands.push(CommandRecord { id: id.clone(), kind, progress: Progress::Waiting });
        Ok(self.take(step, self.commands.len() - 1, card, now))
    }

    /// Takes in what the provider says of the open intent, then takes up the commands that waited for it. What it says
    /// of an intent that is no longer open changes nothing.
    ///
    /// # Errors
    /// [`Unbookable`]; the payment is as it was, its intent open.
    pub fn outcome(
        &mut self,
        operation: Operation,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Unbookable> {
        if self.state.operation() != Some(operation) {
            return Ok(Vec::new());
        }
        let (state, answer) = self.judge(operation, outcome)?;
        let mut effects: Vec<Effect> = self.entry(operation, outcome, now).map(Effect::Post).into_iter().collect();
        self.state = state;
        let settled = self.commands.iter().position(|record| record.progress == Progress::InWork);
        effects.extend(settled.map(|index| self.answer(index, answer, now)));
        self.take_up(&mut effects, now);
        effects.extend(self.let_go(now));
        Ok(effects)
    }

    /// The command that waits although the payment does not go on: it is impossible, and an operator must look.
    pub fn stuck(&self) -> Option<&CommandId> {
        let waiting = self.commands.iter().find(|record| record.progress == Progress::Waiting);
        waiting.filter(|_| !self.state.goes_on()).map(|record| &record.id)
    }

    /// Whether it is `customer` who pays.
    pub(crate) fn is_of(&self, customer: CustomerId) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.customer() == customer)
    }

    /// A known command: its answer again, or nothing while it has none.
    fn again(&self, known: &CommandRecord, kind: Kind) -> Result<Vec<Effect>, Fault> {
        if known.kind != kind {
            return Err(Fault::OtherKind { command: known.id.clone(), known: known.kind, kind });
        }
        Ok(match &known.progress {
            Progress::Waiting | Progress::InWork => Vec::new(),
            Progress::Answered { answer, at } => vec![Effect::Answer(self.event(&known.id, answer.clone(), *at))],
        })
    }

    /// The table of this module.
    fn step(&self, id: &CommandId, kind: Kind) -> Result<Step, Fault> {
        let impossible = || Fault::Impossible { command: id.clone(), kind, order: self.order, state: self.state };
        let voided = || PaymentRefusal::Voided;
        let answered = || self.first_answer(kind).map(Step::Answer).ok_or_else(impossible);
        Ok(match (self.state, kind) {
            (State::Authorizing | State::Voiding | State::Capturing, _) | (State::Refunding, Kind::Refund) => {
                Step::Wait
            }
            (State::None, Kind::Authorize) => Step::Open(Operation::Authorize),
            (State::None, Kind::Void) => Step::Bury,
            (State::Authorized | State::CaptureRefused, Kind::Void) => Step::Open(Operation::Void),
            (State::Authorized, Kind::Capture) => Step::Open(Operation::Capture),
            (State::Captured, Kind::Refund) => Step::Return,
            (State::Authorized | State::Refused, Kind::Authorize)
            | (
                State::Captured | State::CaptureRefused | State::Refunding | State::Refunded,
                Kind::Authorize | Kind::Capture,
            ) => answered()?,
            // Without an answer to an earlier one it went back because the order was cancelled.
            (State::Refunded, Kind::Refund) => {
                Step::Answer(self.first_answer(kind).unwrap_or_else(|| Answer::Refunded(self.rest_returned())))
            }
            (State::Voided | State::Tombstone, Kind::Authorize) => Step::Answer(Answer::Refused(voided())),
            (State::Refused | State::Voided | State::Tombstone, Kind::Void) => Step::Answer(Answer::Voided),
            (State::Voided, Kind::Capture) => {
                Step::Answer(self.first_answer(kind).unwrap_or(Answer::CaptureRefused(voided())))
            }
            (State::Captured | State::Refunding | State::Refunded, Kind::Void)
            | (State::None | State::Refused | State::Tombstone, Kind::Capture)
            | (
                State::None
                | State::Authorized
                | State::Refused
                | State::Voided
                | State::Tombstone
                | State::CaptureRefused,
                Kind::Refund,
            ) => return Err(impossible()),
        })
    }

    /// What was answered to the first command of that kind: each is done once per order, whatever it is called.
    fn first_answer(&self, kind: Kind) -> Option<Answer> {
        self.commands.iter().filter(|record| record.kind == kind).find_map(|record| match &record.progress {
            Progress::Answered { answer, .. } => Some(answer.clone()),
            Progress::Waiting | Progress::InWork => None,
        })
    }

    /// The first authorization sets the terms, a further one must name the same. A tombstone refuses them unread.
    fn agree(&mut self, id: &CommandId, customer: CustomerId, amount: Money, lines: &[OrderLine]) -> Result<(), Fault> {
        match (self.state, &self.terms) {
            (State::Tombstone, _) => Ok(()),
            (_, Some(agreed)) if agreed.are(customer, amount, lines) => Ok(()),
            (_, Some(_)) => Err(Fault::OtherTerms { command: id.clone(), order: self.order }),
            (_, None) if amount.amount < 0 => Err(Fault::Negative { command: id.clone(), amount }),
            (_, None) => {
                let terms = Terms::new(customer, amount, lines.to_vec());
                self.terms = Some(terms.ok_or_else(|| Fault::OtherSum { command: id.clone(), amount })?);
                Ok(())
            }
        }
    }

    fn take(&mut self, step: Step, index: usize, card: Option<&PaymentToken>, now: Timestamp) -> Vec<Effect> {
        match step {
            Step::Wait => Vec::new(),
            Step::Open(operation) => {
                self.commands[index].progress = Progress::InWork;
                vec![self.open(operation, card)]
            }
            Step::Bury => {
                self.state = State::Tombstone;
                vec![self.answer(index, Answer::Voided, now)]
            }
            Step::Refuse => {
                self.state = State::Refused;
                vec![self.answer(index, Answer::Refused(PaymentRefusal::UnknownCustomer), now)]
            }
            Step::Return => {
                self.commands[index].progress = Progress::InWork;
                self.state = State::Refunding;
                self.return_rest(now)
            }
            Step::Answer(answer) => vec![self.answer(index, answer, now)],
        }
    }

    /// Has the provider asked, and waits for its word.
    pub(crate) fn open(&mut self, operation: Operation, card: Option<&PaymentToken>) -> Effect {
        self.state = State::during(operation);
        Effect::OpenIntent(self.act(operation, card))
    }

    /// What the provider is asked for.
    fn act(&self, operation: Operation, card: Option<&PaymentToken>) -> Act {
        let amount = self.asked();
        let authorization = ProviderKey::of(self.order, Operation::Authorize);
        match operation {
            Operation::Authorize => {
                let token = card.expect("an authorization never waits, so its card has just come with it").clone();
                Act::Authorize { amount, token }
            }
            Operation::Void => Act::Void { authorization },
            Operation::Capture => Act::Capture { authorization, amount },
        }
    }

    fn asked(&self) -> Money {
        self.agreed().amount()
    }

    pub(crate) fn agreed(&self) -> &Terms {
        self.terms.as_ref().expect("an intent follows an authorization, which sets the terms")
    }

    /// Takes up what waits, in order, until one opens an intent or is impossible.
    pub(crate) fn take_up(&mut self, effects: &mut Vec<Effect>, now: Timestamp) {
        while let Some(index) = self.commands.iter().position(|record| record.progress == Progress::Waiting) {
            let waiting = &self.commands[index];
            match self.step(&waiting.id, waiting.kind) {
                Ok(Step::Wait) | Err(_) => break,
                Ok(step) => effects.extend(self.take(step, index, None, now)),
            }
        }
    }

    /// What the provider's word makes of the payment.
    fn judge(&self, operation: Operation, outcome: &Outcome) -> Result<(State, Answer), Unbookable> {
        let asked = self.asked();
        let declined = |code: &str| PaymentRefusal::Declined { decline_code: code.to_owned() };
        outcome.held_against(asked)?;
        match (operation, outcome) {
            (_, Outcome::OfAnother(key)) => Err(Unbookable::OfAnother { key: key.clone() }),
            (Operation::Void, Outcome::Executed(_)) => Ok((State::Voided, Answer::Voided)),
            (Operation::Void, Outcome::Refused { .. }) => Err(Unbookable::VoidRefused),
            (Operation::Authorize | Operation::Capture, Outcome::Executed(Done { amount: None, .. })) => {
                Err(Unbookable::NoAmount { asked })
            }
            (Operation::Authorize, Outcome::Executed(_)) => Ok((State::Authorized, Answer::Authorized(asked))),
            (Operation::Capture, Outcome::Executed(_)) => Ok((State::Captured, Answer::Captured(asked))),
            (Operation::Authorize, Outcome::Refused { decline_code }) => {
                Ok((State::Refused, Answer::Refused(declined(decline_code))))
            }
            (Operation::Capture, Outcome::Refused { decline_code }) => {
                Ok((State::CaptureRefused, Answer::CaptureRefused(declined(decline_code))))
            }
        }
    }

    /// What the ledger says of an outcome that was judged to be right.
    fn entry(&self, operation: Operation, outcome: &Outcome, at: Timestamp) -> Option<LedgerEntry> {
        let (order, Outcome::Executed(done)) = (self.order, outcome) else { return None };
        // A void follows an authorization that is booked. Whatever the provider had left of it, such as nothing because it
        // has lapsed, none of it is set aside any more, so the books release all of it.
        let amount = done.amount.unwrap_or(self.asked());
        Some(match operation {
            Operation::Authorize => LedgerEntry::authorization(order, amount, at),
            Operation::Void => LedgerEntry::release(order, amount, at),
            Operation::Capture => LedgerEntry::capture(order, amount, self.agreed().taxes(), done.fee, at),
        })
    }

    /// Every answer that was given, in the order they were given.
    pub(crate) fn answers(&self) -> Vec<BillingEvent> {
        let given = self.commands.iter().filter_map(|record| match &record.progress {
            Progress::Answered { answer, at } => Some((*at, self.event(&record.id, answer.clone(), *at))),
            Progress::Waiting | Progress::InWork => None,
        });
        let mut given: Vec<_> = given.collect();
        given.sort_by_key(|(at, _)| *at);
        given.into_iter().map(|(_, event)| event).collect()
    }

    pub(crate) fn answer(&mut self, index: usize, answer: Answer, now: Timestamp) -> Effect {
        self.commands[index].progress = Progress::Answered { answer: answer.clone(), at: now };
        Effect::Answer(self.event(&self.commands[index].id, answer, now))
    }

    fn event(&self, command: &CommandId, answer: Answer, at: Timestamp) -> BillingEvent {
        let (command, order) = (command.clone(), self.order);
        match answer {
            Answer::Authorized(amount) => BillingEvent::PaymentAuthorized { command, order, amount, at },
            Answer::Refused(reason) => BillingEvent::PaymentRefused { command, order, reason, at },
            Answer::Voided => BillingEvent::PaymentVoided { command, order, at },
            Answer::Captured(amount) => BillingEvent::PaymentCaptured { command, order, amount, at },
            Answer::CaptureRefused(reason) => BillingEvent::CaptureRefused { command, order, reason, at },
            Answer::Refunded(amount) => BillingEvent::PaymentRefunded { command, order, amount, at },
        }
    }
}

/// What a payment does with a command.
enum Step {
    /// Keep it until the open intent is settled.
    Wait,
    /// Ask the provider.
    Open(Operation),
    /// Remember that there is nothing to void, and never will be.
    Bury,
    /// Ask nobody, for no invoice could be made out.
    Refuse,
    /// Return what is left of what was taken.
    Return,
    /// Say so at once.
    Answer(Answer),
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
