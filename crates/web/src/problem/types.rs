//! The problems every API of the shop has. Those of one API alone stand in that service.

use crate::problem_types;

problem_types! {
    /// The request is wrong in a way that has no better name.
    pub BAD_REQUEST = "bad_request", BAD_REQUEST, "The request is not valid";

    /// The body is no JSON, or nested too deeply.
    pub MALFORMED_JSON = "malformed_json", BAD_REQUEST, "The body is not JSON";

    /// The body is JSON, but not what is asked for.
    pub INVALID_BODY = "invalid_body", UNPROCESSABLE_ENTITY, "The body does not fit";

    /// The body is larger than any valid one.
    pub BODY_TOO_LARGE = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";

    /// The body's type is missing or is not JSON.
    pub UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";

    /// A part of the path cannot be read.
    pub INVALID_PATH = "invalid_path", BAD_REQUEST, "The path is not valid";

    /// A parameter of the query is missing or cannot be read.
    pub INVALID_QUERY = "invalid_query", BAD_REQUEST, "The query is not valid";

    /// The request needs an `Idempotency-Key` and has none.
    pub IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing", BAD_REQUEST, "The idempotency key is missing";

    /// The `Idempotency-Key` is not one header of 1 to 255 visible ASCII characters.
    pub IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid", BAD_REQUEST, "The idempotency key is not valid";

    /// There is no token, or it is not valid.
    pub UNAUTHENTICATED = "unauthenticated", UNAUTHORIZED, "A valid token is needed";

    /// The principal is known and may not do this.
    pub FORBIDDEN = "forbidden", FORBIDDEN, "This is not allowed";

    /// Nothing is at this address, or nothing this principal may see.
    pub NOT_FOUND = "not_found", NOT_FOUND, "There is no such thing";

    /// The address is known, the method is not; `Allow` has those that are.
    pub METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";

    /// The thing is not as the client has seen it.
    pub PRECONDITION_FAILED = "precondition_failed", PRECONDITION_FAILED, "It has changed since";

    /// The thing exists, and the client does not say which state of it shall be changed.
    pub PRECONDITION_REQUIRED = "precondition_required", PRECONDITION_REQUIRED, "Say which state is to be changed";

    /// The handler did not answer in time. Whether it had an effect is not known.
    pub TIMED_OUT = "timed_out", SERVICE_UNAVAILABLE, "The answer took too long";

    /// The body came too slowly.
    pub BODY_TIMED_OUT = "body_timed_out", REQUEST_TIMEOUT, "The body came too slowly";

    /// This principal has asked too often.
    pub RATE_LIMITED = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";

    /// There is more to do than can be done.
    pub OVERLOADED = "overloaded", SERVICE_UNAVAILABLE, "The service has too much to do";

    /// Something the service needs is away.
    pub UNAVAILABLE = "unavailable", SERVICE_UNAVAILABLE, "The service is not available";

    /// The process lives but cannot serve yet.
    pub NOT_READY = "not_ready", SERVICE_UNAVAILABLE, "The service is not ready";

    /// Our fault.
    pub INTERNAL = "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
}
