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
//! `wire/` holds one golden JSON file per message and version, and [`wire`] has them for programs; a test reads and writes
//! each of them.
//!
//! # Versions
//!
//! A message says its version in its `type`, such as `order.placed.v2`. What may change, and how:
//!
//! - *A field is added that readers can do without*: the version stays. Readers ignore what they do not know.
//! - *Anything else*: the version after it, and an **upcaster** that reads the one before as the new one, filling in what
//!   it did not say from what it did. The program knows the newest shape only; there is no `v1` in any `match`. The
//!   upcaster stands where the shape differs, so nobody else has to know, and what is in a database or a topic is never
//!   rewritten: `order.placed.v1`, whose lines had no name, is read with the SKU in its place ([`order::OrderLine`]).
//! - A golden file is for ever, from the first release on. Until then a shape may still change under its name, as tables
//!   do in their migrations, and a shop with older data begins anew with `cargo shop up --fresh`. Those of older versions
//!   are in `wire/` too, and a test reads them.
//!
//! Readers are updated before the writer: to one that does not know a version yet it is no message, and it is parked until
//! the reader is updated and told to `cargo shop dead replay`.

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
pub mod wire;

pub use id::{CommandId, CustomerId, OrderId, ShipmentId};
pub use message::Message;
pub use money::{Currency, Money, MoneyError};
pub use sku::{Quantity, Sku, Warehouse};
pub use topic::Topic;
