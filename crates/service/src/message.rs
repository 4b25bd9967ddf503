//! A message of the contracts as a row of the outbox.

use contracts::Message;
use messaging::Outgoing;

/// `message`, under a new message id, ready for an outbox.
pub fn outgoing<M: Message>(message: &M) -> Outgoing {
    Outgoing::new(M::TOPIC.name(), message.key(), message.kind(), message)
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
}
