//! Sagas that cannot go on by themselves, and the operator's word that lets one.

use std::fmt;

use contracts::OrderId;
use jiff::Timestamp;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{Service, ShopError, State, status};

/// A parked saga.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Parked {
    /// The saga.
    pub saga: Uuid,
    /// Its kind, such as `cancellation`.
    pub kind: String,
    /// The order it is about.
    pub order: OrderId,
    /// The step that was refused.
    pub step: String,
    /// What its participant said.
    pub reason: Value,
    /// When.
    pub since: Timestamp,
}

/// All that are parked.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedSagas(pub Vec<Parked>);

#[derive(Deserialize)]
struct Page {
    data: Vec<Parked>,
    next_cursor: Option<String>,
}

/// Every parked saga, as the operator with this token.
///
/// # Errors
/// [`ShopError::Silent`] if the order service does not answer.
pub async fn parked(state: &State, operator: &str) -> Result<ParkedSagas, ShopError> {
    let (client, url) = (Client::new(), format!("{}/v1/sagas/parked", state.url(Service::Order)));
    let (mut parked, mut next) = (Vec::new(), url.clone());
    loop {
        let answer = client.get(&next).bearer_auth(operator).send().await.map_err(silent)?;
        let Page { data, next_cursor } = answer.error_for_status().map_err(silent)?.json().await.map_err(silent)?;
        parked.extend(data);
        let Some(cursor) = next_cursor else { return Ok(ParkedSagas(parked)) };
        next = format!("{url}?cursor={cursor}");
    }
}

/// Lets the parked saga `id` go on, as the operator with this token.
///
/// # Errors
/// [`ShopError::NotResumed`] if there is no such saga or it is not parked, [`ShopError::Silent`].
pub async fn resume(state: &State, operator: &str, id: Uuid) -> Result<(), ShopError> {
    let url = format!("{}/v1/sagas/{id}/resume", state.url(Service::Order));
    let answer = Client::new().post(url).bearer_auth(operator).send().await.map_err(silent)?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(ShopError::NotResumed { why: status::detail(answer).await }),
    }
}

fn silent(source: reqwest::Error) -> ShopError {
    ShopError::Silent { service: Service::Order.name(), source }
}

impl fmt::Display for ParkedSagas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("No saga is parked.");
        }
        let mut table = status::plain_table(["saga", "kind", "order", "step", "since", "reason"]);
        for Parked { saga, kind, order, step, reason, since } in &self.0 {
            let [saga, order, since] = [saga.to_string(), order.to_string(), since.to_string()];
            // A text shows without quotes; control characters are escaped in either case.
            table.add_row([saga, kind.clone(), order, step.clone(), since, reason.to_string()]);
        }
        write!(f, "{table}\nLet one go on: cargo shop sagas resume SAGA")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_is_shown_with_its_reason() {
        assert_eq!(ParkedSagas(Vec::new()).to_string(), "No saga is parked.");
        let parked = Parked {
            saga: Uuid::nil(),
            kind: "cancellation".into(),
            order: Uuid::nil().into(),
            step: "refund-payment".into(),
            reason: serde_json::json!({ "code": "no\u{1b}" }),
            since: Timestamp::UNIX_EPOCH,
        };
        let shown = ParkedSagas(vec![parked]).to_string();
        assert!(shown.contains("refund-payment") && shown.contains(r#"{"code":"no\u001b"}"#), "{shown}");
    }
}
