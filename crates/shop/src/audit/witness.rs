//! X4: the payment provider's own log says the same as our books. It was written by another program, which cannot be
//! wrong in the same way.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use contracts::Money;
use serde::Deserialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Books, Finding, ledger::Ledger};

/// How long the provider may take to tell its log.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the provider decided, in the order of its log.
#[derive(Debug, Clone, Default)]
pub(super) struct Witness(pub(super) Vec<Deed>);

/// Something the provider did or refused.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Deed {
    /// The key it was asked under.
    pub(super) key: String,
    /// The order.
    #[serde(rename = "reference")]
    pub(super) order: Uuid,
    pub(super) operation: String,
    /// Over how much.
    #[serde(default)]
    pub(super) done: Option<Money>,
    #[serde(default)]
    pub(super) fee: Option<Money>,
    /// Why it was refused, if it was.
    #[serde(default)]
    pub(super) decline_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Request {},
    Webhook {},
    Executed(Deed),
    Refused(Deed),
}

/// What billing has written down of the provider's word.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Outcome {
    pub(super) order_id: Uuid,
    pub(super) operation: String,
    /// Which time: a refund has a number, all else is done once.
    pub(super) attempt: i32,
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<String>,
    pub(super) decline_code: Option<String>,
}

impl Witness {
    /// Asks the provider at `url` for its log.
    pub(super) async fn read(url: &str) -> anyhow::Result<Self> {
        let asked = reqwest::Client::new().get(format!("{url}/v1/log")).timeout(PATIENCE).send().await;
        let log =
            asked.and_then(reqwest::Response::error_for_status).context("the payment provider cannot be reached")?;
        let text = log.text().await.context("the payment provider's log cannot be read")?;
        let mut deeds = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = serde_json::from_str(line).with_context(|| format!("line {number} of the provider's log"))?;
            match line {
                Line::Request {} | Line::Webhook {} => {}
                Line::Executed(deed) | Line::Refused(deed) => deeds.push(deed),
            }
        }
        Ok(Self(deeds))
    }
}

/// What the provider did for one order. Unit: minor units.
#[derive(Default)]
struct Done {
    captures: usize,
    taken: i128,
    returned: i128,
    kept: i128,
    set_aside: i128,
    released: i128,
}

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let ledger = Ledger::of(books);
    let mut orders: BTreeMap<Uuid, Done> = BTreeMap::new();
    let mut words: BTreeMap<&str, Vec<&Deed>> = BTreeMap::new();
    for deed in &books.witness.0 {
        words.entry(&deed.key).or_default().push(deed);
        orders.entry(deed.order).or_default().add(deed);
    }
    // Those that only our books know are held against a provider that did nothing.
    for order in books.entries.iter().map(|entry| entry.order_id) {
        orders.entry(order).or_default();
    }
    let known = |order: &Uuid| books.orders.get(order).is_some_and(|order| order.status != "pending");
    let ended = orders.iter().filter(|(order, _)| known(order));
    vec![
        Finding::of("X4 the provider took the money of an order once at most", &orders, |(order, done)| {
            (done.captures > 1).then(|| format!("order {order}: {} captures", done.captures))
        }),
        Finding::of("X4 the provider returned no more than it took", &orders, |(order, done)| {
            (done.returned > done.taken).then(|| format!("order {order}: {} of {}", done.returned, done.taken))
        }),
        Finding::of("X4 what the provider took is what is booked and what was paid", ended.clone(), |(order, done)| {
            let payment = books.payments.get(order).filter(|payment| payment.was_captured());
            let paid = payment.and_then(|payment| payment.amount).map_or(0, i128::from);
            let left = done.taken - done.returned;
            let fits = done.taken == paid
                && done.returned == books.returned(order)
                && -ledger.balance(*order, "sales") - ledger.balance(*order, "vat_payable") == left
                && ledger.balance(*order, "provider_receivable") == left - done.kept
                && ledger.balance(*order, "provider_fees") == done.kept;
            (!fits).then(|| format!("order {order}: the provider took {left} and kept {} of it", done.kept))
        }),
        Finding::of("X4 what the provider set aside was taken or given up", ended, |(order, done)| {
            let open = done.set_aside - done.released - done.taken;
            (open != 0).then(|| format!("order {order}: {open} is still set aside"))
        }),
        Finding::of("X4 what is written down of the provider is what it said", &books.outcomes, |outcome| {
            let said = words.get(&*outcome.key()).map_or(&[][..], Vec::as_slice);
            let fits = matches!(said, [deed] if outcome.repeats(deed));
            (!fits).then(|| format!("order {}: {}", outcome.order_id, outcome.operation))
        }),
    ]
}

impl Done {
    fn add(&mut self, deed: &Deed) {
        let amount = |money: Option<Money>| money.map_or(0, |money| i128::from(money.amount));
        let done = amount(deed.done);
        match deed.operation.as_str() {
            "authorize" => self.set_aside += done,
            "void" => self.released += done,
            "capture" => {
                self.captures += usize::from(deed.done.is_some());
                self.taken += done;
                self.kept += amount(deed.fee);
            }
            "refund" => self.returned += done,
            _ => {}
        }
    }
}

impl Outcome {
    /// The key that billing makes of order, operation and attempt.
    fn key(&self) -> String {
        format!("{}:{}:{}", self.order_id, self.operation, self.attempt)
    }

    fn repeats(&self, deed: &Deed) -> bool {
        let said = deed.done.map(|done| (done.amount, done.currency.code()));
        self.amount.zip(self.currency.as_deref()) == said && self.decline_code == deed.decline_code
    }
}
