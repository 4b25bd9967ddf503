//! The one table of topics.
//!
//! One topic, one writer. Between topics there is no order; what must follow an event rides on its topic.

use std::fmt;

/// A topic of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What happened to orders.
    OrderEvents,
    /// What inventory shall do.
    InventoryCommands,
    /// What billing shall do.
    BillingCommands,
    /// What inventory did or refused.
    InventoryEvents,
    /// What billing did or refused, and whom it has forgotten.
    BillingEvents,
    /// The full state of each product, with its version.
    InventoryCatalogue,
}

/// How long the broker keeps the messages of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// That many days.
    Days(u32),
    /// The last message of each key, for ever.
    Compacted,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// Which topic.
    pub topic: Topic,
    /// Its name at the broker.
    pub name: &'static str,
    /// The one service that writes it.
    pub writer: &'static str,
    /// The services that read it.
    pub readers: &'static [&'static str],
    /// What the broker keeps.
    pub kept: Kept,
}

/// Partitions of every topic. Fixed at creation, like the partitioner [`PARTITIONER`]: a change is a new topic.
pub const PARTITIONS: i32 = 4;

/// Which partition a key goes to; the name is librdkafka's. The same as the Java client's default.
pub const PARTITIONER: &str = "murmur2_random";

/// Every topic. The key is the order id, but for the catalogue, whose key is the SKU, and for what billing says of a
/// customer, whose key is the customer's id.
pub const TOPICS: [Spec; 6] = [
    spec(Topic::OrderEvents, "order.events", "order", &["inventory", "billing"], Kept::Days(7)),
    spec(Topic::InventoryCommands, "inventory.commands", "order", &["inventory"], Kept::Days(1)),
    spec(Topic::BillingCommands, "billing.commands", "order", &["billing"], Kept::Days(1)),
    spec(Topic::InventoryEvents, "inventory.events", "inventory", &["order"], Kept::Days(7)),
    spec(Topic::BillingEvents, "billing.events", "billing", &["order"], Kept::Days(7)),
    spec(Topic::InventoryCatalogue, "inventory.catalogue", "inventory", &["order"], Kept::Compacted),
];

const fn spec(
    topic: Topic,
    name: &'static str,
    writer: &'static str,
    readers: &'static [&'static str],
    kept: Kept,
) -> Spec {
    Spec { topic, name, writer, readers, kept }
}

impl Topic {
    /// The name at the broker, such as `order.events`.
    pub const fn name(self) -> &'static str {
        TOPICS[self as usize].name
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, spec) in TOPICS.iter().enumerate() {
            assert_eq!(spec.topic as usize, index, "{}", spec.name);
        }
    }
}
