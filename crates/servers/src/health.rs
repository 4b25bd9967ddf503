//! Ports, and whether somebody really answers there.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{Guarded, ServerError};

/// How often a starting server is asked. Unit: milliseconds.
const ASK_EVERY_MS: u64 = 20;

/// A port that nobody listens on now, different at each call of this process.
///
/// # Errors
/// See [`free_ports`].
pub fn free_port() -> Result<u16, ServerError> {
    free_ports(1)
}

/// The first of so many ports in a row that nobody listens on now, none of which another call of this process gives.
///
/// They are below those the system gives to outgoing connections, which could take them before the server does.
///
/// # Errors
/// [`ServerError::System`] if there are none.
pub fn free_ports(count: u16) -> Result<u16, ServerError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, all) = (15_000, 17_000);
    // Neighbouring process ids begin far apart.
    let begin = std::process::id().wrapping_mul(7919);
    for _ in 0..all {
        let offset = begin.wrapping_add(NEXT.fetch_add(count.into(), Ordering::Relaxed)) % all;
        let port = u16::try_from(first + offset).expect("below 32,000");
        if (port..port + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(port);
        }
    }
    Err(ServerError::system("looking for a free port")(io::ErrorKind::AddrInUse.into()))
}

/// Makes sure that nobody listens on `port`, which `name` wants.
///
/// # Errors
/// [`ServerError::PortInUse`].
pub fn require_free_port(port: u16, name: &str) -> Result<(), ServerError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(ServerError::PortInUse { port, name: name.to_owned() })
        }
        Err(error) => Err(ServerError::system(format!("listening on port {port} for {name}"))(error)),
    }
}

/// Waits until `ask` says yes, for at most `limit`.
///
/// # Errors
/// [`ServerError::Died`] if the process ends first, [`ServerError::Silent`] if it takes too long.
pub async fn wait_until_healthy<Asked: Future<Output = bool> + Send>(
    server: &Guarded,
    limit: Duration,
    ask: impl Fn() -> Asked + Send,
) -> Result<(), ServerError> {
    let asking = async {
        // A healthy server may be of somebody else if ours could not have the port, so ours must still be there.
        while !ask().await || server.exit().is_some() {
            sleep(Duration::from_millis(ASK_EVERY_MS)).await;
        }
    };
    let (name, log) = (server.name().to_owned(), server.log().to_owned());
    tokio::select! {
        answered = timeout(limit, asking) => {
            answered.map_err(|_| ServerError::Silent { name, seconds: limit.as_secs(), log })
        }
        _ = server.ended() => Err(ServerError::Died { name, last_words: server.last_words(), log }),
    }
}

/// Sends `request` to the local `port` and returns the first `N` bytes of the answer.
pub(crate) async fn ask<const N: usize>(port: u16, request: &[u8]) -> io::Result<[u8; N]> {
    let asking = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(request).await?;
        let mut answer = [0; N];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(Duration::from_secs(2), asking).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_port_that_another_has_got() {
        let firsts: Vec<u16> = [20, 1, 20, 4].iter().map(|count| free_ports(*count).unwrap()).collect();
        let all: std::collections::BTreeSet<u16> =
            std::iter::zip(&firsts, [20, 1, 20, 4]).flat_map(|(first, count)| *first..*first + count).collect();
        assert_eq!(all.len(), 45, "{firsts:?}");
    }
}
