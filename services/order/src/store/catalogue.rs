//! The replica of the catalogue.

use std::collections::HashMap;

use contracts::{Currency, Money, Sku, inventory::CatalogueEvent};
use sqlx::PgConnection;

use crate::{order::Price, store::unreadable};

/// What each of `skus` costs now; a SKU without a product is left out.
pub(crate) async fn prices<'s>(
    tx: &mut PgConnection,
    skus: impl Iterator<Item = &'s Sku>,
) -> sqlx::Result<HashMap<Sku, Price>> {
    let mut skus: Vec<String> = skus.map(|sku| sku.as_str().to_owned()).collect();
    skus.sort_unstable();
    skus.dedup();
    let rows = sqlx::query!(
        "-- catalogue::prices
         select sku, price_amount, price_currency, vat_rate from product where sku = any($1)",
        &skus,
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency = Currency::from_code(&row.price_currency).ok_or_else(|| unreadable("currency"))?;
            let sku = row.sku.parse().map_err(unreadable)?;
            let vat_rate = row.vat_rate.try_into().map_err(unreadable)?;
            Ok((sku, Price { unit_price: Money::new(row.price_amount, currency), vat_rate }))
        })
        .collect()
}

/// Replaces each of `products` that is known in a lower version, or not at all.
pub(crate) async fn put(tx: &mut PgConnection, products: impl Iterator<Item = CatalogueEvent>) -> sqlx::Result<()> {
    let (mut skus, mut versions, mut amounts, mut currencies, mut rates) = (vec![], vec![], vec![], vec![], vec![]);
    for CatalogueEvent::ProductChanged { sku, version, price, vat_rate, .. } in products {
        skus.push(String::from(sku));
        versions.push(i32::try_from(version).map_err(unreadable)?);
        amounts.push(price.amount);
        currencies.push(price.currency.code().to_owned());
        rates.push(i32::try_from(vat_rate).map_err(unreadable)?);
    }
    sqlx::query!(
        "-- catalogue::put
         insert into product (sku, version, price_amount, price_currency, vat_rate)
         select sku, version, amount, currency, vat_rate
         from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[])
              as changed (sku, version, amount, currency, vat_rate)
         order by sku
         on conflict (sku) do update
         set version = excluded.version, price_amount = excluded.price_amount,
             price_currency = excluded.price_currency, vat_rate = excluded.vat_rate
         where product.version < excluded.version",
        &skus,
        &versions,
        &amounts,
        &currencies,
        &rates,
    )
    .execute(tx)
    .await?;
    Ok(())
}
