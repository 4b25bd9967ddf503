//! What was decided under each key, and what became of each authorization. Pure; rebuilt from the log at the start.

use std::collections::{HashMap, HashSet};

use contracts::Money;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::token::{Behaviour, behaviour};

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Set an amount aside.
    Authorize,
    /// Give it up.
    Void,
    /// Take it.
    Capture,
    /// Return some of it.
    Refund,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// A call came.
    Request {
        /// When.
        at: Timestamp,
        /// What it asks for; none is a lookup.
        operation: Option<Operation>,
        /// Under which key.
        key: String,
        /// Whether it was let fall.
        lost: bool,
    },
    /// It was done. Once per key.
    Executed {
        /// When.
        at: Timestamp,
        /// Under which key.
        key: String,
        /// What.
        #[serde(flatten)]
        act: Act,
        /// Over how much. A void that had nothing to release has none.
        done: Option<Money>,
        /// What the provider keeps of what it took.
        fee: Option<Money>,
    },
    /// It was refused. Once per key.
    Refused {
        /// When.
        at: Timestamp,
        /// Under which key.
        key: String,
        /// What was asked for.
        #[serde(flatten)]
        act: Act,
        /// Why.
        decline_code: String,
    },
    /// A webhook was sent: that the key is decided.
    Webhook {
        /// When.
        at: Timestamp,
        /// Its id; the same if it is sent again.
        id: String,
        /// Which key.
        key: String,
        /// What it was answered; none if nothing came.
        status: Option<u16>,
    },
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Act {
    /// Set an amount aside.
    Authorize {
        /// The client's own name for it: the order.
        reference: String,
        /// How much.
        amount: Money,
        /// From which card.
        token: String,
    },
    /// Give up what is, or would be, set aside.
    Void {
        /// The client's own name for it: the order.
        reference: String,
        /// The key it was, or would be, set aside under.
        authorization: String,
    },
    /// Take what is set aside.
    Capture {
        /// The client's own name for it: the order.
        reference: String,
        /// The key it was set aside under.
        authorization: String,
        /// How much: all of it.
        amount: Money,
    },
    /// Return some of what was taken.
    Refund {
        /// The client's own name for it: the order.
        reference: String,
        /// The key it was set aside under.
        authorization: String,
        /// How much.
        amount: Money,
    },
}

/// The definite word on a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Word {
    /// Done, over this amount.
    Executed {
        /// How much. A void that had nothing to release says none.
        amount: Option<Money>,
        /// What a capture costs.
        fee: Option<Money>,
    },
    /// Not done, and never will be under this key.
    Refused {
        /// Why.
        decline_code: String,
    },
}

/// Everything decided so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    results: HashMap<String, (Act, Word)>,
    authorizations: HashMap<String, Authorization>,
    /// Keys whose first call was let fall.
    lost: HashSet<String>,
    /// Keys of which something false was said. Forgotten at the end, as nothing depends on it.
    misstated: HashSet<String>,
}

/// What became of an authorization that was asked for or voided.
#[derive(Debug, Clone)]
enum Authorization {
    /// Refused, or voided before it came.
    Never,
    Held {
        amount: Money,
        token: String,
    },
    Released {
        token: String,
    },
    Taken {
        token: String,
        taken: Money,
        returned: i64,
    },
}

/// What the book says to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It was decided before.
    Known(Word),
    /// It was decided before under the same key, for another body.
    OtherBody,
    /// It is new.
    New,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Authorize, Self::Void, Self::Capture, Self::Refund];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Void => "void",
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

impl Act {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Authorize { .. } => Operation::Authorize,
            Self::Void { .. } => Operation::Void,
            Self::Capture { .. } => Operation::Capture,
            Self::Refund { .. } => Operation::Refund,
        }
    }

    /// The key of the authorization it is about: its own, if it is one.
    fn authorization<'a>(&'a self, key: &'a str) -> &'a str {
        match self {
            Self::Authorize { .. } => key,
            Self::Void { authorization, .. }
            | Self::Capture { authorization, .. }
            | Self::Refund { authorization, .. } => authorization,
        }
    }
}

impl Authorization {
    fn token(&self) -> Option<&str> {
        match self {
            Self::Never => None,
            Self::Held { token, .. } | Self::Released { token } | Self::Taken { token, .. } => Some(token),
        }
    }
}

impl Book {
    /// What a log says.
    pub(crate) fn from_lines(lines: Vec<Line>) -> Self {
        let mut book = Self::default();
        for line in lines {
            book.enter(line);
        }
        book
    }

    /// Whether `act` was decided under `key`.
    pub(crate) fn look(&self, key: &str, act: &Act) -> Entry {
        match self.results.get(key) {
            None => Entry::New,
            Some((known, word)) if known == act => Entry::Known(word.clone()),
            Some(_) => Entry::OtherBody,
        }
    }

    /// What is known of `key`: what was asked for, and the word on it.
    pub(crate) fn find(&self, key: &str) -> Option<&(Act, Word)> {
        self.results.get(key)
    }

    /// How `act` behaves under `key`. The card of an authorization says it for all that follows.
    pub(crate) fn behaviour(&self, key: &str, act: &Act) -> Option<Behaviour> {
        if let Act::Authorize { token, .. } = act {
            return behaviour(token, Operation::Authorize);
        }
        let token = self.authorizations.get(act.authorization(key)).and_then(Authorization::token);
        token.map_or(Some(Behaviour::Ok), |token| behaviour(token, act.operation()))
    }

