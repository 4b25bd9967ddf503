//! What an API says of itself, for programs and for people.

use axum::{Router, body::Body, http::Request};
use tower::ServiceExt;
use utoipa_axum::routes;
use web::{extract::Json, openapi, page::List};

use crate::call;

web::problem_types! {
    /// There are no more.
    pub(crate) NO_NUMBER = "no_number", NOT_FOUND, "There is no such number";
}

/// Lists numbers.
#[utoipa::path(get, path = "/numbers", responses((status = 200, description = "Numbers.", body = List<u32>)))]
async fn numbers() -> Json<List<u32>> {
    Json(List { data: vec![7], has_more: false, next_cursor: None })
}

fn router() -> Router {
    let (router, document) = openapi::split(openapi::api("Numbers", "For a test.", ALL).routes(routes!(numbers)));
    router.merge(openapi::routes(document))
}

#[tokio::test]
async fn what_is_routed_is_described_and_may_answer_with_a_problem() {
    let answer = call(&router(), Request::get("/numbers").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.body["data"][0], 7);
    let description = call(&router(), Request::get("/openapi.json").body(Body::empty()).unwrap()).await.body;
    let operation = &description["paths"]["/numbers"]["get"];
    assert_eq!((&operation["summary"], &operation["operationId"]), (&"Lists numbers.".into(), &"get_numbers".into()));
    assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem");
    let problem = &description["components"]["responses"]["Problem"]["content"]["application/problem+json"]["schema"];
    assert_eq!(problem["$ref"], "#/components/schemas/Problem");
    let schema = &description["components"]["schemas"]["Problem"];
    for member in ["type", "title", "status", "detail", "code", "trace_id"] {
        assert!(schema["required"].as_array().unwrap().contains(&member.into()), "{member}: {schema}");
    }
    assert!(!schema["required"].as_array().unwrap().contains(&"errors".into()), "{schema}");
    assert_eq!(schema["properties"]["code"]["$ref"], "#/components/schemas/ProblemCode");
    let codes = description["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap();
    for code in ["no_number", "internal", "rate_limited"] {
        assert!(codes.contains(&code.into()), "{code}: {codes:?}");
    }
    let headers = &description["components"]["responses"]["Problem"]["headers"];
    assert_eq!(headers["Retry-After"]["schema"]["type"], "integer");
    assert_eq!(headers["WWW-Authenticate"]["schema"]["type"], "string");
    assert_eq!(headers["Allow"]["schema"]["type"], "string");
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

/// The page and all that it needs come from the program: nothing is fetched from elsewhere.
#[tokio::test]
async fn people_see_a_page() {
    for (path, media_type) in [("/docs/", "text/html"), ("/docs/swagger-ui-bundle.js", "text/javascript")] {
        let response = router().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(media_type), "{path}: {response:?}");
        let page = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(page.len() > 300, "{path}");
        if media_type == "text/html" {
            assert!(!String::from_utf8_lossy(&page).contains("://"), "it points elsewhere");
        }
    }
}
