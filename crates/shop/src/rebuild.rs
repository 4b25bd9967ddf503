//! Has the order service fold every order anew from its events.

use std::fmt;

use contracts::OrderId;
use reqwest::Client;
use serde::Deserialize;

use crate::{Service, ShopError, State};

/// How many orders are named.
const SHOWN: usize = 5;

/// What it has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many streams of events were folded.
    pub folded: usize,
    /// The orders that were not the fold of their events, and are now.
    pub differed: Vec<OrderId>,
    /// The orders whose events cannot be folded, and why; they are as they were.
    pub broken: Vec<(OrderId, String)>,
}

/// A page, as the service answers it.
#[derive(Deserialize)]
struct Page {
    folded: usize,
    differed: Vec<OrderId>,
    broken: Vec<Broken>,
    next: Option<OrderId>,
}

#[derive(Deserialize)]
struct Broken {
    order: OrderId,
    reason: String,
}

/// Folds every order anew, page by page, as the operator with this token. Orders go on meanwhile.
///
/// # Errors
/// [`ShopError::Rebuild`] if the service refuses or does not answer.
pub async fn rebuild(state: &State, operator: String) -> Result<Rebuilt, ShopError> {
    let (client, url) = (Client::new(), format!("{}/v1/orders/rebuild", state.url(Service::Order)));
    let failed = |error: reqwest::Error| ShopError::Rebuild { said: error.to_string() };
    let (mut rebuilt, mut next) = (Rebuilt::default(), url.clone());
    loop {
        let answer = client.post(&next).bearer_auth(&operator).send().await.map_err(failed)?;
        let page: Page = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
        rebuilt.folded += page.folded;
        rebuilt.differed.extend(page.differed);
        rebuilt.broken.extend(page.broken.into_iter().map(|one| (one.order, one.reason)));
        let Some(last) = page.next else { return Ok(rebuilt) };
        next = format!("{url}?after={last}");
    }
}

impl Rebuilt {
    /// Whether every order was the fold of its events.
    pub fn is_clean(&self) -> bool {
        self.differed.is_empty() && self.broken.is_empty()
    }
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folded, differed, broken } = self;
        write!(f, "{folded} orders are folded anew, {} differed", differed.len())?;
        for order in differed.iter().take(SHOWN) {
            write!(f, "\n  differed, and is mended: {order}")?;
        }
        for (order, reason) in broken.iter().take(SHOWN) {
            write!(f, "\n  cannot be folded, and is left as it was: {order}: {reason}")?;
        }
        Ok(())
    }
}
