//! From the batches of a relay into the client's queue.

use std::sync::{Arc, PoisonError};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::sync::mpsc;

use super::{Committed, Context, DeliveryError, Outstanding, first::Untouched, headers::headers};

/// The client's queue, and what each message says of where it comes from.
pub(super) struct Queue {
    inner: Arc<BaseProducer<Context>>,
    source: String,
    generation: String,
}

impl Queue {
    pub(super) fn new(inner: Arc<BaseProducer<Context>>, source: &str, generation: i64) -> Self {
        Self { inner, source: source.to_owned(), generation: generation.to_string() }
    }

    /// Queues what comes, in its order, until it ends or something fails. What comes later is thrown away with the channel.
    pub(super) async fn fill(
        self,
        mut batches: mpsc::UnboundedReceiver<(Vec<Committed>, Arc<Outstanding>)>,
        mut untouched: Untouched,
    ) {
        while let Some((messages, batch)) = batches.recv().await {
            if let Err(error) = self.put_all(messages, &batch, &mut untouched).await {
                return batch.finish(Err(error));
            }
        }
    }

    async fn put_all(
        &self,
        messages: Vec<Committed>,
        batch: &Arc<Outstanding>,
        untouched: &mut Untouched,
    ) -> Result<(), DeliveryError> {
        let (firsts, rest) = untouched.split(messages);
        if !firsts.is_empty() {
            let (alone, written) = Outstanding::of(firsts.len());
            for message in &firsts {
                self.put(message, &alone).await?;
            }
            written.await?;
            batch.written(firsts.len());
        }
        for message in &rest {
            self.put(message, batch).await?;
        }
        Ok(())
    }

    /// Waits while the queue is full.
    async fn put(&self, message: &Committed, batch: &Arc<Outstanding>) -> Result<(), DeliveryError> {
        let context = self.inner.context();
        let topic = [context.prefix.as_str(), &message.topic].concat();
        let mut record = BaseRecord::with_opaque_to(&topic, Arc::clone(batch))
            .key(message.key.as_str())
            .payload(message.payload.as_str())
            .headers(headers(&self.source, &self.generation, message));
        loop {
            // Asked for before trying, so that space made in between is not missed.
            let space = context.space.notified();
            let sent = {
                let open = context.open.lock().unwrap_or_else(PoisonError::into_inner);
                if !*open {
                    return Err(DeliveryError::Gone);
                }
                self.inner.send(record)
            };
            match sent {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    space.await;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
