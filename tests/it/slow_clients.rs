//! Two thousand connections that keep the order service waiting, beside twenty customers. What becomes of each such
//! connection is shown in crate `web`; this compares times, so it is no part of the suite.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use super::world::{OK, PATIENCE, World};

/// Connections that idle, or bring one byte of a head per second.
const SLOW: u32 = 2_000;
const CUSTOMERS: usize = 20;
/// Of each customer, one after the other, in each round.
const ORDERS: usize = 50;
/// Rounds with the slow ones, each between two without.
const ROUNDS: usize = 3;

#[tokio::test]
#[ignore = "compares times; the README says how to run it"]
async fn slow_connections_make_no_customer_wait() {
    let world = World::new("slow-clients", 1).await;
    world.product("SLOW-CLIENTS", 9_999).await;
    let address = world.shop.url(shop::Service::Order).strip_prefix("http://").unwrap().to_owned();
    round(&world).await;
    let (mut alone, mut beside) = (round(&world).await, Vec::new());
    for _ in 0..ROUNDS {
        let mut slow = JoinSet::new();
        for number in 0..SLOW {
            slow.spawn(keep_waiting(address.clone(), number.is_multiple_of(2)));
        }
        world.all_connected().await;
        beside.extend(round(&world).await);
        world.all_connected().await;
        drop(slow);
        world.all_gone().await;
        alone.extend(round(&world).await);
    }
    let (alone, beside) = (p99(alone), p99(beside));
    eprintln!("p99 of {CUSTOMERS} customers: {alone:?} alone, {beside:?} beside {SLOW} slow connections");
    assert!(beside < alone * 2, "{beside:?} is not below twice {alone:?}");
}

/// Orders of all customers; how long each took to be answered.
async fn round(world: &World) -> Vec<Duration> {
    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS {
        let customer = world.customer();
        customers.spawn(async move {
            customer.introduce().await;
            let mut took = Vec::with_capacity(ORDERS);
            for _ in 0..ORDERS {
                let begun = Instant::now();
                let answer = customer.post(&Uuid::now_v7().to_string(), "SLOW-CLIENTS", 1, OK).await;
                assert_eq!(answer.status().as_u16(), 202);
                answer.bytes().await.unwrap();
                took.push(begun.elapsed());
            }
            took
        });
    }
    customers.join_all().await.concat()
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() * 99 / 100]
}

/// Connects, says next to nothing, and begins again as soon as it is hung up on.
async fn keep_waiting(address: String, trickles: bool) {
    loop {
        let mut client = TcpStream::connect(&address).await.unwrap();
        if !trickles {
            // An end or a reset.
            let _ = client.read_u8().await;
            continue;
        }
        for byte in b"POST /v1/orders HTTP/1.1\r\nx-endless: ".iter().chain(std::iter::repeat(&b'x')) {
            let said = client.write_all(&[*byte]).await;
            // Whoever is waited for gets nothing within the second, but an answer and an end when it has taken too long.
            if said.is_err() || timeout(Duration::from_secs(1), client.read_u8()).await.is_ok() {
                break;
            }
        }
    }
}

impl World {
    /// Waits until the order service has the slow connections, but for a few that are just beginning again.
    async fn all_connected(&self) {
        self.connections(|open| open >= f64::from(SLOW / 20 * 19)).await;
    }

    async fn all_gone(&self) {
        self.connections(|open| open < f64::from(SLOW / 10)).await;
    }

    async fn connections(&self, will_do: impl Fn(f64) -> bool) {
        let mut open = 0.0;
        let looking = async {
            while !will_do(open) {
                sleep(Duration::from_millis(50)).await;
                open = self.metric("order", "http_connections").await;
            }
        };
        let looked = timeout(PATIENCE, looking).await;
        assert!(looked.is_ok(), "{open} connections are open");
    }
}
