//! Who may see what is measured.

use std::time::Duration;

use axum::{Router, body::Body, body::to_bytes, http::Request};
use contracts::CustomerId;
use tower::ServiceExt as _;
use web::access::{Principal, Signer, Verifier, generate_keys};

use crate::call;

#[tokio::test]
async fn only_operators_see_what_is_measured() {
    let (private_pem, public_pem) = generate_keys();
    let signer = Signer::from_pem(&private_pem).unwrap();
    let router =
        web::metrics::routes(Verifier::from_pem(&public_pem).unwrap(), || "orders_placed_total 7\n".to_owned());
    let request = |principal: Option<Principal>| {
        let request = Request::get("/metrics");
        let token = principal.map(|principal| signer.sign(&principal, Duration::from_secs(60)));
        let request =
            token.iter().fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        request.body(Body::empty()).unwrap()
    };
    call(&router, request(None)).await.is_problem(401, "unauthenticated");
    call(&router, request(Some(Principal::Customer(CustomerId::mint())))).await.is_problem(403, "forbidden");
    let answer = Router::oneshot(router, request(Some(Principal::Operator))).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(to_bytes(answer.into_body(), 1000).await.unwrap(), "orders_placed_total 7\n");
}
