//! Products and their prices, as the shop shows them. Pure.

use contracts::{Money, Sku, inventory::CatalogueEvent};
use jiff::Timestamp;
use web::condition::{Condition, Tag, Unmet};
use web::text::is_hidden;

/// A product as it is now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub(crate) sku: Sku,
    /// From 1; grows with each change.
    pub(crate) version: u32,
    pub(crate) details: Details,
    /// Since when it is like this.
    pub(crate) at: Timestamp,
}

/// What can change of a product. Made by [`Details::check`] from what a client sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Details {
    /// 1 to 200 characters.
    pub(crate) name: String,
    /// Up to 2,000 characters.
    pub(crate) description: String,
    /// The shelf it stands on; 1 to 60 characters.
    pub(crate) category: String,
    /// Of one piece, VAT included; 1 to 10^12 minor units.
    pub(crate) price: Money,
    /// Unit: hundredths of a percent, 0 to 10,000; 1900 is 19 %.
    pub(crate) vat_rate: u32,
}

/// A field whose value no product can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongField {
    /// JSON pointer into the details.
    pub(crate) pointer: &'static str,
    pub(crate) detail: String,
}

/// What a request to offer a product comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Offer {
    /// There was none with this SKU.
    New(Product),
    /// There was one, and it was different.
    Changed(Product),
    /// It is like this already.
    Same(Product),
    /// There is one, and not in the state that was to be changed; or there is none, and one was to be changed.
    Unmet(Unmet),
}

impl Details {
    const NAME_MAX_CHARS: usize = 200;
    const DESCRIPTION_MAX_CHARS: usize = 2_000;
    const CATEGORY_MAX_CHARS: usize = 60;
    pub(crate) const PRICE_MAX: i64 = 1_000_000_000_000;
    const VAT_RATE_MAX: u32 = 10_000;

    /// The details themselves if a product can have them.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub(crate) fn check(self) -> Result<Self, Vec<WrongField>> {
        let amount = self.price.amount;
        let wrong: Vec<WrongField> = [
            text("/name", &self.name, 1, Self::NAME_MAX_CHARS),
            text("/description", &self.description, 0, Self::DESCRIPTION_MAX_CHARS),
            text("/category", &self.category, 1, Self::CATEGORY_MAX_CHARS),
            within("/price/amount", (1..=Self::PRICE_MAX).contains(&amount), 1, Self::PRICE_MAX),
            within("/vat_rate", self.vat_rate <= Self::VAT_RATE_MAX, 0, i64::from(Self::VAT_RATE_MAX)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if wrong.is_empty() { Ok(self) } else { Err(wrong) }
    }
}

fn text(pointer: &'static str, text: &str, min_chars: usize, max_chars: usize) -> Option<WrongField> {
    let detail = if text.contains(is_hidden) {
        "must have no control characters and no invisible ones".to_owned()
    } else if min_chars > 0 && text.trim().is_empty() {
        "must not be blank".to_owned()
    } else if text.chars().count() > max_chars {
        format!("must have at most {max_chars} characters")
    } else {
        return None;
    };
    Some(WrongField { pointer, detail })
}

fn within(pointer: &'static str, fits: bool, min: i64, max: i64) -> Option<WrongField> {
    (!fits).then(|| WrongField { pointer, detail: format!("must be {min} to {max}") })
}

impl Product {
    /// What becomes of the product `before`, if there is one, when it shall be as `details` say.
    pub(crate) fn offer(
        before: Option<Self>,
        sku: Sku,
        details: Details,
        condition: &Condition,
        now: Timestamp,
    ) -> Offer {
        let allowed = match &before {
            None => condition.allows_creation(),
            Some(product) if product.details == details => condition.allows_no_change(&product.tag()),
            Some(product) => condition.allows_change(&product.tag()),
        };
        if let Err(unmet) = allowed {
            return Offer::Unmet(unmet);
        }
        match before {
            None => Offer::New(Self { sku, version: 1, details, at: now }),
            Some(product) if product.details == details => Offer::Same(product),
            Some(product) => {
                let version = product.version.checked_add(1).expect("a product does not change four billion times");
                Offer::Changed(Self { sku, version, details, at: now })
            }
        }
    }

    /// Its state.
    pub(crate) fn tag(&self) -> Tag {
        Tag::of_version(self.version)
    }

