//! What inventory has said, sent again for readers whose topic has lost it: as new messages, behind all that was sent
//! before. A reader that knows it changes nothing.

use contracts::{OrderId, Sku};
use messaging::{Outgoing, mongo::Transaction};
use service::{message::outgoing, tasks::to_its_end};

use crate::{
    App,
    hold::Hold,
    store::{self, StoreError},
    transaction::{self, Tries},
};

/// Whose messages.
#[derive(Debug, Clone)]
pub(crate) enum Of {
    /// Every answer about an order's hold, in the order they were given, and every shipment.
    Hold(OrderId),
    /// A product as it is now.
    Product(Sku),
}

/// Sends the messages of `of` again; gives their number, 0 if there is nothing of the kind.
///
/// # Errors
/// [`StoreError`]; then nothing is sent, unless the outcome of the commit is unknown.
pub(crate) async fn republish(app: &App, of: &Of) -> Result<usize, StoreError> {
    let (app, of) = (app.clone(), of.clone());
    // A client that hangs up must not leave a transaction open.
    to_its_end(async move { try_for_a_while(&app, &of).await }).await
}

async fn try_for_a_while(app: &App, of: &Of) -> Result<usize, StoreError> {
    let mut tries = Tries::first();
    loop {
        match try_to_republish(app, of).await {
            Err(error) if error.is_conflict() && tries.again().await => {}
            outcome => return outcome,
        }
    }
}

async fn try_to_republish(app: &App, of: &Of) -> Result<usize, StoreError> {
    let mut tx = Transaction::begin(&app.db).await?;
    match put(&mut tx, of).await {
        Ok(messages) => {
            tx.commit().await?;
            Ok(messages)
        }
        Err(error) => {
            transaction::abort(tx).await;
            Err(error)
        }
    }
}

async fn put(tx: &mut Transaction, of: &Of) -> Result<usize, StoreError> {
    let messages: Vec<Outgoing> = match of {
        Of::Hold(order) => {
            let holds = store::hold::load(tx, &[*order].into()).await?;
            let shipments = store::shipment::of_order(tx, *order).await?;
            let shipped = shipments.iter().map(|shipment| outgoing(&shipment.event()));
            // An answer that is given right now may stand before or behind these: whoever waits for it knows its command.
            let answers = holds.get(*order).into_iter().flat_map(Hold::answers);
            answers.map(|answer| outgoing(&answer)).chain(shipped).collect()
        }
        Of::Product(sku) => {
            let product = store::product::load(tx, sku).await?;
            if let Some(product) = &product {
                // Behind a newer version this one would be the last of its key, and the only one that the topic keeps.
                store::product::lock(tx, product).await?;
            }
            product.iter().map(|product| outgoing(&product.event())).collect()
        }
    };
    tx.put(&messages).await?;
    Ok(messages.len())
}
