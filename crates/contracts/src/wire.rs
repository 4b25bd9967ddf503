//! The messages as they travel: one golden file per message and version, and one more per reason where there are reasons.
//! What was once written must stay readable, so none of them is ever changed.

macro_rules! golden {
    ($name:literal) => {
        ($name, include_str!(concat!("../wire/", $name, ".json")))
    };
}

/// Every golden file: its name without the ending, and the message in it, as JSON.
pub const GOLDEN: [(&str, &str); 34] = [
    golden!("billing.authorize-payment.v1"),
    golden!("billing.capture-payment.v1"),
    golden!("billing.capture-refused.v1.declined"),
    golden!("billing.customer-erased.v1"),
    golden!("billing.payment-authorized.v1"),
    golden!("billing.payment-captured.v1"),
    golden!("billing.payment-refunded.v1"),
    golden!("billing.payment-refused.v1.declined"),
    golden!("billing.payment-refused.v1.unknown_customer"),
    golden!("billing.payment-refused.v1.voided"),
    golden!("billing.payment-voided.v1"),
    golden!("billing.refund-payment.v1"),
    golden!("billing.void-payment.v1"),
    golden!("inventory.hold-stock.v1"),
    golden!("inventory.product-changed.v1"),
    golden!("inventory.reclaim-refused.v1"),
    golden!("inventory.reclaim-stock.v1"),
    golden!("inventory.release-stock.v1"),
    golden!("inventory.stock-held.v1"),
    golden!("inventory.stock-reclaimed.v1"),
    golden!("inventory.stock-refused.v1.out_of_stock"),
    golden!("inventory.stock-refused.v1.released"),
    golden!("inventory.stock-released.v1"),
    golden!("inventory.stock-shipped.v1"),
    golden!("order.cancellation-refused.v1"),
    golden!("order.cancelled.v1.out_of_stock"),
    golden!("order.cancelled.v1.payment_declined"),
    golden!("order.cancelled.v1.requested"),
    golden!("order.cancelled.v1.timed_out"),
    golden!("order.cancelled.v1.unknown_customer"),
    golden!("order.confirmed.v1"),
    golden!("order.placed.v1"),
    golden!("order.placed.v2"),
    golden!("order.shipped.v1"),
];
