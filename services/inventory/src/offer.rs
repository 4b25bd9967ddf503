//! An operator offers a product: it is created, changed, or found to be like that already.

use contracts::Sku;
use messaging::mongo::Transaction;
use service::{message::outgoing, tasks::to_its_end};
use web::condition::Condition;

use crate::{
    App,
    catalogue::{Details, Offer, Product},
    store::{self, StoreError},
    transaction::{self, Tries},
};

/// Makes the product `sku` as `details` say, if `condition` allows it, and tells the other services if that was a change.
///
/// # Errors
/// [`StoreError`]; then nothing has changed, unless the outcome of the commit is unknown.
pub(crate) async fn offer(app: &App, sku: &Sku, details: &Details, condition: &Condition) -> Result<Offer, StoreError> {
    let (app, sku, details, condition) = (app.clone(), sku.clone(), details.clone(), condition.clone());
    // A client that hangs up must not leave a transaction open.
    to_its_end(async move { try_for_a_while(&app, &sku, &details, &condition).await }).await
}

async fn try_for_a_while(app: &App, sku: &Sku, details: &Details, condition: &Condition) -> Result<Offer, StoreError> {
    let mut tries = Tries::first();
    loop {
        match try_to_offer(app, sku, details, condition).await {
            Err(error) if error.is_conflict() && tries.again().await => {}
            outcome => return outcome,
        }
    }
}

async fn try_to_offer(app: &App, sku: &Sku, details: &Details, condition: &Condition) -> Result<Offer, StoreError> {
    let mut tx = Transaction::begin(&app.db).await?;
    let before = store::product::load(&mut tx, sku).await?;
    let offer = Product::offer(before, sku.clone(), details.clone(), condition, transaction::now(&app.clock));
    match write(&mut tx, &offer).await {
        Ok(()) => {
            tx.commit().await?;
            Ok(offer)
        }
        Err(error) => {
            transaction::abort(tx).await;
            Err(error)
        }
    }
}

async fn write(tx: &mut Transaction, offer: &Offer) -> Result<(), StoreError> {
    let product = match offer {
        Offer::New(product) => {
            store::product::insert(tx, product).await?;
            store::stock::insert_empty(tx, &product.sku, product.at).await?;
            product
        }
        Offer::Changed(product) => {
            store::product::replace(tx, product).await?;
            product
        }
        Offer::Same(_) | Offer::Unmet(_) => return Ok(()),
    };
    Ok(tx.put(&[outgoing(&product.event())]).await?)
}
