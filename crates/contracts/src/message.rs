//! What every message can say of itself.

use serde::{Serialize, de::DeserializeOwned};

use crate::Topic;

/// A message of the shop: it knows its topic, its key there, and its versioned name.
pub trait Message: Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq {
    /// The topic all messages of this type travel on.
    const TOPIC: Topic;

    /// Messages with the same key stay in order: the order id, or the SKU for products.
    fn key(&self) -> String;

    /// The versioned name on the wire, such as `order.placed.v2`. Equals the `type` field of the JSON.
    fn kind(&self) -> &'static str;
}
