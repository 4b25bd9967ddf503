//! Whether somebody really answers at a port.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{Guarded, ServerError};

/// How often a starting server is asked. Unit: milliseconds.
const ASK_EVERY_MS: u64 = 20;

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
