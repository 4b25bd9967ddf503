//! The replica of the catalogue.

use std::collections::HashMap;

use contracts::{Currency, Money, Sku, vat::VatRate};
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::{catalogue::Product, order::Price, store::unreadable};

/// The time by the database's clock, and what each of `skus` is called and costs now. A SKU without a product is left
/// out, and so is a product that cannot be read: it shall not hold up the orders for all others.
pub(crate) async fn prices<'s>(
    tx: &mut PgConnection,
    skus: impl Iterator<Item = &'s Sku>,
) -> sqlx::Result<(Timestamp, HashMap<Sku, Price>)> {
    let mut skus: Vec<String> = skus.map(|sku| sku.as_str().to_owned()).collect();
    skus.sort_unstable();
    skus.dedup();
    // The time comes in any case, so that nobody has to ask for it: a row for each SKU, or one without a SKU.
    let rows = sqlx::query!(
        r#"-- catalogue::prices
         select now() as "now!: jiff_sqlx::Timestamp", sku as "sku?", name as "name?", price_amount as "price_amount?",
                price_currency as "price_currency?", vat_rate as "vat_rate?"
         from (select) as once left join product on sku = any($1)"#,
        &skus,
    )
    .fetch_all(tx)
    .await?;
    let now = rows.first().map(|row| Timestamp::from(row.now)).ok_or_else(|| unreadable("no time"))?;
    let mut prices = HashMap::with_capacity(rows.len());
    for row in rows {
        let product = row.sku.zip(row.name).zip(row.price_amount).zip(row.price_currency.zip(row.vat_rate));
        let Some((((sku, name), amount), (currency, vat_rate))) = product else { continue };
        match price(&sku, name, amount, &currency, vat_rate) {
            Ok((sku, price)) => {
                prices.insert(sku, price);
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(sku, error, "a product cannot be read, and until it changes nobody can order it");
            }
        }
    }
    Ok((now, prices))
}

fn price(sku: &str, name: String, amount: i64, currency: &str, vat_rate: i32) -> sqlx::Result<(Sku, Price)> {
    let currency = Currency::from_code(currency).ok_or_else(|| unreadable("currency"))?;
    let vat_rate = VatRate(vat_rate.try_into().map_err(unreadable)?);
    Ok((sku.parse().map_err(unreadable)?, Price { name, unit_price: Money::new(amount, currency), vat_rate }))
}

/// Replaces each of `products` that is known in a lower version, or not at all.
pub(crate) async fn put(tx: &mut PgConnection, products: impl Iterator<Item = Product>) -> sqlx::Result<()> {
    let (mut skus, mut versions, mut names) = (vec![], vec![], vec![]);
    let (mut amounts, mut currencies, mut rates) = (vec![], vec![], vec![]);
    for Product { sku, version, name, price, vat_rate } in products {
        skus.push(String::from(sku));
        versions.push(version);
        names.push(name);
        amounts.push(price.amount);
        currencies.push(price.currency.code().to_owned());
        rates.push(vat_rate);
    }
    sqlx::query!(
        "-- catalogue::put
         insert into product (sku, version, name, price_amount, price_currency, vat_rate)
         select sku, version, name, amount, currency, vat_rate
         from unnest($1::text[], $2::int[], $3::text[], $4::bigint[], $5::text[], $6::int[])
              as changed (sku, version, name, amount, currency, vat_rate)
         order by sku
         on conflict (sku) do update
         set version = excluded.version, name = excluded.name, price_amount = excluded.price_amount,
             price_currency = excluded.price_currency, vat_rate = excluded.vat_rate
         where product.version < excluded.version",
        &skus,
        &versions,
        &names,
        &amounts,
        &currencies,
        &rates,
    )
    .execute(tx)
    .await?;
    Ok(())
}
