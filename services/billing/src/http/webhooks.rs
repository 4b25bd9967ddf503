//! What the payment provider says unasked.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use web::problem::Problem;

use super::Api;
use crate::problem;
use crate::provider::ProviderKey;
use crate::store::intents;
use crate::webhook::{Body, Refused};

/// Takes in a hint that something is decided: the provider is asked about it now. What is not about an open intent
/// changes nothing, and the provider need not send it again.
#[utoipa::path(
    post,
    path = "/v1/provider/webhooks",
    params(("webhook-id" = String, Header, description = "Names the webhook, however often it is sent."),
           ("webhook-timestamp" = i64, Header, description = "When it was sent. Unit: seconds since 1970."),
           ("webhook-signature" = String, Header, description = "That of Standard Webhooks.")),
    request_body(content = Body, content_type = "application/json", description = "Signed as Standard Webhooks say.",
                 example = json!({ "type": "operation.decided", "data": { "key": "what the provider knows it by" } })),
    responses((status = 204, description = "It is heard.")),
    security(())
)]
pub(super) async fn receive(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Problem> {
    let webhooks = api.webhooks.as_ref().ok_or_else(problem::no_webhooks)?;
    let hint = webhooks.read(&headers, &body).map_err(|refused| {
        if let Refused::Signature(error) = &refused {
            tracing::warn!(%error, "A webhook was refused: nobody vouches for it.");
        }
        problem::webhook(&refused)
    })?;
    let key = hint.key.as_deref().and_then(ProviderKey::parts).filter(|_| !webhooks.knows(&hint.id));
    if let Some((order, operation, attempt)) = key {
        let due = intents::due_now(&api.pool, order, operation, attempt).await.map_err(problem::store)?;
        if due {
            tracing::info!(order.id = %order, operation, "The provider has decided, says a webhook; it is asked now.");
            api.desk.look_now();
        }
    }
    webhooks.remember(hint.id);
    Ok(StatusCode::NO_CONTENT)
}
