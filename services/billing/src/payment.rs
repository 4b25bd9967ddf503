//! The payment of one order: what each command and each word of the provider makes of it. Pure.
//!
//! What needs the provider opens an *intent*: the payment is then [`State::Authorizing`], [`State::Voiding`] or
//! [`State::Capturing`], and every further command waits in the payment until the provider's word is definite. So a void
//! never drops an authorization that may be on its way, and "voided" is said only when the provider has released or
//! refused it.
//!
//! | state | authorize | void | capture |
//! |---|---|---|---|
//! | none | opens an intent | tombstone: voided | - |
//! | authorizing, voiding, capturing | waits | waits | waits |
//! | authorized | authorized | opens an intent | opens an intent |
//! | refused | refused | voided | - |
//! | voided | refused | voided | refused |
//! | tombstone | refused | voided | - |
//! | captured | authorized | - | captured |
//! | capture refused | authorized | opens an intent | refused |
//!
//! `-` is impossible: the orchestrator never sends it. The table is for commands never seen before; a known one gets the
//! answer it got, or nothing while it is in work. A waiting command that turns out to be impossible stays where it is,
//! unanswered, and what comes later waits behind it: see [`Payment::stuck`].

use contracts::billing::{BillingCommand, BillingEvent, PaymentRefusal, PaymentToken};
use contracts::vat::{self, Taxed};
use contracts::{CommandId, CustomerId, Money, OrderId};
use jiff::Timestamp;

use crate::ledger::LedgerEntry;
use crate::provider::{Act, Done, Operation, Outcome, ProviderKey, Unbookable};
use crate::record::{Answer, CommandRecord, Kind, Progress, named};
use crate::state::State;

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
}

/// Who pays how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who.
    pub customer: CustomerId,
    /// How much. Not negative.
    pub amount: Money,
    /// The amount by rate of VAT.
    pub taxes: Vec<Taxed>,
}

/// What a transition asks for, beyond the changed payment.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Say so.
    Answer(BillingEvent),
    /// Have the provider do so.
    OpenIntent(Act),
    /// Book so.
    Post(LedgerEntry),
}

/// The command cannot be meant for this payment: the message's own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The table has no line for it.
    #[error("command {command} ({kind:?}) is impossible: payment {order} is {state:?}")]
    Impossible {
        /// Which command.
        command: CommandId,
        /// What it wants.
        kind: Kind,
        /// For which order.
        order: OrderId,
        /// What its payment is.
        state: State,
    },
    /// A command of that id wanted something else.
    #[error("command {command} was known as {known:?} and is now {kind:?}")]
    OtherKind {
        /// Which command.
        command: CommandId,
        /// What it wanted first.
        known: Kind,
        /// What it wants now.
        kind: Kind,
    },
    /// A second authorization of another customer or amount.
    #[error("command {command} names another customer or amount than payment {order} has")]
    OtherTerms {
        /// Which command.
        command: CommandId,
        /// For which order.
        order: OrderId,
    },
    /// Nobody can pay less than nothing.
    #[error("command {command} asks for {amount}")]
    Negative {
        /// Which command.
        command: CommandId,
        /// How much.
        amount: Money,
    },
    /// The books would not say what the customer pays.
    #[error("command {command} splits {amount} by rates of VAT into what is something else")]
    OtherSum {
        /// Which command.
        command: CommandId,
        /// How much.
        amount: Money,
    },
}

impl Payment {
    /// The payment of an order never heard of.
    pub fn none(order: OrderId) -> Self {
        Self { order, state: State::None, terms: None, commands: Vec::new() }
    }

    /// Takes in `command`, which is for this payment.
    ///
    /// # Errors
    /// A [`Fault`] of the command; the payment is as it was.
    pub fn receive(&mut self, command: &BillingCommand, now: Timestamp) -> Result<Vec<Effect>, Fault> {
        let (id, kind) = named(command);
        if let Some(known) = self.commands.iter().find(|known| known.id == *id) {
            return self.again(known, kind);
        }
        let step = if self.stuck().is_some() { Step::Wait } else { self.step(id, kind)? };
        let mut card = None;
        if let BillingCommand::AuthorizePayment { customer, amount, taxes, token, .. } = command {
            self.agree(id, Terms { customer: *customer, amount: *amount, taxes: taxes.clone() })?;
            card = Some(token);
        }
        self.commands.push(CommandRecord { id: id.clone(), kind, progress: Progress::Waiting });
        Ok(self.take(step, self.commands.len() - 1, card, now).into_iter().collect())
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
        Ok(effects)
    }

