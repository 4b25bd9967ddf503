//! What a request must pass before a handler works on it: its sender has not asked too often, its body is here, and there
//! is room. Whoever does not pass is told so at once, and costs next to nothing.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::HeaderMap,
};
use contracts::CustomerId;
use governor::{DefaultDirectRateLimiter, Quota};
use http_body_util::LengthLimitError;
use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    access::{Principal, Verifier, principal},
    limits::Limits,
    problem::{Problem, types},
    serve::turns::Turns,
};

/// How many customers are counted. Beyond it, who has not come for the longest time is forgotten; each takes some 200 bytes.
const COUNTED: u64 = 100_000;

/// Whoever finds no room shall come again so much later.
const COME_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The gate of one process. Clones are the same.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    limits: Limits,
    room: Arc<Semaphore>,
    rates: Option<Rates>,
}

/// How often each customer asks. Only who has a valid token is counted, so nobody can have others forgotten by inventing
/// some. Who has none gets no further than to what is open to all.
struct Rates {
    verifier: Verifier,
    quota: Quota,
    counted: Cache<CustomerId, Arc<DefaultDirectRateLimiter>>,
}

impl Gate {
    /// A gate that does not know who asks.
    pub fn new(limits: Limits) -> Self {
        Self::of(limits, None)
    }

    /// A gate that tells customers by their tokens.
    pub fn for_principals(limits: Limits, verifier: Verifier) -> Self {
        let quota = Quota::per_second(limits.customer_requests_per_s).allow_burst(limits.customer_requests_burst);
        // The plain policy: one that prefers who comes often would not count who has just come.
        let counted = Cache::builder().max_capacity(COUNTED).eviction_policy(EvictionPolicy::lru()).build();
        Self::of(limits, Some(Rates { verifier, quota, counted }))
    }

    fn of(limits: Limits, rates: Option<Rates>) -> Self {
        let room = Arc::new(Semaphore::new(limits.requests_max as usize));
        Self(Arc::new(Inner { limits, room, rates }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Lets the request pass, with its body read: whoever sends slowly keeps no room from others. The room that it takes
    /// is free again when the permit is dropped.
    pub(crate) async fn pass(&self, request: Request) -> Result<(Request, OwnedSemaphorePermit), Problem> {
        if let Some(rates) = &self.0.rates {
            rates.count(request.headers())?;
        }
        let request = self.whole(request).await?;
        let permit = Arc::clone(&self.0.room).try_acquire_owned().map_err(|_| no_room())?;
        Ok((request, permit))
    }

    async fn whole(&self, request: Request) -> Result<Request, Problem> {
        if request.body().is_end_stream() {
            return Ok(request);
        }
        let limit = self.limits().body_max_bytes as usize;
        let (parts, body) = request.into_parts();
        // Its sender may be hung up on meanwhile, if its connection is needed for another: nothing is done yet.
        let _waits = parts.extensions.get::<Turns>().map(Turns::await_body);
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let body = match timeout(self.limits().body_timeout(), to_bytes(body, limit)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
                return Err(too_large(limit));
            }
            Ok(Err(_)) => return Err(Problem::of(&types::BAD_REQUEST, "The body could not be read to its end.")),
            Err(_) => return Err(Problem::of(&types::BODY_TIMED_OUT, "Send the body without pauses.")),
        };
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

impl Rates {
    fn count(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(Principal::Customer(customer)) = principal(headers, &self.verifier) else { return Ok(()) };
        let limiter = self.counted.get_with(customer, || Arc::new(DefaultDirectRateLimiter::direct(self.quota)));
        limiter.check().map_err(|early| {
            let after = early.wait_time_from(governor::clock::Clock::now(limiter.clock()));
            Problem::of(&types::RATE_LIMITED, "Come again later, and less often.").with_retry_after(after)
        })
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::of(&types::BODY_TOO_LARGE, format_args!("A body has at most {limit} bytes."))
}

fn no_room() -> Problem {
    Problem::of(&types::OVERLOADED, "Too many requests are in work. Nothing was done about this one.")
        .with_retry_after(COME_AGAIN_AFTER)
}

/// The gate of the default limits, which does not know who asks.
impl Default for Gate {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.0.limits).finish()
    }
}
