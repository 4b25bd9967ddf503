//! What the services say to each other: every event and command, and the words they are made of.
//!
//! A type enters this crate only if it crosses a process boundary. There is no behaviour here beyond constructors,
//! checks and the arithmetic of [`Money`]; the crate depends on no other of the workspace.
//!
//! | module | holds |
//! |---|---|
//! | [`topic`] | the one table of topics: who writes, who reads, what is kept |
//! | [`order`], [`inventory`], [`billing`] | what each service says, and what it can be told to do |
//! | [`id`], [`money`], [`vat`], [`sku`], `token` | the words every message uses |
//!
//! `wire/` holds one golden JSON file per message and version; a test reads and writes each of them.

pub mod billing;
pub mod id;
pub mod inventory;
mod message;
pub mod money;
pub mod order;
pub mod sku;
mod token;
pub mod topic;
pub mod vat;

pub use id::{CommandId, CustomerId, OrderId, ShipmentId};
pub use message::Message;
pub use money::{Currency, Money, MoneyError};
pub use sku::{Quantity, Sku, Warehouse};
pub use topic::Topic;