    /// The whole product, as the other services learn of it.
    pub(crate) fn event(&self) -> CatalogueEvent {
        let Details { name, description, category, price, vat_rate } = self.details.clone();
        CatalogueEvent::ProductChanged {
            sku: self.sku.clone(),
            version: self.version,
            name,
            description,
            category,
            price,
            vat_rate,
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Currency;

    use super::*;

    fn mug() -> Details {
        Details {
            name: "Mug".to_owned(),
            description: String::new(),
            category: "Kitchen".to_owned(),
            price: Money::new(1290, Currency::EUR),
            vat_rate: 1900,
        }
    }

    fn wrong(details: Details) -> Vec<&'static str> {
        details.check().err().into_iter().flatten().map(|wrong| wrong.pointer).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let price = |amount| Money::new(amount, Currency::EUR);
        assert_eq!(wrong(mug()), [""; 0]);
        assert_eq!(wrong(Details { name: String::new(), category: " ".to_owned(), ..mug() }), ["/name", "/category"]);
        assert_eq!(wrong(Details { name: "a\0b".to_owned(), ..mug() }), ["/name"]);
        assert_eq!(wrong(Details { name: "gum\u{202e}mug".to_owned(), ..mug() }), ["/name"]);
        let unseen = |text: &str| text.replace('_', "\u{200b}");
        let hidden = Details { description: unseen("fine_"), category: unseen("Kit_chen"), ..mug() };
        assert_eq!(wrong(hidden), ["/description", "/category"]);
        assert_eq!(wrong(Details { name: "ü".repeat(200), ..mug() }), [""; 0], "characters, not bytes");
        assert_eq!(wrong(Details { name: "ü".repeat(201), ..mug() }), ["/name"]);
        assert_eq!(wrong(Details { description: "a".repeat(2_001), ..mug() }), ["/description"]);
        assert_eq!(wrong(Details { price: price(0), vat_rate: 10_001, ..mug() }), ["/price/amount", "/vat_rate"]);
        assert_eq!(wrong(Details { price: price(1_000_000_000_000), vat_rate: 10_000, ..mug() }), [""; 0]);
        assert_eq!(wrong(Details { price: price(1_000_000_000_001), ..mug() }), ["/price/amount"]);
        assert_eq!(wrong(Details { price: price(-1), ..mug() }), ["/price/amount"]);
    }

    fn if_match(tag: &str) -> Condition {
        let mut request = axum::http::Request::builder().header("if-match", tag).body(()).unwrap().into_parts().0;
        let read = <Condition as axum::extract::FromRequestParts<()>>::from_request_parts(&mut request, &());
        futures::executor::block_on(read).unwrap()
    }

    #[test]
    fn the_version_grows_only_with_a_change_and_only_the_version_that_was_seen_is_changed() {
        let (then, now) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1).unwrap());
        let sku: Sku = "MUG".parse().unwrap();
        let offer = |before: Option<&Product>, details: Details, condition: &Condition| {
            Product::offer(before.cloned(), sku.clone(), details, condition, if before.is_some() { now } else { then })
        };
        let (nothing, first_seen, second_seen) = (Condition::default(), if_match("\"1\""), if_match("\"2\""));
        assert_eq!(offer(None, mug(), &first_seen), Offer::Unmet(Unmet::OtherState), "there is nothing to change");
        let Offer::New(first) = offer(None, mug(), &nothing) else { panic!("there was none") };
        assert_eq!((first.version, first.at), (1, then));
        for condition in [&nothing, &first_seen] {
            assert_eq!(offer(Some(&first), mug(), condition), Offer::Same(first.clone()), "nothing is overwritten");
        }
        assert_eq!(offer(Some(&first), mug(), &second_seen), Offer::Unmet(Unmet::OtherState));
        let dearer = Details { price: Money::new(1390, Currency::EUR), ..mug() };
        assert_eq!(offer(Some(&first), dearer.clone(), &nothing), Offer::Unmet(Unmet::NotSaid));
        assert_eq!(offer(Some(&first), dearer.clone(), &second_seen), Offer::Unmet(Unmet::OtherState));
        let Offer::Changed(second) = offer(Some(&first), dearer.clone(), &first_seen) else { panic!("it changed") };
        assert_eq!((second.version, second.at, second.details), (2, now, dearer));
    }
}
