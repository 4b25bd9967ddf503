//! One line of an order, and what its older versions are read as.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Money, MoneyError, Quantity, Sku,
    vat::{Taxed, VatRate},
};

/// One line of an order. Its price is that of a piece times the quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(from = "AnyVersion")]
pub struct OrderLine {
    /// What.
    pub sku: Sku,
    /// What the customer read, frozen when the order was placed: an invoice must say what was sold, whatever the
    /// product is called by then.
    pub name: String,
    /// How many.
    pub quantity: Quantity,
    /// Price of one piece, VAT included, frozen when the order was placed.
    pub unit_price: Money,
    /// The rate of the VAT in it, frozen with it.
    pub vat_rate: VatRate,
    /// What of the line's price is VAT, rounded once for the line: see [`vat`](crate::vat).
    pub vat: Money,
}

/// A line as any version has written it.
#[derive(Deserialize)]
struct AnyVersion {
    sku: Sku,
    /// Not in `order.placed.v1`.
    name: Option<String>,
    quantity: Quantity,
    unit_price: Money,
    vat_rate: VatRate,
    vat: Money,
}

/// The upcaster: what v1 did not say is filled in from what it did.
impl From<AnyVersion> for OrderLine {
    fn from(line: AnyVersion) -> Self {
        let AnyVersion { sku, name, quantity, unit_price, vat_rate, vat } = line;
        let name = name.unwrap_or_else(|| sku.as_str().to_owned());
        Self { sku, name, quantity, unit_price, vat_rate, vat }
    }
}

impl OrderLine {
    /// A line as it is placed: its VAT is worked out here, and is a fact from then on.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] past 64 bits.
    pub fn priced(
        sku: Sku,
        name: String,
        quantity: Quantity,
        unit_price: Money,
        vat_rate: VatRate,
    ) -> Result<Self, MoneyError> {
        let vat = vat_rate.within(unit_price.times(quantity.get())?).vat;
        Ok(Self { sku, name, quantity, unit_price, vat_rate, vat })
    }

    /// The price of the line, and what of it is VAT.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] past 64 bits.
    pub fn taxed(&self) -> Result<Taxed, MoneyError> {
        let gross = self.unit_price.times(self.quantity.get())?;
        Ok(Taxed { rate: self.vat_rate, gross, vat: self.vat })
    }
}
