//! One connection: how long it may keep us waiting, and how it ends.
//!
//! hyper has one timeout, for the head of a request, and lets it run while a connection idles; so a short one hangs up on
//! well-behaved clients, and a long one waits for the others. Here each wait has its own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use tokio_util::{io::InspectReader, sync::CancellationToken};
use tower::ServiceExt;
use tracing::debug;

use super::room::Seat;
use crate::{limits::Limits, metrics};

/// Once the server ends, a head that has begun must be complete within this time.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// Serves the requests of one connection until it ends; once `closing`, no further ones. Hangs up when its `seat` is needed
/// for another and nothing is in work.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, seat: &Seat, closing: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "A connection keeps its delay.");
    }
    let turns = seat.turns.clone();
    let answer = {
        let turns = turns.clone();
        service_fn(move |request: Request<Incoming>| {
            let (router, ours) = (router.clone(), turns.begin());
            async move {
                let answer = router.oneshot(request.map(Body::new)).await;
                drop(ours);
                answer
            }
        })
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(limits.header_max_bytes as usize);
    let stream = {
        let turns = turns.clone();
        InspectReader::new(stream, move |bytes| turns.heard(bytes))
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let mut patience = Patience::new(turns.clone(), &limits);
    let ended = tokio::select! {
        // What is here already is read before anything else.
        biased;
        ended = patience.with(connection.as_mut()) => ended,
        () = seat.needed.cancelled() => {
            if !is_ours(turns.count()) {
                return metrics::hung_up("room");
            }
            connection.as_mut().graceful_shutdown();
            patience.with(connection.as_mut()).await
        }
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    biased;
                    ended = patience.with(connection.as_mut()) => break ended,
                    () = sleep(LAST_HEAD) => if !is_ours(turns.count()) { return },
                }
            }
        }
    };
    if let Some(Err(error)) = ended {
        debug!(%error, "A connection ended before its time.");
    }
}

/// Whose turn it is: the client's while the number is even, then ours, then the client's again.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Turn>);

#[derive(Debug)]
struct Turn {
    number: AtomicU64,
    /// Whether the client has sent something since its turn began.
    has_begun: AtomicBool,
    /// When the first turn began.
    first: Instant,
    /// When this one did: milliseconds since the first.
    since: AtomicU64,
}

impl Default for Turns {
    fn default() -> Self {
        let (number, has_begun, since) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Self(Arc::new(Turn { number, has_begun, first: Instant::now(), since }))
    }
}

/// Our turn, until it is dropped.
struct Ours(Turns);

impl Turns {
    fn begin(&self) -> Ours {
        self.next();
        Ours(self.clone())
    }

    fn next(&self) {
        self.0.since.store(self.since_first(), Ordering::Relaxed);
        self.0.has_begun.store(false, Ordering::Relaxed);
        self.0.number.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.0.number.load(Ordering::Acquire)
    }

    /// For how long its client keeps us waiting, for the rest of a head or with nothing; `None` if it is our turn.
    pub(super) fn client_silent_for(&self) -> Option<Duration> {
        let since = self.0.since.load(Ordering::Relaxed);
        let waited = Duration::from_millis(self.since_first().saturating_sub(since));
        (!is_ours(self.count())).then_some(waited)
    }

    fn since_first(&self) -> u64 {
        u64::try_from(self.0.first.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The client has sent something.
    fn heard(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.has_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the client has sent something since its turn began.
    fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.next();
    }
}

fn is_ours(turn: u64) -> bool {
    turn % 2 == 1
}

/// What is waited for while it is the client's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The rest of a head, or the first of all.
    Head,
    /// The next request, or that the answer to the last is read.
    Next,
}

/// Waits for a client, but not for ever.
struct Patience {
    turns: Turns,
    header_timeout: Duration,
    idle_timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// What `timer` is set for.
    since: (u64, Awaited),
}

impl Patience {
    fn new(turns: Turns, limits: &Limits) -> Self {
        let (header_timeout, idle_timeout) = (limits.header_timeout(), limits.idle_timeout());
        let (timer, since) = (Box::pin(sleep(header_timeout)), (turns.count(), Awaited::Head));
        Self { turns, header_timeout, idle_timeout, timer, since }
    }

    /// How the connection ended; `None` once its client has kept us waiting for too long.
    async fn with<C: Future>(&mut self, mut connection: Pin<&mut C>) -> Option<C::Output> {
        // Whatever changes whose turn it is happens in here, so to look afterwards is enough. A stream that looked for
        // itself would not be asked: hyper leaves one alone that had nothing to read while the answer was made.
        poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => self.is_over(cx).map(|()| None),
        })
        .await
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turns.count();
        if is_ours(turn) {
            return Poll::Pending;
        }
        let is_head = turn == 0 || self.turns.has_begun();
        let awaited = if is_head { Awaited::Head } else { Awaited::Next };
        let (patience, waiting) = match awaited {
            Awaited::Head => (self.header_timeout, "head"),
            Awaited::Next => (self.idle_timeout, "idle"),
        };
        if self.since != (turn, awaited) {
            self.since = (turn, awaited);
            self.timer.as_mut().reset(Instant::now() + patience);
        }
        self.timer.as_mut().poll(cx).map(|()| metrics::hung_up(waiting))
    }
}
