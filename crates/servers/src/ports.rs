//! Ports of loopback that nobody else takes before a server listens on them.
//!
//! From looking whether a port is free to a server's listening on it pass seconds, in which another process looks, too. So each
//! process gives ports only out of blocks of its own: it listens on the first port of a block for as long as it lives.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{LazyLock, Mutex, PoisonError},
};

use tokio::net::TcpSocket;

use crate::ServerError;

/// Where the blocks begin. They end before 32,000, below the ports that the system gives to outgoing connections, which could take
/// one before the server does.
const FIRST: u16 = 15_000;
const BLOCKS: u16 = 170;
/// Ports of a block, with the first, which is not given.
const BLOCK: u16 = 100;

/// A port that nobody listens on now, and that no other call gives, of this process or of another.
///
/// # Errors
/// See [`free_ports`].
pub fn free_port() -> Result<u16, ServerError> {
    free_ports(1)
}

/// The first of so many ports in a row, at most 99, that nobody listens on now, and none of which another call gives: no call of
/// this process, however long it lives, nor one of another process while this one lives.
///
/// # Errors
/// [`ServerError::System`] if there are none.
///
/// # Panics
/// If it is more than 99.
pub fn free_ports(count: u16) -> Result<u16, ServerError> {
    // Neighbouring process ids begin far apart.
    static OURS: LazyLock<Mutex<Ports>> =
        LazyLock::new(|| Mutex::new(Ports::new(std::process::id() % u32::from(BLOCKS) * 79)));
    let given = OURS.lock().unwrap_or_else(PoisonError::into_inner).give(count);
    given.ok_or_else(|| ServerError::system("looking for a free port")(io::ErrorKind::AddrInUse.into()))
}

/// Makes sure that nobody listens on `port`, which `name` wants.
///
/// # Errors
/// [`ServerError::PortInUse`].
pub fn require_free_port(port: u16, name: &str) -> Result<(), ServerError> {
    match look_at(port) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(ServerError::PortInUse { port, name: name.to_owned() })
        }
        Err(error) => Err(ServerError::system(format!("listening on port {port} for {name}"))(error)),
    }
}

/// What one process gives, which marks its blocks by listening.
struct Ports {
    marks: Vec<TcpListener>,
    /// The block that is looked at first.
    begin: u32,
    /// What is left of the last block: from the first to before the second.
    left: (u16, u16),
}

impl Ports {
    const fn new(begin: u32) -> Self {
        Self { marks: Vec::new(), begin, left: (0, 0) }
    }

    fn give(&mut self, count: u16) -> Option<u16> {
        assert!(count < BLOCK, "{count} ports in a row are more than a block has");
        loop {
            let (first, end) = self.left;
            if end - first < count {
                self.left = self.mark_block()?;
                continue;
            }
            self.left.0 += count;
            if (first..first + count).all(|port| look_at(port).is_ok()) {
                return Some(first);
            }
        }
    }

    fn mark_block(&mut self) -> Option<(u16, u16)> {
        let all = u32::from(BLOCKS);
        for number in (0..all).map(|number| (self.begin + number) % all) {
            let first = FIRST + BLOCK * u16::try_from(number).expect("below the number of blocks");
            if let Ok(mark) = listen(first) {
                self.marks.push(mark);
                return Some((first + 1, first + BLOCK));
            }
        }
        None
    }
}

/// Whether one could listen there. Nobody does meanwhile: a program that another thread is about to run has what is open here for a
/// moment, and a port that was only looked at would be in use.
fn look_at(port: u16) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn nobody_gets_a_port_that_another_has_got() {
        // As if two processes began at the same place, and asked for more than one block each.
        let mut processes = [Ports::new(7), Ports::new(7)];
        let mut all = std::collections::BTreeSet::new();
        for count in [20, 1, 99, 4, 50] {
            for process in &mut processes {
                let first = process.give(count).unwrap();
                all.extend(first..first + count);
            }
        }
        assert_eq!(all.len(), 2 * 174, "{all:?}");
        assert!(processes.iter().all(|process| process.marks.len() > 1));
    }

    #[test]
    fn looking_at_a_port_keeps_nobody_from_listening() {
        let mut ports = Ports::new(90);
        let port = ports.give(1).unwrap();
        let seen = AtomicBool::new(false);
        let (began, patience) = (Instant::now(), Duration::from_secs(60));
        std::thread::scope(|scope| {
            // On a busy machine, it is long until the other looks while this one listens.
            let goes_on = |times| times < 2_000 || !seen.load(Relaxed) && began.elapsed() < patience;
            let listening =
                scope.spawn(move || (0..).take_while(|times| goes_on(*times)).try_for_each(|_| listen(port).map(drop)));
            while !listening.is_finished() {
                if look_at(port).is_err() {
                    seen.store(true, Relaxed);
                }
            }
            listening.join().unwrap().unwrap();
        });
        assert!(seen.into_inner(), "nobody listened");
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_given() {
        let mut ports = Ports::new(60);
        let taken = ports.give(1).unwrap();
        let _somebody = listen(taken).unwrap();
        ports.left.0 = taken;
        assert!(ports.give(1).unwrap() > taken);
    }
}