    /// Whether the first call of `key` was let fall.
    pub(crate) fn was_lost(&self, key: &str) -> bool {
        self.lost.contains(key)
    }

    /// Whether something false may be said of `key`: once.
    pub(crate) fn misstate(&mut self, key: &str) -> bool {
        self.misstated.insert(key.to_owned())
    }

    /// Notes that a call was let fall: `line` says so, and comes back.
    pub(crate) fn lose(&mut self, line: Line) -> Line {
        self.enter(line.clone());
        line
    }

    /// Decides `act`, which is new under `key`, and gives the line that says so.
    pub(crate) fn decide(&mut self, key: &str, act: &Act, at: Timestamp) -> Line {
        let (key, act) = (key.to_owned(), act.clone());
        let line = match self.judge(&key, &act) {
            Ok(done) => Line::Executed { at, key, fee: done.and_then(|done| fee(&act, done)), act, done },
            Err(code) => Line::Refused { at, key, act, decline_code: code.to_owned() },
        };
        self.enter(line.clone());
        line
    }

    fn judge(&self, key: &str, act: &Act) -> Result<Option<Money>, &'static str> {
        match self.behaviour(key, act) {
            None => return Err("unknown_token"),
            Some(Behaviour::Declined) => return Err("card_declined"),
            Some(_) => {}
        }
        let authorization = self.authorizations.get(act.authorization(key));
        match (act, authorization) {
            (Act::Authorize { amount, .. }, None) => Ok(Some(*amount)),
            (Act::Authorize { .. }, Some(_)) => Err("voided"),
            (Act::Void { .. }, Some(Authorization::Taken { .. })) => Err("already_captured"),
            (Act::Void { .. }, Some(Authorization::Held { amount, .. })) => Ok(Some(*amount)),
            (Act::Void { .. }, Some(Authorization::Never | Authorization::Released { .. }) | None) => Ok(None),
            (Act::Capture { amount, .. }, Some(Authorization::Held { amount: held, .. })) if amount == held => {
                Ok(Some(*amount))
            }
            (Act::Capture { .. }, Some(Authorization::Held { .. })) => Err("not_the_authorized_amount"),
            (Act::Capture { .. }, Some(Authorization::Taken { .. })) => Err("already_captured"),
            (Act::Capture { .. }, Some(Authorization::Released { .. })) => Err("authorization_voided"),
            (Act::Refund { amount, .. }, Some(Authorization::Taken { taken, returned, .. })) => {
                let left = taken.amount - returned;
                let fits = amount.currency == taken.currency && (1..=left).contains(&amount.amount);
                if fits { Ok(Some(*amount)) } else { Err("more_than_is_left") }
            }
            (Act::Capture { .. }, Some(Authorization::Never) | None) => Err("not_authorized"),
            (
                Act::Refund { .. },
                Some(Authorization::Never | Authorization::Held { .. } | Authorization::Released { .. }) | None,
            ) => Err("not_captured"),
        }
    }

    fn enter(&mut self, line: Line) {
        match line {
            Line::Webhook { .. } => {}
            Line::Request { key, lost, .. } => {
                if lost {
                    self.lost.insert(key);
                }
            }
            Line::Executed { key, act, done, fee, .. } => {
                self.carry_out(&key, &act, done);
                self.results.insert(key, (act, Word::Executed { amount: done, fee }));
            }
            Line::Refused { key, act, decline_code, .. } => {
                if let Act::Authorize { .. } = act {
                    self.authorizations.entry(key.clone()).or_insert(Authorization::Never);
                }
                self.results.insert(key, (act, Word::Refused { decline_code }));
            }
        }
    }

    fn carry_out(&mut self, key: &str, act: &Act, done: Option<Money>) {
        let of = act.authorization(key).to_owned();
        let before = self.authorizations.get(&of).cloned();
        let after = match (act, before, done) {
            (Act::Authorize { token, .. }, _, Some(amount)) => Authorization::Held { amount, token: token.clone() },
            (Act::Void { .. }, Some(Authorization::Held { token, .. }), _) => Authorization::Released { token },
            (Act::Void { .. }, None, _) => Authorization::Never,
            (Act::Capture { .. }, Some(Authorization::Held { token, .. }), Some(taken)) => {
                Authorization::Taken { token, taken, returned: 0 }
            }
            (Act::Refund { .. }, Some(Authorization::Taken { token, taken, returned }), Some(done)) => {
                Authorization::Taken { token, taken, returned: returned + done.amount }
            }
            (_, Some(unchanged), _) => unchanged,
            (Act::Authorize { .. } | Act::Capture { .. } | Act::Refund { .. }, None, _) => return,
        };
        self.authorizations.insert(of, after);
    }
}

/// What the provider keeps of a capture: 1.4 percent, rounded down to whole minor units.
fn fee(act: &Act, done: Money) -> Option<Money> {
    let captures = matches!(act, Act::Capture { .. });
    let part = i128::from(done.amount) * 14 / 1000;
    captures.then(|| Money::new(i64::try_from(part).expect("it is less than the amount"), done.currency))
}
