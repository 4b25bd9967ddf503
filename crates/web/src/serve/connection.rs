//! One connection: how long it may keep us waiting, and how it ends.
//!
//! hyper has one timeout, for the head of a request, and lets it run while a connection idles; so a short one hangs up on
//! well-behaved clients, and a long one waits for the others. Here each wait has its own.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::{io::InspectReader, sync::CancellationToken};
use tower::ServiceExt;
use tracing::debug;

use super::{
    room::Seat,
    turns::{Awaited, Turns},
};
use crate::{limits::Limits, metrics};

/// Once the server ends, a head that has begun must be complete within this time.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// Serves the requests of one connection until it ends; once `closing`, no further ones. Hangs up when its `seat` is needed
/// for another and its client is waited for.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, seat: &Seat, closing: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "A connection keeps its delay.");
    }
    let turns = seat.turns.clone();
    let answer = {
        let turns = turns.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let (router, ours) = (router.clone(), turns.begin());
            request.extensions_mut().insert(turns.clone());
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
            if turns.awaited() != Awaited::Answer {
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
                    () = sleep(LAST_HEAD) => if !matches!(turns.awaited(), Awaited::Body | Awaited::Answer) { return },
                }
            }
        }
    };
    if let Some(Err(error)) = ended {
        debug!(%error, "A connection ended before its time.");
    }
}

/// Waits for a client, but not for ever.
struct Patience {
    turns: Turns,
    header_timeout: Duration,
    idle_timeout: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(turns: Turns, limits: &Limits) -> Self {
        let (header_timeout, idle_timeout) = (limits.header_timeout(), limits.idle_timeout());
        Self { turns, header_timeout, idle_timeout, timer: Box::pin(sleep(header_timeout)) }
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
        let (awaited, since) = self.turns.now();
        let (patience, waiting) = match awaited {
            Awaited::First | Awaited::Head => (self.header_timeout, "head"),
            Awaited::Next => (self.idle_timeout, "idle"),
            // Both have an end in time where they are waited for.
            Awaited::Body | Awaited::Answer => return Poll::Pending,
        };
        let end = since + patience;
        if self.timer.deadline() != end {
            self.timer.as_mut().reset(end);
        }
        self.timer.as_mut().poll(cx).map(|()| metrics::hung_up(waiting))
    }
}
