//! Every message and version has a golden file in `wire/`, which is what travels. An old file is never changed: what
//! was once written must stay readable.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use contracts::{
    CommandId, Currency, CustomerId, Message, Money, OrderId, ShipmentId,
    billing::{BillingCommand, BillingEvent, PaymentRefusal},
    inventory::{CatalogueEvent, InventoryCommand, InventoryEvent, StockLine, StockRefusal},
    order::{CancelReason, OrderEvent, OrderLine},
    vat::VatRate,
    wire::GOLDEN,
};
use jiff::Timestamp;
use serde_json::Value;

#[test]
fn every_message_is_its_golden_file() {
    let mut seen = BTreeSet::new();
    order_events().iter().for_each(|message| check(message, &mut seen));
    inventory_commands().iter().for_each(|message| check(message, &mut seen));
    inventory_events().iter().for_each(|message| check(message, &mut seen));
    catalogue_events().iter().for_each(|message| check(message, &mut seen));
    billing_commands().iter().for_each(|message| check(message, &mut seen));
    billing_events().iter().for_each(|message| check(message, &mut seen));
    old_versions(&mut seen);
    let files: BTreeSet<String> =
        fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(seen, files, "every message has a file, and every file a message");
    let known: BTreeSet<String> = GOLDEN.iter().map(|(name, _)| format!("{name}.json")).collect();
    assert_eq!(known, files, "every file is known to programs");
}

/// What was written in an older version is read as the newest: here is each of them, and what it is read as.
fn old_versions(seen: &mut BTreeSet<String>) {
    let mut placed = order_events().remove(0);
    let OrderEvent::Placed { lines, .. } = &mut placed else { panic!("placed first") };
    lines[0].name = "MUG-BLUE-01".into(); // v1 had no names, and the SKU stands in.
    read_as("order.placed.v1", &placed, seen);
}

/// `read_as` is what the golden file of an older version is read as.
fn read_as<M: Message>(kind: &str, read_as: &M, seen: &mut BTreeSet<String>) {
    let name = format!("{kind}.json");
    let golden = fs::read_to_string(folder().join(&name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&golden).unwrap()["type"], kind, "wire/{name}");
    assert_ne!(read_as.kind(), kind, "the newest version is no old one");
    assert_eq!(&serde_json::from_str::<M>(&golden).unwrap(), read_as, "wire/{name}");
    seen.insert(name);
}

/// A reader that has an old message sends it on, if it does, as the newest.
#[test]
fn what_is_read_in_an_old_version_is_written_in_the_newest() {
    let golden = fs::read_to_string(folder().join("order.placed.v1.json")).unwrap();
    let read: OrderEvent = serde_json::from_str(&golden).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!((read.kind(), &written["type"]), ("order.placed.v2", &Value::from("order.placed.v2")));
    assert_eq!(written["lines"][0]["name"], "MUG-BLUE-01");
    assert_eq!(serde_json::from_value::<OrderEvent>(written).unwrap(), read);
}

/// Readers ignore what they do not know, so that a writer may add a field.
#[test]
fn a_reader_ignores_unknown_fields() {
    let mut json = serde_json::to_value(&order_events()[1]).unwrap();
    json["new_field"] = Value::from(1);
    assert_eq!(serde_json::from_value::<OrderEvent>(json).unwrap(), order_events()[1]);
}

#[test]
fn an_unknown_version_is_no_message() {
    let mut json = serde_json::to_value(&order_events()[1]).unwrap();
    json["type"] = Value::from("order.confirmed.v2");
    assert!(serde_json::from_value::<OrderEvent>(json).is_err());
    let mut json = serde_json::to_value(&order_events()[0]).unwrap();
    json["type"] = Value::from("order.placed.v3");
    assert!(serde_json::from_value::<OrderEvent>(json).is_err());
}

#[test]
fn a_message_with_a_decline_code_that_no_provider_gave_is_none() {
    for (length, is_read) in [(0, true), (64, true), (65, false), (950_000, false)] {
        let reason = PaymentRefusal::Declined { decline_code: "x".repeat(length) };
        let refused = BillingEvent::CaptureRefused { command: command("capture"), order: order(), reason, at: at() };
        let read = serde_json::from_str::<BillingEvent>(&serde_json::to_string(&refused).unwrap());
        assert_eq!(read.is_ok(), is_read, "{length}");
    }
}

#[test]
fn a_payment_token_shows_in_no_log() {
    let shown = format!("{:?}", billing_commands()[0]);
    assert!(!shown.contains("tok_ok"), "{shown}");
    assert!(shown.contains("PaymentToken(***)"), "{shown}");
}

/// `message` is written as its golden file says, and the file is read as `message`.
fn check<M: Message>(message: &M, seen: &mut BTreeSet<String>) {
    let name = match serde_json::to_value(message).unwrap()["reason"]["code"].as_str() {
        Some(code) => format!("{}.{code}.json", message.kind()),
        None => format!("{}.json", message.kind()),
    };
    let path = folder().join(&name);
    let written = serde_json::to_string_pretty(message).unwrap() + "\n";
    if std::env::var_os("WRITE_NEW_GOLDEN_FILES").is_some() && !path.exists() {
        fs::write(&path, &written).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|_| panic!("wire/{name} is missing"));
    assert_eq!(written, golden, "wire/{name}");
    assert_eq!(&serde_json::from_str::<M>(&golden).unwrap(), message, "wire/{name}");
    assert_eq!(serde_json::from_str::<Value>(&golden).unwrap()["type"], message.kind(), "wire/{name}");
    assert!(!message.key().is_empty());
    seen.insert(name);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("wire")
}

