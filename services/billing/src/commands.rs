//! What arrives on `billing.commands`.

use std::collections::{BTreeMap, BTreeSet};

use contracts::billing::BillingCommand;
use contracts::{CustomerId, OrderId};
use jiff::Timestamp;
use messaging::{HandleError, Record};
use service::message::cause;

use crate::changes::Changes;
use crate::payment::Payment;
use crate::state::State;

/// Takes in `commands`, in their order, for payments that are locked. `customers` have a name and an address.
pub(crate) fn receive(
    commands: &[(&Record, &BillingCommand)],
    locked: &mut BTreeMap<OrderId, Payment>,
    customers: &BTreeSet<CustomerId>,
    changes: &mut Changes<'_>,
    now: Timestamp,
) -> Result<(), HandleError> {
    for (record, command) in commands {
        let Some(payment) = locked.get_mut(&order(command)) else { continue };
        let known = payment.commands.len();
        let effects = payment.receive(command, customers, now);
        let effects = effects.map_err(|fault| HandleError::this_message(record.id, fault))?;
        if payment.commands.len() > known {
            changes.changed(payment);
        }
        cause(record).sync_scope(|| changes.add(payment, effects));
    }
    Ok(())
}

/// Who would have to pay, of those whose payments are new.
pub(crate) fn customers(
    commands: &[(&Record, &BillingCommand)],
    locked: &BTreeMap<OrderId, Payment>,
) -> BTreeSet<CustomerId> {
    let is_new = |order: &OrderId| locked.get(order).is_some_and(|payment| payment.state == State::None);
    let asked = commands.iter().filter_map(|(_, command)| match command {
        BillingCommand::AuthorizePayment { order, customer, .. } if is_new(order) => Some(*customer),
        BillingCommand::AuthorizePayment { .. }
        | BillingCommand::VoidPayment { .. }
        | BillingCommand::CapturePayment { .. }
        | BillingCommand::RefundPayment { .. } => None,
    });
    asked.collect()
}

/// Which order it is about.
pub(crate) fn order(command: &BillingCommand) -> OrderId {
    match command {
        BillingCommand::AuthorizePayment { order, .. }
        | BillingCommand::VoidPayment { order, .. }
        | BillingCommand::CapturePayment { order, .. }
        | BillingCommand::RefundPayment { order, .. } => *order,
    }
}
