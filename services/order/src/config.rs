//! Every setting of the service. The doc comments are what `--help` shows.

use std::net::SocketAddr;

use clap::Parser;
use service::{secret::Secret, settings::Common};

/// Takes orders and runs their sagas.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where the HTTP API listens.
    #[arg(long, env, default_value = "127.0.0.1:7001")]
    pub http_addr: SocketAddr,

    /// This service's own Postgres database: postgres://user:password@host:port/database.
    #[arg(long, env, hide_env_values = true)]
    pub order_database_url: Secret<String>,

    /// Connections to the database, all opened at start.
    #[arg(long, env, default_value_t = 8)]
    pub database_connections: u32,

    /// How many orders may wait for the transaction that places them; one more is answered 503.
    #[arg(long, env, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub waiting_orders_max: u32,

    /// How long an order may wait for its stock to be held and its payment to be authorized; beyond it, it is cancelled:
    /// `timed_out`. Unit: seconds.
    #[arg(long, env, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub checkout_deadline_s: u32,

    /// How many sagas may be open, of all instances; beyond it no order is placed: 503. An order has until
    /// `CHECKOUT_DEADLINE_S`, so no more than the shop gets done in a part of that.
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub open_sagas_max: u32,

    /// How many sagas may be open of the orders of one customer, of all instances; beyond it no order of theirs is placed:
    /// 429. A part of those that may be open in all, so that one customer never takes the room of all others.
    #[arg(long, env, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub open_sagas_per_customer_max: u32,

    /// What every service is told.
    #[command(flatten)]
    pub common: Common,
}
