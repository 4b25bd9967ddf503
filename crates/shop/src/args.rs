//! Flags and sub-commands. The doc comments are what `--help` shows.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};
use contracts::CustomerId;

/// The whole shop on this machine: real PostgreSQL, MongoDB and Kafka, and the services.
#[derive(Debug, Parser)]
#[command(name = "shop", bin_name = "cargo shop")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds the services, fetches the servers once, starts everything, fills the catalogue.
    Up(UpArgs),
    /// Stops everything; the data stays.
    Down,
    /// Shows every process: pid, port, health, uptime, memory.
    Status,
    /// Shows the end of the logs: of one part, such as `order` or `kafka`, or of all.
    Logs {
        /// Which part.
        name: Option<String>,
        /// Goes on showing what comes.
        #[arg(short, long)]
        follow: bool,
    },
    /// Prints an access token.
    Token(TokenArgs),
    /// Places orders in a closed loop and shows what each costs.
    Load(LoadArgs),
    /// Checks whether the books of all stores add up. Exit code 1: they do not; 2: a check had nothing to look at; 3: the
    /// books could not be looked at.
    Audit,
}

#[derive(Debug, Clone, Group)]
pub(crate) struct UpArgs {
    /// Returns when the shop is ready and leaves it running.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Removes all data first: orders, payments, stock.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How many processes of each service.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) replicas: u16,
    /// Services listen from this port + 1, servers from + 11; further replicas each 100 higher.
    #[arg(long, default_value_t = 7000, value_parser = clap::value_parser!(u16).range(1024..=60000))]
    pub(crate) port_base: u16,
    /// Takes the services' programs from this folder instead of building them.
    #[arg(long)]
    pub(crate) bin_dir: Option<PathBuf>,
    /// What `--detach` starts.
    #[arg(long, hide = true)]
    pub(crate) in_background: bool,
}

#[derive(Debug, Clone, Group)]
pub(crate) struct TokenArgs {
    /// For this customer: an id, or `new`.
    #[arg(long, value_parser = customer, required_unless_present = "operator", conflicts_with = "operator")]
    customer: Option<Customer>,
    /// For an operator.
    #[arg(long)]
    operator: bool,
    /// How long it is valid, in minutes.
    #[arg(long = "ttl", value_name = "MINUTES", default_value_t = 24 * 60,
          value_parser = clap::value_parser!(u64).range(1..=525_600))]
    pub(crate) ttl_minutes: u64,
}

/// Whom a token is for.
pub(crate) enum Whom {
    Operator,
    NewCustomer,
    Customer(CustomerId),
}

#[derive(Debug, Clone, Copy)]
enum Customer {
    New,
    Known(CustomerId),
}

impl TokenArgs {
    pub(crate) fn whom(&self) -> Whom {
        match self.customer {
            Some(Customer::New) => Whom::NewCustomer,
            Some(Customer::Known(id)) => Whom::Customer(id),
            None => Whom::Operator,
        }
    }
}

fn customer(text: &str) -> Result<Customer, String> {
    if text == "new" {
        return Ok(Customer::New);
    }
    text.parse().map(Customer::Known).map_err(|_| "a customer is a UUID, or `new`".to_owned())
}

#[derive(Debug, Clone, Group)]
pub(crate) struct LoadArgs {
    /// How many orders are measured.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) orders: u64,
    /// How many customers order at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) connections: u64,
    /// How many orders are placed before, unmeasured.
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up: u64,
    /// How many of a hundred cards are declined.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) declined: u8,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_token_is_for_exactly_one() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        assert!(parse("shop token --operator").is_ok() && parse("shop token --customer new").is_ok());
        assert!(parse("shop token").is_err() && parse("shop token --operator --customer new").is_err());
        assert!(parse("shop token --customer nobody").is_err());
    }
}
