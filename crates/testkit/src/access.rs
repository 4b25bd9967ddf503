//! Who gets in: every operation of an API, called by everybody who should not.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header::AUTHORIZATION},
};
use contracts::CustomerId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tower::ServiceExt;
use web::access::{Principal, Signer, generate_keys};

/// One operation of an API.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its route, as the router has it.
    pub route: &'static str,
    /// Its path, with what is there in place of the parameters.
    pub path: String,
    /// What is sent; empty for nothing.
    pub body: String,
    /// Who may.
    pub who: Who,
    /// What whoever may is answered.
    pub status: u16,
}

/// Who may call an operation. Everybody else is refused, each in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody: it has nothing to hide.
    Everybody,
    /// Who signs the body with a secret; tokens count for nothing.
    Signer,
    /// Whoever has a token.
    Principals,
    /// Customers, but no operator.
    Customers,
    /// This customer, and operators. To all others it is as if there were no such thing.
    Owner(CustomerId),
    /// Operators.
    Operators,
}

/// An API, and the private key that its tokens are signed with.
#[derive(Debug)]
pub struct Doors<'a> {
    /// The API, as it is served.
    pub router: Router,
    /// The key, in PEM.
    pub private_pem: &'a str,
}

/// What came back.
type Answer = (u16, Value);

