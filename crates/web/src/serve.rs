//! Serves a router within its limits: panics, timeouts and unknown routes become problems; ends when told to.

mod connection;
mod room;
pub(crate) mod turns;

use std::{any::Any, io, net::SocketAddr, panic::AssertUnwindSafe, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, error_span, info, warn};

use self::room::Room;
use crate::{
    gate::Gate,
    metrics,
    problem::{MEDIA_TYPE, Problem, ProblemType, types},
    trace::{
        Traceparent,
        span::{self, Span},
    },
};

/// How long requests may take to finish once the server is told to stop. Less than the tasks of a process get.
pub const GRACE: Duration = Duration::from_secs(8);

/// How long connections are still taken once the server is told to stop: whoever asks whether it is ready, and learns
/// that it no longer is, has time to send requests elsewhere.
pub const NOTICE: Duration = Duration::from_millis(500);

/// How many connections the system keeps for us until they are accepted. Whoever finds the queue full tries again after a
/// second, then two, then four: thousands who were hung up on at the same moment come again at the same moment. The system's
/// own limit (Linux: `net.core.somaxconn`, 4,096) holds besides.
const QUEUE: u32 = 4_096;

/// After an accept that failed for want of something, such as file descriptors, the next one has to wait.
const PAUSE: Duration = Duration::from_secs(1);

/// Answered whatever else is in work: whoever cannot see how a process is takes it for dead.
const ALWAYS_OPEN: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];

/// Listens on `address`.
///
/// # Errors
/// Such as that another program listens there.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A process that is started again takes the place of the one before, whose connections may not be forgotten yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Serves `router`, [guarded] by `gate`, until `stop` and for [`NOTICE`] after it; then takes no more connections and
/// finishes the requests at hand, until [`GRACE`] is over.
///
/// Beyond as many connections as may be open, further ones wait: they cost nothing in the system's queue, and are served as
/// soon as one of the others ends. To accept each and turn it away would cost more, just when there is least to spare, and
/// whoever is turned away comes again at once. What sees to it that others end are the timeouts, and while one waits we hang
/// up on those who have kept us waiting longest, for more than a second: for a request, the rest of its head or of its body,
/// or to read an answer, which is cut then. So no number of connections that say nothing, or half of something, keeps anybody
/// out, least of all whoever asks whether the process lives.
///
/// # Errors
/// If the listener is broken.
pub async fn serve(listener: TcpListener, router: Router, gate: Gate, stop: CancellationToken) -> io::Result<()> {
    info!(http.address = %listener.local_addr()?, "HTTP is served.");
    let limits = gate.limits().clone();
    let (router, closing) = (guarded(router, gate), CancellationToken::new());
    let room = Room::of(limits.connections_max as usize);
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let stream = accept(&listener).await;
            let seat = room.seat().await;
            let (router, limits, closing, open) =
                (router.clone(), limits.clone(), closing.clone(), metrics::connected());
            connections.spawn(async move {
                connection::serve(stream, router, limits, &seat, closing).await;
                drop((open, seat));
            });
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async { stop.cancelled().await; sleep(NOTICE).await } => {}
    }
    drop(listener);
    closing.cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE.saturating_sub(NOTICE), finished).await.is_err() {
        warn!("Some requests did not finish in time and are dropped.");
    }
    Ok(())
}

/// The next connection. What goes wrong with one is no reason to take no others.
async fn accept(listener: &TcpListener) -> TcpStream {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(gone) if matches!(gone.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(failure) => {
                error!(error = %failure, "No connection can be accepted for the moment.");
                sleep(PAUSE).await;
            }
        }
    }
}

/// `router` as it is served: every request passes `gate`, has a trace and a span, an end in time, and an answer; every answer that is
/// no success is a [`Problem`]. For tests, which call it without a socket.
pub fn guarded(router: Router, gate: Gate) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| guard(gate.clone(), request, next)))
}

async fn guard(gate: Gate, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("", MatchedPath::as_str);
    let (always_open, limit) = (ALWAYS_OPEN.contains(&route), gate.limits().request_timeout());
    let parent = Traceparent::of(request.headers());
    // Whoever asks how a process is asks so often that nothing else would be seen.
    let mut exported = match always_open {
        true => None,
        false => Span::begin(parent, || span::request(request.method(), route)),
    };
    let here = exported.as_ref().and_then(Span::here).or(parent).unwrap_or_else(Traceparent::mint);
    let span = error_span!("request", trace_id = %here.trace(), http.method = %request.method(), http.route = route);
    let answered = async {
        let start = Instant::now();
        let response = match always_open {
            true => answer(request, next, limit).await,
            false => match gate.pass(request).await {
                Ok((request, _room)) => answer(request, next, limit).await,
                Err(turned_away) => turned_away.into_response(),
            },
        };
        let (status, duration) = (response.status(), start.elapsed());
        metrics::answered(route, status, duration);
        if let Some(span) = &mut exported {
            span.answered(status);
        }
        // Below the default level, for under load one line per request costs more than the request.
        debug!(http.status = status.as_u16(), duration_ms = duration.as_millis(), "A request was answered.");
        response
    };
    here.scope(answered.instrument(span)).await
}

async fn answer(request: Request, next: Next, limit: Duration) -> Response {
    // A panic leaves nothing half-changed that a later request could see: what is shared is behind locks and pools.
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    match timeout(limit, handled).await {
        Ok(Ok(response)) => as_problem(response),
        Ok(Err(panic)) => Problem::internal(&Panicked(panic_text(panic.as_ref()).to_owned())).into_response(),
        Err(_) => timed_out(limit).into_response(),
    }
}

fn timed_out(limit: Duration) -> Problem {
    warn!(timeout_ms = limit.as_millis(), "A request took too long and was given up.");
    Problem::of(&types::TIMED_OUT, "The answer took too long. Whether the request had an effect is not known.")
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

/// What a panic was raised with.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// A failure that came from the framework, not from us, becomes a problem and keeps its headers, such as `Allow`.
fn as_problem(response: Response) -> Response {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let is_ours = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE);
    if !failed || is_ours {
        return response;
    }
    let mut answer = of_status(response.status()).into_response();
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn of_status(status: StatusCode) -> Problem {
    if status.is_server_error() {
        return Problem::internal(&Foreign(status));
    }
    let kind: &'static ProblemType = match status {
        StatusCode::NOT_FOUND => &types::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED => &types::METHOD_NOT_ALLOWED,
        StatusCode::PAYLOAD_TOO_LARGE => &types::BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &types::UNSUPPORTED_MEDIA_TYPE,
        _ => &types::BAD_REQUEST,
    };
    Problem::of(kind, format_args!("{}.", kind.title))
}

#[derive(Debug, thiserror::Error)]
#[error("the framework answered {0}")]
struct Foreign(StatusCode);
