//! The description of an API (OpenAPI 3.1), made from its handlers, and the page that shows it.
//!
//! A handler says what it takes, and what it gives when all is well. What it answers otherwise is the same for all and is
//! said once, here: a [`Problem`](crate::problem::Problem).

use std::collections::BTreeSet;

use axum::Router;
use utoipa::{
    IntoParams, PartialSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref,
        RefOr, Required, Response, ResponseBuilder, SecurityRequirement, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        schema::{AllOfBuilder, Schema, SchemaType},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    condition::Condition,
    extract::{IdempotencyKey, Prefer},
    page::{Limit, Page},
    problem::{Body, CODE, FieldError, MEDIA_TYPE, ProblemType, types},
};

/// How an API is called that needs a token: all do whose operation does not say otherwise.
const TOKEN: &str = "token";
/// The name of the answer that is no success.
const PROBLEM: &str = "Problem";

/// The routes of the API called `title`, none yet; those that are added are described as well. Of its own it answers with
/// `problems`.
pub fn api<S: Clone + Send + Sync + 'static>(
    title: &str,
    description: &str,
    problems: &[&ProblemType],
) -> OpenApiRouter<S> {
    let description = format!("{description} What the services say to each other is shown by `cargo shop topics`.");
    let info = InfoBuilder::new().title(title).version("1").description(Some(description)).build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new()
        .schema(PROBLEM, Body::schema())
        .schema("FieldError", FieldError::schema())
        .schema(CODE, codes(problems))
        .response(PROBLEM, problem())
        .security_scheme(TOKEN, SecurityScheme::Http(bearer))
        .build();
    let document = OpenApiBuilder::new().info(info).components(Some(components));
    let needs_token = SecurityRequirement::new(TOKEN, [] as [&str; 0]);
    OpenApiRouter::with_openapi(document.security(Some([needs_token])).build())
}

/// Those of `problems`, and those every API has.
fn codes(problems: &[&ProblemType]) -> Schema {
    let codes: BTreeSet<_> = problems.iter().chain(types::ALL).map(|problem| problem.slug).collect();
    let codes = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
    codes.description(Some("What a program decides by: it never changes its meaning.")).into()
}

fn problem() -> Response {
    let header = |r#type, description: &str| {
        let schema = ObjectBuilder::new().schema_type(r#type).build();
        HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM))).build();
    ResponseBuilder::new()
        .description("Why not. Decide by `code`.")
        .header("Retry-After", header(Type::Integer, "When to ask again, if that may help. Unit: seconds."))
        .header("Allow", header(Type::String, "The methods that are known at this address, beside the status 405."))
        .header("WWW-Authenticate", header(Type::String, "How to say who is asking, beside the status 401."))
        .content(MEDIA_TYPE, content)
        .build()
}

/// The router of `api`, and its description, in which each operation may answer with a problem.
pub fn split<S: Clone + Send + Sync + 'static>(api: OpenApiRouter<S>) -> (Router<S>, OpenApi) {
    let (router, mut document) = api.split_for_parts();
    for (route, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let problem = RefOr::Ref(Ref::from_response_name(PROBLEM));
            operation.responses.responses.insert("default".to_owned(), problem);
            // The names of handlers are those of their modules; across the API they would not be unique.
            operation.operation_id = Some(name(method, route));
        }
    }
    (router, document)
}

/// `document` for programs at `/openapi.json`, and for people at `/docs`. Open to everybody, for the code is.
pub fn routes<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    SwaggerUi::new("/docs").url("/openapi.json", document).into()
}

/// One of these words, for the schema of a field.
pub fn words<const N: usize>(words: [&'static str; N]) -> RefOr<Schema> {
    Schema::from(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))).into()
}

/// Money of which there are so many minor units, for the schema of a field.
pub fn money(least: i64, most: i64, description: &str) -> RefOr<Schema> {
    let any = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    let within = any().property("amount", any().minimum(Some(least)).maximum(Some(most)));
    let money = AllOfBuilder::new().item(Ref::from_schema_name("Money")).item(within);
    money.description(Some(description)).into()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete), ("patch", patch)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// `get_orders_id_events` for `GET /v1/orders/{id}/events`: no other operation has that name.
fn name(method: &str, route: &str) -> String {
    let words = route.split(['/', '{', '}']).filter(|word| !word.is_empty() && *word != "v1");
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

fn header(name: &str, required: Required, description: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(required);
    header.description(Some(description)).schema(Some(text)).build()
}

impl<K> IntoParams for Page<K> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name: &str, description: &str, schema: RefOr<Schema>| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).description(Some(description)).schema(Some(schema)).build()
        };
        let cursor = ObjectBuilder::new().schema_type(Type::String);
        let cursor = Schema::from(cursor.min_length(Some(1)).pattern(Some("^[A-Za-z0-9_-]+$")));
        vec![
            parameter("limit", "The most entries on the page.", Limit::schema()),
            parameter("cursor", "The `next_cursor` of the page before.", cursor.into()),
        ]
    }
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.min_length(Some(1)).max_length(Some(Self::MAX_LEN)).pattern(Some("^[!-~]+$")).build();
        let key = ParameterBuilder::new().name("Idempotency-Key").parameter_in(ParameterIn::Header);
        let description = "Names the request: repeated with the same key it has no second effect, and gets the first \
                           answer with `Idempotency-Replayed: true`. Another request with the same key is refused.";
        vec![key.required(Required::True).description(Some(description)).schema(Some(text)).build()]
    }
}

impl IntoParams for Prefer {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "`wait=N`: answer once the outcome is known, or after N seconds, 30 at most.";
        vec![header("Prefer", Required::False, description)]
    }
}

impl IntoParams for Condition {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            header("If-Match", Required::False, "The `ETag` of the state that is to be changed."),
            header("If-None-Match", Required::False, "The `ETag` of the state that the client has."),
        ]
    }
}
