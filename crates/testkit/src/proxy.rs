//! A way to a server that can be cut without a word, as when a machine vanishes or a firewall forgets a connection.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What one read takes along.
const PIECE: usize = 16 * 1024;

/// Listens, and hands on to a server what comes, both ways. Dropped, it hangs up.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    handed_on: watch::Sender<HandedOn>,
    _serving: JoinSet<()>,
}

/// What is handed on.
#[derive(Debug, Clone, Copy)]
struct HandedOn {
    /// Anything at all.
    any: bool,
    /// What the connection of this number says, and later ones.
    since: u64,
    /// How many connections there were.
    connections: u64,
}

impl Proxy {
    /// One before the server at `host:port`.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let handed_on = watch::Sender::new(HandedOn { any: true, since: 0, connections: 0 });
        let (server, counted, mut serving) = (server.to_owned(), handed_on.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.borrow().connections;
                counted.send_modify(|handed_on| handed_on.connections += 1);
                connections.spawn(connect(client, server.clone(), number, counted.subscribe()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, handed_on, _serving: serving }
    }

    /// One before the server that `url` names, and the URL that leads through it.
    pub async fn before(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("no URL: {url}"));
        let (login, rest) = rest.split_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
        let proxy = Self::to(server).await;
        let at = if login.is_empty() { "" } else { "@" };
        let through = format!("{scheme}://{login}{at}{}/{path}", proxy.address);
        (proxy, through)
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> u64 {
        self.handed_on.borrow().connections
    }

    /// From now on nothing is handed on, and nobody is told.
    pub fn stall(&self) {
        self.handed_on.send_modify(|handed_on| handed_on.any = false);
    }

    /// What comes over the connections there are is handed on no more, and nobody is told; only new ones lead anywhere.
    pub fn forget(&self) {
        self.handed_on.send_modify(|handed_on| handed_on.since = handed_on.connections);
    }

    /// What was held up, and what comes, is handed on again, but of connections that were forgotten.
    pub fn forward(&self) {
        self.handed_on.send_modify(|handed_on| handed_on.any = true);
    }
}

async fn connect(client: TcpStream, server: String, number: u64, watched: watch::Receiver<HandedOn>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(pass(from_client, to_server, number, watched.clone()), pass(from_server, to_client, number, watched));
}

/// Hands on what comes from `from`, over the connection `number`, once that is wanted, until one of the two is gone.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    mut watched: watch::Receiver<HandedOn>,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(read) = from.read(&mut piece).await {
        // Also the end of the one is not told the other before its time.
        let wanted = watched.wait_for(|handed_on| handed_on.any && number >= handed_on.since).await.is_ok();
        if read == 0 || !wanted || to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}
