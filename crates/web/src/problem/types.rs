//! The problems every API of the shop has. Those of one API alone stand in that service.

use axum::http::StatusCode;

use super::ProblemType;

const fn of(slug: &'static str, status: StatusCode, title: &'static str) -> ProblemType {
    ProblemType { slug, status, title }
}

/// The request is wrong in a way that has no better name.
pub static BAD_REQUEST: ProblemType = of("bad_request", StatusCode::BAD_REQUEST, "The request is not valid");

/// The body is no JSON, or nested too deeply.
pub static MALFORMED_JSON: ProblemType = of("malformed_json", StatusCode::BAD_REQUEST, "The body is not JSON");

/// The body is JSON, but not what is asked for.
pub static INVALID_BODY: ProblemType = of("invalid_body", StatusCode::UNPROCESSABLE_ENTITY, "The body does not fit");

/// The body is larger than any valid one.
pub static BODY_TOO_LARGE: ProblemType = of("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large");

/// The body's type is missing or is not JSON.
pub static UNSUPPORTED_MEDIA_TYPE: ProblemType =
    of("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON");

/// A part of the path cannot be read.
pub static INVALID_PATH: ProblemType = of("invalid_path", StatusCode::BAD_REQUEST, "The path is not valid");

/// A parameter of the query is missing or cannot be read.
pub static INVALID_QUERY: ProblemType = of("invalid_query", StatusCode::BAD_REQUEST, "The query is not valid");

/// The request needs an `Idempotency-Key` and has none.
pub static IDEMPOTENCY_KEY_MISSING: ProblemType =
    of("idempotency_key_missing", StatusCode::BAD_REQUEST, "The idempotency key is missing");

/// The `Idempotency-Key` is not one header of 1 to 255 visible ASCII characters.
pub static IDEMPOTENCY_KEY_INVALID: ProblemType =
    of("idempotency_key_invalid", StatusCode::BAD_REQUEST, "The idempotency key is not valid");

/// There is no token, or it is not valid.
pub static UNAUTHENTICATED: ProblemType = of("unauthenticated", StatusCode::UNAUTHORIZED, "A valid token is needed");

/// The principal is known and may not do this.
pub static FORBIDDEN: ProblemType = of("forbidden", StatusCode::FORBIDDEN, "This is not allowed");

/// Nothing is at this address, or nothing this principal may see.
pub static NOT_FOUND: ProblemType = of("not_found", StatusCode::NOT_FOUND, "There is no such thing");

/// The address is known, the method is not; `Allow` has those that are.
pub static METHOD_NOT_ALLOWED: ProblemType =
    of("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed here");

/// The thing is not as the client has seen it.
pub static PRECONDITION_FAILED: ProblemType =
    of("precondition_failed", StatusCode::PRECONDITION_FAILED, "It has changed since");

/// The thing exists, and the client does not say which state of it shall be changed.
pub static PRECONDITION_REQUIRED: ProblemType =
    of("precondition_required", StatusCode::PRECONDITION_REQUIRED, "Say which state is to be changed");

/// The handler did not answer in time. Whether it had an effect is not known.
pub static TIMED_OUT: ProblemType = of("timed_out", StatusCode::SERVICE_UNAVAILABLE, "The answer took too long");

/// The body came too slowly.
pub static BODY_TIMED_OUT: ProblemType = of("body_timed_out", StatusCode::REQUEST_TIMEOUT, "The body came too slowly");

/// This principal has asked too often.
pub static RATE_LIMITED: ProblemType = of("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests");

/// There is more to do than can be done.
pub static OVERLOADED: ProblemType =
    of("overloaded", StatusCode::SERVICE_UNAVAILABLE, "The service has too much to do");

/// Something the service needs is away.
pub static UNAVAILABLE: ProblemType =
    of("unavailable", StatusCode::SERVICE_UNAVAILABLE, "The service is not available");

/// The process lives but cannot serve yet.
pub static NOT_READY: ProblemType = of("not_ready", StatusCode::SERVICE_UNAVAILABLE, "The service is not ready");

/// Our fault.
pub static INTERNAL: ProblemType =
    of("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side");