impl Doors<'_> {
    /// Calls each operation with every token that is none, and with the good tokens of all who may not.
    ///
    /// # Panics
    /// If somebody gets in, or is refused in another way than is promised.
    pub async fn keep_out(&self, operations: &[Operation]) {
        let stranger = Principal::Customer(CustomerId::mint());
        for operation in operations {
            let what = format!("{} {}", operation.method, operation.route);
            for (name, token) in self.bad_tokens(operation.who) {
                let (status, body) = self.call(operation, token.as_deref()).await;
                let expected = match operation.who {
                    Who::Everybody => (operation.status, None),
                    Who::Signer => (401, Some("invalid_signature")),
                    Who::Principals | Who::Customers | Who::Owner(_) | Who::Operators => (401, Some("unauthenticated")),
                };
                assert_eq!((status, body["code"].as_str()), expected, "{what} with {name}: {body}");
            }
            let refused = match operation.who {
                Who::Everybody | Who::Signer | Who::Principals => continue,
                Who::Customers => (Principal::Operator, 403),
                Who::Owner(_) => (stranger, 404),
                Who::Operators => (stranger, 403),
            };
            let (principal, expected) = refused;
            let (status, body) = self.call(operation, Some(&self.token(&principal))).await;
            assert_eq!(status, expected, "{what} as {principal:?}: {body}");
        }
    }

    /// Calls each operation as somebody who may, one after the other.
    ///
    /// # Panics
    /// If it is answered otherwise than it says.
    pub async fn let_in(&self, operations: &[Operation]) {
        for operation in operations {
            let (status, body) = self.call(operation, self.token_of(operation.who).as_deref()).await;
            let who = operation.who;
            assert_eq!(status, operation.status, "{} {} as {who:?}: {body}", operation.method, operation.path);
        }
    }

    /// Checks that `operations` are all there are: each is routed, and no route has a method more.
    ///
    /// # Panics
    /// If one is missing, on either side.
    pub async fn are_all(&self, operations: &[Operation]) {
        let listed: BTreeSet<&str> = operations.iter().map(|operation| operation.route).collect();
        let routed = routes(&self.router);
        assert!(!routed.is_empty(), "the routes cannot be read from the router");
        let routed: BTreeSet<&str> = routed.iter().map(String::as_str).collect();
        assert_eq!(listed, routed, "what is listed, and what is routed");
        for route in listed {
            let of_route: Vec<&Operation> = operations.iter().filter(|operation| operation.route == route).collect();
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let is_listed = of_route.iter().any(|operation| operation.method == method);
                let probe = Operation { method, body: String::new(), ..of_route[0].clone() };
                let (status, _) = self.call(&probe, None).await;
                let is_routed = status != StatusCode::METHOD_NOT_ALLOWED.as_u16();
                assert_eq!(is_listed, is_routed, "{} {route}: listed, routed", probe.method);
            }
        }
    }

    /// Checks that `operations` are what the API says of itself at `/openapi.json`, no less and no more, and that whoever
    /// reads that finds everything it speaks of.
    ///
    /// # Panics
    /// If it says something else.
    pub async fn are_described(&self, operations: &[Operation]) {
        let description = self.description().await;
        let version = description["openapi"].as_str().unwrap_or_default();
        assert!(version.starts_with("3.1."), "{version}");
        let (mut described, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (route, item) in description["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                described.insert((route.as_str(), method.to_uppercase()));
                let what = format!("{method} {route}");
                assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{what} says nothing");
                let name = operation["operationId"].as_str().unwrap_or_default();
                assert!(!name.is_empty() && names.insert(name), "{what}: another operation is called {name:?}, too");
                let default = &operation["responses"]["default"]["$ref"];
                assert_eq!(default, "#/components/responses/Problem", "{what}");
                let successes = operation["responses"].as_object().into_iter().flatten();
                assert!(successes.clone().any(|(status, _)| status.starts_with('2')), "{what} never succeeds");
                let mine =
                    operations.iter().find(|one| one.route == route && one.method.as_str() == method.to_uppercase());
                let is_open = mine.is_some_and(|one| matches!(one.who, Who::Everybody | Who::Signer));
                assert_eq!(operation["security"] == json!([{}]), is_open, "{what}: whether a token is needed");
            }
        }
        let listed: BTreeSet<_> = operations.iter().map(|one| (one.route, one.method.to_string())).collect();
        assert_eq!(described, listed, "what is described, and what is listed");
        let mut references = Vec::new();
        collect_references(&description, &mut references);
        assert!(references.len() > operations.len(), "{references:?}");
        for reference in references {
            let place = reference.trim_start_matches('#');
            assert!(description.pointer(place).is_some(), "{reference} is nowhere");
        }
    }

    /// What the API says of itself.
    pub(crate) async fn description(&self) -> Value {
        let (method, route, path) = (Method::GET, "/openapi.json", "/openapi.json".to_owned());
        let operation = Operation { method, route, path, body: String::new(), who: Who::Everybody, status: 200 };
        let (status, description) = self.call(&operation, None).await;
        assert_eq!(status, operation.status, "{description}");
        description
    }

    pub(crate) async fn call(&self, operation: &Operation, token: Option<&str>) -> Answer {
        let request = Request::builder().method(&operation.method).uri(&operation.path);
        let request = request.header("content-type", "application/json").header("idempotency-key", "key");
        let request =
            token.iter().fold(request, |request, token| request.header(AUTHORIZATION, format!("Bearer {token}")));
        let request = request.body(Body::from(operation.body.clone())).expect("a request of plain text");
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body that is there");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A token of somebody who may; none if none is needed.
    pub(crate) fn token_of(&self, who: Who) -> Option<String> {
        let principal = match who {
            Who::Everybody | Who::Signer => return None,
            Who::Principals | Who::Customers => Principal::Customer(CustomerId::mint()),
            Who::Owner(customer) => Principal::Customer(customer),
            Who::Operators => Principal::Operator,
        };
        Some(self.token(&principal))
    }

    fn token(&self, principal: &Principal) -> String {
        let signer = Signer::from_pem(self.private_pem).expect("the key of the test");
        signer.sign(principal, Duration::from_secs(600))
    }

    /// Everything that is no token, as near as can be to one that would open the door.
    fn bad_tokens(&self, who: Who) -> Vec<(&'static str, Option<String>)> {
        let (sub, role) = match who {
            Who::Owner(customer) => (customer.to_string(), "customer"),
            Who::Customers => (CustomerId::mint().to_string(), "customer"),
            Who::Everybody | Who::Signer | Who::Principals | Who::Operators => ("operator".to_owned(), "operator"),
        };
        let right = json!({ "iss": "ironmonger", "aud": "ironmonger", "sub": sub, "role": role,
                            "iat": 1_700_000_000, "exp": 4_000_000_000_u64 });
        let with = |claim: &str, value: Value| {
            let mut claims = right.clone();
            claims[claim] = value;
            self.sign(&claims, self.private_pem)
        };
        let good = self.sign(&right, self.private_pem);
        let mut parts = good.split('.').skip(1);
        let (claims, signature) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // {"typ":"JWT","alg":"none"}
        let none = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0";
        vec![
            ("no token", None),
            ("an empty token", Some(String::new())),
            ("garbage", Some("garbage".to_owned())),
            ("an expired token", Some(with("exp", json!(1_700_000_001)))),
            ("a token that is not valid yet", Some(with("nbf", json!(4_000_000_000_u64)))),
            ("a token for others", Some(with("aud", json!("another")))),
            ("a token of others", Some(with("iss", json!("another")))),
            ("a role that is none", Some(with("role", json!("admin")))),
            ("alg none", Some(format!("{none}.{claims}."))),
            ("alg none, and a signature", Some(format!("{none}.{claims}.{signature}"))),
            ("another's key", Some(self.sign(&right, &generate_keys().0))),
        ]
    }

    fn sign(&self, claims: &Value, private_pem: &str) -> String {
        let key = EncodingKey::from_ed_pem(private_pem.as_bytes()).expect("the key of the test");
        encode(&Header::new(Algorithm::EdDSA), claims, &key).expect("plain claims")
    }
}

fn collect_references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The routes of a router: axum tells them in its `Debug` only.
fn routes(router: &Router) -> BTreeSet<String> {
    format!("{router:?}")
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("/v1/"))
        .map(str::to_owned)
        .collect()
}
