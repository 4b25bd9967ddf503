//! A body of JSON, in and out.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::{Path, Segment};

use crate::{
    problem::{FieldError, Problem, types},
    text::tamed,
};

/// A body of JSON: as an argument of a handler what came in, as its result what goes out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "State the type of the body: `Content-Type: application/json`.";
            return Err(Problem::of(&types::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        // The gate has read the body, and told whoever sent too much, too slowly, or not to the end.
        let body = Bytes::from_request(request, state).await.map_err(|error| Problem::internal(&error))?;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

/// `application/json`, or any type that says it is written in JSON (`application/...+json`).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => json.end().map(|()| value).map_err(|error| malformed(&error)),
        Err(error) => Err(refused(body, &error)),
    }
}

/// The reader stops at the first thing that is wrong, so a body that does not fit may, further on, be no JSON either.
/// That is the worse fault and the one to tell, wherever it stands.
fn refused(body: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(body) {
        return malformed(&error);
    }
    let place = FieldError::new(pointer(error.path()), tamed(&error.inner().to_string()));
    Problem::of(&types::INVALID_BODY, "The body is JSON, but not what is asked for here.").with_errors(vec![place])
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::of(&types::MALFORMED_JSON, tamed(&error.to_string()))
}

/// The path as a JSON pointer. Where the path is not known it ends early.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let step = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key: name } | Segment::Enum { variant: name } => name.replace('~', "~0").replace('/', "~1"),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&step);
    }
    tamed(&pointer)
}
