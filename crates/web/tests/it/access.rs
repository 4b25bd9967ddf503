//! Who gets in: the matrix of tokens.

use std::time::Duration;

use axum::{Router, body::Body, extract::FromRef, http::Request, routing::get};
use contracts::CustomerId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use web::{
    access::{Operator, Principal, Signer, Verifier, generate_keys},
    extract::Json,
};

use crate::{Answer, call};

const HOUR: Duration = Duration::from_secs(3600);

/// A shop whose private key is known.
struct Shop {
    private_pem: String,
    public_pem: String,
    router: Router,
}

#[derive(Clone)]
struct App {
    verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

fn shop() -> Shop {
    let (private_pem, public_pem) = generate_keys();
    let verifier = Verifier::from_pem(&public_pem).unwrap();
    let router = Router::new()
        .route("/me", get(async |principal: Principal| Json(format!("{principal:?}"))))
        .route("/desk", get(async |_: Operator| Json("operator")))
        .with_state(App { verifier });
    Shop { private_pem, public_pem, router }
}

impl Shop {
    async fn get(&self, uri: &str, authorization: &[&str]) -> Answer {
        let request =
            authorization.iter().fold(Request::get(uri), |request, value| request.header("authorization", *value));
        call(&self.router, request.body(Body::empty()).unwrap()).await
    }

    async fn with_token(&self, token: &str) -> Answer {
        self.get("/me", &[&format!("Bearer {token}")]).await
    }

    fn signer(&self) -> Signer {
        Signer::from_pem(&self.private_pem).unwrap()
    }

    /// A token with these claims and a good signature.
    fn signed(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &EncodingKey::from_ed_pem(self.private_pem.as_bytes()).unwrap()).unwrap()
    }
}

fn eddsa() -> Header {
    Header::new(Algorithm::EdDSA)
}

/// Claims of an operator that are right in every respect.
fn right() -> Value {
    json!({"iss": "ironmonger", "aud": "ironmonger", "sub": "operator", "role": "operator", "exp": 4_000_000_000_i64})
}

/// [`right`], with one claim changed; `null` takes it away.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = right();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(claim)
    } else {
        map.insert(claim.to_owned(), value)
    };
    claims
}

#[track_caller]
fn is_refused(answer: &Answer) {
    answer.is_problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(answer.detail(), "Send a valid token: `Authorization: Bearer <token>`.", "no reason is shown");
}

#[tokio::test]
async fn a_signed_principal_is_the_one_that_arrives() {
    let shop = shop();
    let customer = Principal::Customer(CustomerId::mint());
    for principal in [customer, Principal::Operator] {
        let token = shop.signer().sign(&principal, HOUR);
        for _fresh_then_remembered in 0..2 {
            assert_eq!(shop.with_token(&token).await.body, json!(format!("{principal:?}")));
        }
        assert_eq!(shop.get("/me", &[&format!("bearer  {token}")]).await.status, 200, "schemes have no case");
    }
}

#[tokio::test]
async fn the_desk_is_for_operators() {
    let shop = shop();
    let bearer = |principal| format!("Bearer {}", shop.signer().sign(&principal, HOUR));
    let operator = shop.get("/desk", &[&bearer(Principal::Operator)]).await;
    assert_eq!((operator.status.as_u16(), operator.body), (200, json!("operator")));
    shop.get("/desk", &[&bearer(Principal::Customer(CustomerId::mint()))]).await.is_problem(403, "forbidden");
    is_refused(&shop.get("/desk", &[]).await);
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let shop = shop();
    let token = shop.signer().sign(&Principal::Operator, HOUR);
    let bearer = format!("Bearer {token}");
    is_refused(&shop.get("/me", &[]).await);
    is_refused(&shop.get("/me", &[&bearer, &bearer]).await);
    let half = &token[..token.len() / 2];
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    let huge = "x".repeat(100 * 1024);
    let long = format!("{token}{huge}");
    for text in ["", "garbage", "a.b.c", "..", half, unsigned, &token[..token.len() - 1], &huge, &long] {
        is_refused(&shop.with_token(text).await);
    }
    for authorization in [token.as_str(), &format!("Basic {token}"), &format!("Bearer{token}"), "Bearer", ""] {
        is_refused(&shop.get("/me", &[authorization]).await);
    }
}

#[tokio::test]
async fn a_token_that_nobody_signed_is_refused() {
    let shop = shop();
    let token = shop.signer().sign(&Principal::Operator, HOUR);
    let parts: Vec<&str> = token.split('.').collect();
    let [_, claims, signature] = parts.as_slice() else { panic!("a token has three parts: {token}") };
    // {"typ":"JWT","alg":"none"}
    let none = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0";
    is_refused(&shop.with_token(&format!("{none}.{claims}.")).await);
    is_refused(&shop.with_token(&format!("{none}.{claims}.{signature}")).await);
    // The public key, known to everybody, taken for the secret of another algorithm.
    let der = pem_bytes(&shop.public_pem);
    for secret in [shop.public_pem.as_bytes(), shop.public_pem.trim().as_bytes(), &der, &der[der.len() - 32..]] {
        let forged = encode(&Header::new(Algorithm::HS256), &right(), &EncodingKey::from_secret(secret)).unwrap();
        is_refused(&shop.with_token(&forged).await);
    }
    let (other, _) = generate_keys();
    is_refused(&shop.with_token(&Signer::from_pem(&other).unwrap().sign(&Principal::Operator, HOUR)).await);
    // A good signature under other claims.
    let customer = shop.signer().sign(&Principal::Customer(CustomerId::mint()), HOUR);
    let (signed, _) = customer.rsplit_once('.').unwrap();
    is_refused(&shop.with_token(&format!("{signed}.{signature}")).await);
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    use ed25519_dalek::{
        VerifyingKey,
        pkcs8::{DecodePublicKey, EncodePublicKey},
    };
    VerifyingKey::from_public_key_pem(pem.trim()).unwrap().to_public_key_der().unwrap().into_vec()
}

#[tokio::test]
async fn a_good_signature_under_wrong_claims_is_refused() {
    let shop = shop();
    assert_eq!(shop.with_token(&shop.signed(&eddsa(), &right())).await.status, 200, "only one claim is wrong below");
    let customer_without_uuid = json!({"iss": "ironmonger", "aud": "ironmonger", "sub": "erika", "role": "customer",
        "exp": 4_000_000_000_i64});
    let mut cases = vec![
        with("aud", json!("another")),
        with("aud", json!(["another"])),
        with("iss", json!("another")),
        with("exp", json!(1_000_000_000)),
        with("exp", json!(-1)),
        with("exp", json!("4000000000")),
        with("nbf", json!(4_000_000_000_i64)),
        with("role", json!("admin")),
        with("role", json!("Operator")),
        with("role", json!(["operator"])),
        with("more", json!("x".repeat(8 * 1024))),
        customer_without_uuid,
    ];
    cases.extend(["aud", "iss", "exp", "sub", "role"].map(|claim| with(claim, Value::Null)));
    for claims in cases {
        let answer = shop.with_token(&shop.signed(&eddsa(), &claims)).await;
        assert_eq!(answer.status, 401, "{claims}");
        is_refused(&answer);
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let shop = shop();
    let id_token = Header { typ: Some("at+jwt".to_owned()), ..eddsa() };
    let untyped = Header { typ: None, ..eddsa() };
    let extended = Header { crit: Some(vec!["b64".to_owned()]), ..eddsa() };
    for header in [id_token, untyped, extended] {
        is_refused(&shop.with_token(&shop.signed(&header, &right())).await);
    }
}
