//! What happens to each order of the demo, and how it is to end.

/// One order.
#[derive(Debug)]
pub(super) struct Plot {
    /// What it is, in a few words.
    pub(super) name: &'static str,
    pub(super) card: &'static str,
    /// Pieces of each of the two products.
    pub(super) quantity: u32,
    pub(super) acts: &'static [Act],
    pub(super) promised: Ending,
}

/// What somebody does about an order.
#[derive(Debug)]
pub(super) enum Act {
    /// Waits until this stands in its story.
    Await(Sign),
    /// Its customer cancels it, in time or not.
    Cancel { refused: bool },
    /// An operator ships the half that lies in one of the warehouses.
    Ship(usize),
}

/// What stands in a story.
#[derive(Debug)]
pub(super) enum Sign {
    /// An event of the order, by its type.
    Event(&'static str),
    /// A step that is asked for, by its name.
    Asked(&'static str),
}

/// How an order ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) status: &'static str,
    /// Why it is cancelled.
    pub(super) reason: Option<&'static str>,
    /// What must stand in its story: steps that are done.
    pub(super) done: &'static [&'static str],
    /// What must not.
    pub(super) never: &'static [&'static str],
}

const OK: &str = "tok_ok";
const CONFIRMED: Act = Act::Await(Sign::Event("order.confirmed.v1"));

/// Every outcome.
pub(super) const PLOTS: [Plot; 9] = [
    Plot {
        name: "confirmed",
        card: OK,
        quantity: 1,
        acts: &[],
        promised: Ending { status: "confirmed", reason: None, done: &["capture-payment"], never: &["release-stock"] },
    },
    Plot {
        name: "declined by the card",
        card: "tok_authorize_declined",
        quantity: 1,
        acts: &[],
        promised: Ending {
            status: "cancelled",
            reason: Some("payment_declined"),
            done: &["undo hold-stock"],
            never: &["capture-payment"],
        },
    },
    Plot {
        name: "declined when the money is taken",
        card: "tok_capture_declined",
        quantity: 1,
        acts: &[],
        promised: Ending {
            status: "cancelled",
            reason: Some("payment_declined"),
            done: &["undo hold-stock", "undo authorize-payment"],
            never: &["capture-payment"],
        },
    },
    Plot {
        name: "out of stock",
        card: OK,
        quantity: super::TOO_MANY,
        acts: &[],
        promised: Ending {
            status: "cancelled",
            reason: Some("out_of_stock"),
            done: &["undo authorize-payment"],
            never: &["hold-stock", "capture-payment"],
        },
    },
    Plot {
        name: "cancelled before it is confirmed",
        card: "tok_slow_2s",
        quantity: 1,
        acts: &[Act::Cancel { refused: false }],
        promised: Ending {
            status: "cancelled",
            reason: Some("requested"),
            done: &["undo hold-stock", "undo authorize-payment"],
            never: &["capture-payment", "reclaim-stock"],
        },
    },
    Plot {
        name: "cancelled while its money is taken",
        card: "tok_capture_slow_2s",
        quantity: 1,
        acts: &[Act::Await(Sign::Asked("capture-payment")), Act::Cancel { refused: false }],
        promised: Ending {
            status: "cancelled",
            reason: Some("requested"),
            done: &["capture-payment", "reclaim-stock", "refund-payment"],
            never: &["undo hold-stock", "order.confirmed.v1"],
        },
    },
    Plot {
        name: "cancelled after it is confirmed",
        card: OK,
        quantity: 1,
        acts: &[CONFIRMED, Act::Cancel { refused: false }],
        promised: Ending {
            status: "cancelled",
            reason: Some("requested"),
            done: &["order.confirmed.v1", "reclaim-stock", "refund-payment"],
            never: &["undo hold-stock"],
        },
    },
    Plot {
        name: "shipped",
        card: OK,
        quantity: 1,
        acts: &[CONFIRMED, Act::Ship(0), Act::Ship(1)],
        promised: Ending { status: "shipped", reason: None, done: &["order.shipped.v1"], never: &["reclaim-stock"] },
    },
    Plot {
        name: "shipped in part, and then too late to cancel",
        card: OK,
        quantity: 1,
        acts: &[CONFIRMED, Act::Ship(0), Act::Await(Sign::Event("order.shipped.v1")), Act::Cancel { refused: true }],
        promised: Ending {
            status: "partly_shipped",
            reason: None,
            done: &["order.shipped.v1"],
            never: &["reclaim-stock", "order.cancelled.v1"],
        },
    },
];
