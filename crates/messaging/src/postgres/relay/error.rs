//! Why a relay's stream ends.

use pgwire_replication::PgWireError;
use rdkafka::error::KafkaError;

use crate::{Loss, broker::TopicError, postgres::pgoutput::DecodeError, producer::DeliveryError};

/// Why a stream ended. All of it mends itself or an operator mends it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("another instance reads the slot")]
    SlotInUse,
    #[error("another instance has read the slot, or made a new one")]
    Displaced,
    #[error("the database cannot be asked")]
    Database(#[from] sqlx::Error),
    #[error("the log cannot be read")]
    Log(#[from] PgWireError),
    #[error("nothing comes from the log, and the database no longer has the connection that reads it")]
    Unheard,
    #[error("the database does not let us begin to read its log, and does not say why")]
    Silent,
    #[error("the log cannot be understood")]
    Decode(#[from] DecodeError),
    #[error("Kafka's client cannot do it")]
    Client(#[from] KafkaError),
    #[error("the broker did not take a message")]
    Delivery(#[source] DeliveryError),
    #[error("the topics are not as they must be")]
    Topics(#[from] TopicError),
    #[error("a new generation must begin")]
    Loss(#[source] Loss),
}

impl From<DeliveryError> for StreamError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Loss(loss) => Self::Loss(loss),
            DeliveryError::Mistaken { .. } | DeliveryError::Kafka(_) | DeliveryError::Gone => Self::Delivery(error),
        }
    }
}
