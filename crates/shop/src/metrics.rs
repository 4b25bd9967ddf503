//! What the services measure of themselves: their `/metrics`, read.

use std::{path::Path, time::Duration};

use reqwest::Client;
use web::access::Principal;

use crate::{ShopError, State, token};

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the token is valid that reads them.
const TOKEN_VALID: Duration = Duration::from_secs(60);

/// What one process measures of itself at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(Vec<Sample>);

/// One value.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    /// As they are written: `group="order",topic="order.events"`.
    labels: String,
    value: f64,
}

impl Metrics {
    /// Those of the part `name`, such as `order` or `order-2`, of the shop in `folder`.
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`] if there is no such part, [`ShopError::Keys`], [`ShopError::NoMetrics`] if it is no
    /// service or does not answer.
    pub async fn of(state: &State, folder: &Path, name: &str) -> Result<Self, ShopError> {
        let part = state.parts.iter().find(|part| part.name == name).ok_or_else(|| state.unknown(name))?;
        Self::at(name, part.port, &token::sign(folder, &Principal::Operator, TOKEN_VALID)?).await
    }

    /// Those of what listens at `port` of this machine, and is called `name`.
    pub(crate) async fn at(name: &str, port: u16, token: &str) -> Result<Self, ShopError> {
        let request = Client::new().get(format!("http://127.0.0.1:{port}/metrics"));
        let failed = |source| ShopError::NoMetrics { part: name.to_owned(), source };
        let answer = request.bearer_auth(token).timeout(PATIENCE).send().await.map_err(failed)?;
        let text = answer.error_for_status().map_err(failed)?.text().await.map_err(failed)?;
        Ok(Self::read(&text))
    }

    /// Reads Prometheus' text format. What is no sample is left out.
    fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of `name` over its labels. Nothing if the process does not measure it.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, "")
    }

    /// The same of those whose labels contain `label`, such as `group="order"`.
    pub fn sum_where(&self, name: &str, label: &str) -> Option<f64> {
        let mut values = self.0.iter().filter(|sample| sample.name == name && sample.labels.contains(label)).peekable();
        values.peek()?;
        Some(values.map(|sample| sample.value).sum())
    }
}

/// `name{labels} value` or `name value`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    Some(Sample { name: name.to_owned(), labels: labels.strip_suffix('}')?.to_owned(), value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_added_up_over_their_labels() {
        let text =
            "# TYPE lag gauge\nlag{group=\"a b\",partition=\"0\"} 3\nlag{group=\"c\"} 0.5\nlagging 7\n\nnonsense\n";
        let metrics = Metrics::read(text);
        assert_eq!(metrics.sum("lag"), Some(3.5));
        assert_eq!(metrics.sum("lagging"), Some(7.0));
        assert_eq!(metrics.sum_where("lag", "group=\"a b\""), Some(3.0));
        assert_eq!((metrics.sum("nonsense"), metrics.sum("la")), (None, None));
    }
}