    /// The command that waits although no intent is open: it is impossible, and an operator must look.
    pub fn stuck(&self) -> Option<&CommandId> {
        let waiting = self.commands.iter().find(|record| record.progress == Progress::Waiting);
        waiting.filter(|_| self.state.operation().is_none()).map(|record| &record.id)
    }

    /// Whether it is `customer` who pays.
    pub(crate) fn is_of(&self, customer: CustomerId) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.customer == customer)
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
        Ok(match (self.state, kind) {
            (_, Kind::Refund) => return Err(impossible()),
            (State::Authorizing | State::Voiding | State::Capturing, _) => Step::Wait,
            (State::None, Kind::Authorize) => Step::Open(Operation::Authorize),
            (State::None, Kind::Void) => Step::Bury,
            (State::Authorized | State::CaptureRefused, Kind::Void) => Step::Open(Operation::Void),
            (State::Authorized, Kind::Capture) => Step::Open(Operation::Capture),
            (State::Authorized | State::Refused | State::Captured | State::CaptureRefused, Kind::Authorize)
            | (State::Captured | State::CaptureRefused, Kind::Capture) => {
                Step::Answer(self.first_answer(kind).ok_or_else(impossible)?)
            }
            (State::Voided | State::Tombstone, Kind::Authorize) => Step::Answer(Answer::Refused(voided())),
            (State::Refused | State::Voided | State::Tombstone, Kind::Void) => Step::Answer(Answer::Voided),
            (State::Voided, Kind::Capture) => {
                Step::Answer(self.first_answer(kind).unwrap_or(Answer::CaptureRefused(voided())))
            }
            (State::Captured, Kind::Void) | (State::None | State::Refused | State::Tombstone, Kind::Capture) => {
                return Err(impossible());
            }
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
    fn agree(&mut self, id: &CommandId, terms: Terms) -> Result<(), Fault> {
        match (self.state, &self.terms) {
            (State::Tombstone, _) => Ok(()),
            (_, Some(agreed)) if *agreed == terms => Ok(()),
            (_, Some(_)) => Err(Fault::OtherTerms { command: id.clone(), order: self.order }),
            (_, None) if terms.amount.amount < 0 => Err(Fault::Negative { command: id.clone(), amount: terms.amount }),
            (_, None) if !vat::adds_up(&terms.taxes, terms.amount) => {
                Err(Fault::OtherSum { command: id.clone(), amount: terms.amount })
            }
            (_, None) => {
                self.terms = Some(terms);
                Ok(())
            }
        }
    }

    fn take(&mut self, step: Step, index: usize, card: Option<&PaymentToken>, now: Timestamp) -> Option<Effect> {
        match step {
            Step::Wait => None,
            Step::Open(operation) => {
                self.state = State::during(operation);
                self.commands[index].progress = Progress::InWork;
                Some(Effect::OpenIntent(self.act(operation, card)))
            }
            Step::Bury => {
                self.state = State::Tombstone;
                Some(self.answer(index, Answer::Voided, now))
            }
            Step::Answer(answer) => Some(self.answer(index, answer, now)),
        }
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
        self.agreed().amount
    }

    fn agreed(&self) -> &Terms {
        self.terms.as_ref().expect("an intent follows an authorization, which sets the terms")
    }

    /// Takes up what waits, in order, until one opens an intent or is impossible.
    fn take_up(&mut self, effects: &mut Vec<Effect>, now: Timestamp) {
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
        let amount = done.amount?;
        Some(match operation {
            Operation::Authorize => LedgerEntry::authorization(order, amount, at),
            Operation::Void => LedgerEntry::release(order, amount, at),
            Operation::Capture => LedgerEntry::capture(order, amount, &self.agreed().taxes, done.fee, at),
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

    fn answer(&mut self, index: usize, answer: Answer, now: Timestamp) -> Effect {
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
    /// Say so at once.
    Answer(Answer),
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
