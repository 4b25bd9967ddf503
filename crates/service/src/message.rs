//! A message of the contracts as a row of the outbox, and the trace that it belongs to.

use contracts::Message;
use messaging::{Outgoing, Record};
use web::trace::Traceparent;

/// `message`, under a new message id, ready for an outbox. It is a part of the trace in which this is called, and begins
/// one if there is none.
pub fn outgoing<M: Message>(message: &M) -> Outgoing {
    let outgoing = Outgoing::new(M::TOPIC.name(), message.key(), message.kind(), message);
    Outgoing { traceparent: Some(Traceparent::here().to_string()), ..outgoing }
}

/// What `record` causes is a part of its trace, and of the work at hand if that is; of a new one if it names none.
pub fn cause(record: &Record) -> Traceparent {
    let came = record.traceparent.as_deref().and_then(Traceparent::parse);
    came.map_or_else(Traceparent::mint, |came| came.within(Traceparent::current()))
}

#[cfg(test)]
mod tests {
    use contracts::{CommandId, OrderId, inventory::InventoryCommand};

    use super::*;

    #[test]
    fn carries_what_the_message_says_of_itself() {
        let order = OrderId::mint();
        let command = CommandId::try_from("checkout/1".to_owned()).unwrap();
        let message = InventoryCommand::ReleaseStock { command, order };
        let (first, second) = (outgoing(&message), outgoing(&message));
        assert_eq!(first.topic, "inventory.commands");
        assert_eq!(first.key, order.to_string());
        assert_eq!(first.kind, "inventory.release-stock.v1");
        assert!(first.payload.contains(r#""type":"inventory.release-stock.v1""#), "{}", first.payload);
        assert_ne!(first.id, second.id, "each row has its own message id");
    }

    #[test]
    fn a_message_is_of_the_trace_of_the_record_that_caused_it() {
        let command = CommandId::try_from("checkout/1".to_owned()).unwrap();
        let message = InventoryCommand::ReleaseStock { command, order: OrderId::mint() };
        let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = |traceparent: &str| {
            let record = Record { traceparent: Some(traceparent.to_owned()), ..Record::default() };
            cause(&record).sync_scope(|| outgoing(&message)).traceparent.unwrap()
        };
        assert_eq!(of(came), came);
        let others: Vec<String> = ["garbage\u{1b}", "garbage\u{1b}"].map(of).into();
        assert!(others[0] != others[1] && others.iter().all(|other| Traceparent::parse(other).is_some()), "{others:?}");
    }
}