fn order() -> OrderId {
    "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01".parse().unwrap()
}

fn customer() -> CustomerId {
    "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a02".parse().unwrap()
}

fn shipment() -> ShipmentId {
    "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a04".parse().unwrap()
}

fn command(step: &str) -> CommandId {
    format!("019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a03:{step}:1").try_into().unwrap()
}

fn at() -> Timestamp {
    "2026-11-21T09:30:00.123456Z".parse().unwrap()
}

fn total() -> Money {
    Money::new(2580, Currency::EUR)
}

fn line() -> OrderLine {
    let (sku, quantity) = ("MUG-BLUE-01".parse().unwrap(), 2.try_into().unwrap());
    OrderLine::priced(sku, "Enamel mug, blue".into(), quantity, Money::new(1290, Currency::EUR), VatRate(1900)).unwrap()
}

fn order_events() -> Vec<OrderEvent> {
    let (order, at) = (order(), at());
    let cancelled = |reason| OrderEvent::Cancelled { order, version: 2, reason, at };
    vec![
        OrderEvent::Placed { order, version: 1, customer: customer(), lines: vec![line()], total: total(), at },
        OrderEvent::Confirmed { order, version: 2, at },
        OrderEvent::Shipped { order, version: 3, shipment: shipment(), complete: true, at },
        OrderEvent::CancellationRefused { order, version: 4, at },
        cancelled(CancelReason::OutOfStock { sku: "MUG-BLUE-01".parse().unwrap() }),
        cancelled(CancelReason::PaymentDeclined { decline_code: "card_declined".into() }),
        cancelled(CancelReason::TimedOut),
        cancelled(CancelReason::Requested),
        cancelled(CancelReason::UnknownCustomer),
    ]
}

fn inventory_commands() -> Vec<InventoryCommand> {
    let order = order();
    let lines = vec![StockLine { sku: "MUG-BLUE-01".parse().unwrap(), quantity: 2.try_into().unwrap() }];
    vec![
        InventoryCommand::HoldStock { command: command("hold-stock:do"), order, lines },
        InventoryCommand::ReleaseStock { command: command("hold-stock:undo"), order },
        InventoryCommand::ReclaimStock { command: command("reclaim-stock:do"), order },
    ]
}

fn inventory_events() -> Vec<InventoryEvent> {
    let (order, at) = (order(), at());
    let refused = |reason| InventoryEvent::StockRefused { command: command("hold-stock:do"), order, reason, at };
    let reclaim = || command("reclaim-stock:do");
    let shipped = InventoryEvent::StockShipped {
        shipment: shipment(),
        order,
        warehouse: "MAIN".parse().unwrap(),
        lines: vec![StockLine { sku: "MUG-BLUE-01".parse().unwrap(), quantity: 2.try_into().unwrap() }],
        complete: true,
        at,
    };
    vec![
        InventoryEvent::StockHeld { command: command("hold-stock:do"), order, at },
        refused(StockRefusal::OutOfStock { sku: "MUG-BLUE-01".parse().unwrap() }),
        refused(StockRefusal::Released),
        InventoryEvent::StockReleased { command: command("hold-stock:undo"), order, at },
        InventoryEvent::StockReclaimed { command: reclaim(), order, at },
        InventoryEvent::ReclaimRefused { command: reclaim(), order, at },
        shipped,
    ]
}

fn catalogue_events() -> Vec<CatalogueEvent> {
    vec![CatalogueEvent::ProductChanged {
        sku: "MUG-BLUE-01".parse().unwrap(),
        version: 3,
        name: "Enamel mug, blue".into(),
        description: "Half a litre, survives the fall.".into(),
        category: "Kitchen".into(),
        price: Money::new(1290, Currency::EUR),
        vat_rate: 1900,
        at: at(),
    }]
}

fn billing_commands() -> Vec<BillingCommand> {
    let order = order();
    vec![
        BillingCommand::AuthorizePayment {
            command: command("authorize-payment:do"),
            order,
            customer: customer(),
            amount: total(),
            lines: vec![line()],
            token: "tok_ok".to_owned().try_into().unwrap(),
        },
        BillingCommand::VoidPayment { command: command("authorize-payment:undo"), order },
        BillingCommand::CapturePayment { command: command("capture-payment:do"), order },
        BillingCommand::RefundPayment { command: command("refund-payment:do"), order },
    ]
}

fn billing_events() -> Vec<BillingEvent> {
    let (order, at) = (order(), at());
    let authorize = || command("authorize-payment:do");
    let declined = || PaymentRefusal::Declined { decline_code: "card_declined".into() };
    vec![
        BillingEvent::PaymentAuthorized { command: authorize(), order, amount: total(), at },
        BillingEvent::PaymentRefused { command: authorize(), order, reason: declined(), at },
        BillingEvent::PaymentRefused { command: authorize(), order, reason: PaymentRefusal::Voided, at },
        BillingEvent::PaymentRefused { command: authorize(), order, reason: PaymentRefusal::UnknownCustomer, at },
        BillingEvent::PaymentVoided { command: command("authorize-payment:undo"), order, at },
        BillingEvent::PaymentCaptured { command: command("capture-payment:do"), order, amount: total(), at },
        BillingEvent::CaptureRefused { command: command("capture-payment:do"), order, reason: declined(), at },
        BillingEvent::PaymentRefunded { command: command("refund-payment:do"), order, amount: total(), at },
        BillingEvent::CustomerErased { customer: customer(), at },
    ]
}
