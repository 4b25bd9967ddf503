//! What goes back of a captured payment. Pure.
//!
//! A part goes back because an operator wants it ([`Refund::request`]), all that is left because the order is cancelled
//! (`RefundPayment`). The latter waits for the parts that are under way, returns the rest as one refund more, and is never
//! refused: if the provider says no, the next attempt, under a key of its own, waits for an operator.
//!
//! `OrderCancelled` comes after all that. It closes the payment, and whatever is held then, or turns out to be held
//! later, is let go: a cancelled order holds nothing, whoever has erred.

use contracts::Money;
use contracts::vat::{self, Taxed};
use jiff::Timestamp;

use crate::payment::{Effect, Payment};
use crate::provider::{Operation, Outcome, Unbookable};
use crate::record::{Answer, Progress};
use crate::refund::{Refund, RefundState};
use crate::state::State;

/// What the end of an order means for its payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Whether something was held, or may have been: somebody has erred.
    pub held: bool,
    /// What lets go of it.
    pub effects: Vec<Effect>,
}

impl Payment {
    /// What is left of what was captured, by rate of VAT; nothing, once all of it is going back.
    pub(crate) fn left(&self) -> Vec<Taxed> {
        let returned = self.refunds.iter().filter(|refund| refund.counts()).flat_map(|refund| &refund.taxes);
        let returned: Vec<Taxed> = returned.copied().collect();
        vat::without(self.agreed().taxes(), &returned).expect("what is returned is a part of what was captured")
    }

    /// Takes in what the provider says of the refund `number`. What it says of one that is settled changes nothing.
    ///
    /// # Errors
    /// [`Unbookable`]; the payment is as it was.
    pub fn refund_outcome(
        &mut self,
        number: u32,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Vec<Effect>, Unbookable> {
        let Some(refund) = self.refunds.iter_mut().find(|refund| refund.number == number) else {
            return Ok(Vec::new());
        };
        let Some(settled) = refund.outcome(outcome, now)? else { return Ok(Vec::new()) };
        let mut effects = vec![Effect::Keep(refund.clone())];
        effects.extend(settled.entry.map(Effect::Post));
        if refund.is_part() && refund.state == RefundState::Refunded {
            effects.push(Effect::Credit(refund.clone()));
        }
        if self.state == State::Refunding {
            effects.extend(self.return_rest(now));
        }
        self.take_up(&mut effects, now);
        Ok(effects)
    }

    /// Once nothing is under way, returns what is left; if that is nothing, says so.
    pub(crate) fn return_rest(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.refunds.iter().any(|refund| refund.state == RefundState::Open) {
            return Vec::new();
        }
        let Some(refund) = self.rest() else {
            self.state = State::Refunded;
            let settled = self.commands.iter().position(|record| record.progress == Progress::InWork);
            let answer = Answer::Refunded(self.rest_returned());
            return settled.map(|index| self.answer(index, answer, now)).into_iter().collect();
        };
        let refused = self.refunds.last().filter(|last| !last.is_part()).and_then(Refund::decline_code);
        let act = refund.act();
        let ask = match refused {
            None => Effect::OpenIntent(act),
            Some(code) => Effect::Park(act, format!("the provider refuses to return the money: {code}")),
        };
        self.refunds.push(refund.clone());
        vec![Effect::Keep(refund), ask]
    }

    /// All that is left, as one refund; none if nothing is left.
    fn rest(&self) -> Option<Refund> {
        let taxes: Vec<Taxed> = self.left().into_iter().filter(|tax| tax.gross.amount != 0).collect();
        let amount = taxes.iter().map(|tax| tax.gross.amount).sum();
        let amount = Money::new(amount, self.agreed().amount().currency);
        let (order, number) = (self.order, self.next_refund());
        (amount.amount > 0).then_some(Refund { order, number, key: None, amount, taxes, state: RefundState::Open })
    }

    /// The number of the next refund.
    pub(crate) fn next_refund(&self) -> u32 {
        u32::try_from(self.refunds.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How much went back as the rest.
    pub(crate) fn rest_returned(&self) -> Money {
        let rest = self.refunds.iter().filter(|refund| !refund.is_part() && refund.state == RefundState::Refunded);
        Money::new(rest.map(|refund| refund.amount.amount).sum(), self.agreed().amount().currency)
    }

    /// The order is cancelled. None if that is known already.
    pub fn close(&mut self, now: Timestamp) -> Option<Closed> {
        if self.closed {
            return None;
        }
        self.closed = true;
        let held = self.state.holds();
        if self.state == State::None {
            self.state = State::Tombstone;
        }
        Some(Closed { held, effects: self.let_go(now) })
    }

    /// Lets go of what is held for an order that is cancelled.
    pub(crate) fn let_go(&mut self, now: Timestamp) -> Vec<Effect> {
        match self.state {
            State::Authorized | State::CaptureRefused if self.closed => vec![self.open(Operation::Void, None)],
            State::Captured if self.closed => {
                self.state = State::Refunding;
                self.return_rest(now)
            }
            State::None
            | State::Authorizing
            | State::Authorized
            | State::Refused
            | State::Voiding
            | State::Voided
            | State::Tombstone
            | State::Capturing
            | State::Captured
            | State::CaptureRefused
            | State::Refunding
            | State::Refunded => Vec::new(),
        }
    }
}
