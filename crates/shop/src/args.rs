//! Flags and sub-commands. The doc comments are what `--help` shows.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};
use contracts::{CustomerId, OrderId, Sku};
use shop::{Service, dead::Which, republish::What};
use uuid::Uuid;

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
    #[command(flatten)]
    Ask(Ask),
    /// Prints what the services say to each other: every topic and every message, with examples (AsyncAPI 3.0, JSON).
    Topics,
    /// Fetches the servers, once, and prints the folder they are in.
    Fetch,
    /// What docker-compose.yml runs, in containers.
    #[command(subcommand, hide = true)]
    Compose(ComposeCommand),
}

/// What is for a shop that is up, wherever that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Stops everything; the data stays.
    Down,
    /// Shows every process: pid, port, health, uptime, memory; of services also what they have yet to read, what is parked,
    /// how much of the log waits for the relay, and which sagas are open.
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
    /// Places orders of every outcome and tells the story of each: which message, when, and which compensation. Exit code
    /// 1: one did not end as promised.
    Demo,
    /// Lists sagas that cannot go on by themselves, or lets one go on.
    #[command(subcommand)]
    Sagas(SagasCommand),
    /// Checks whether the books of all stores add up. Exit code 1: they do not; 2: a check had nothing to look at; 3: the
    /// books could not be looked at.
    Audit,
    /// Lists, shows, replays or drops messages that a service could not take in.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Has the owners of messages send them again, as new messages: all that order, inventory and billing have said about
    /// an order (its events, and the answers to its commands), or a product. For a reader whose topic has lost them
    /// beyond what outboxes keep (an hour). Not its commands: a saga asks again by itself for as long as it waits. What a
    /// reader has taken in before changes nothing.
    Republish(RepublishArgs),
    /// Folds the events of every order anew, and says which orders were not what their events make of them; they are
    /// from then on. Exit code 1: there were some, or the events of an order cannot be folded.
    Rebuild,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ComposeCommand {
    /// Makes keys and passwords, once, and gives each container what is its own.
    Secrets,
    /// Makes databases, roles and the replica set, as far as they are missing.
    Prepare,
    /// Fills the catalogue, once.
    Seed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// Shows every parked key: whose, since when, how many messages, and what is wrong with the first.
    List,
    /// Shows the messages parked under a key, byte for byte.
    Show(DeadArgs),
    /// Has the service take in the messages of a key after all, in their order, and waits until it has. Exit code 1: they
    /// are parked still.
    Replay(DeadArgs),
    /// Drops the first message of a key for good, and says what can be republished.
    Drop {
        #[command(flatten)]
        which: DeadArgs,
        /// Drops all messages of the key.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SagasCommand {
    /// Shows every parked saga: its order, the step that was refused, and why.
    List,
    /// Lets a parked saga go on: its refused step is asked anew.
    Resume {
        /// As it is listed.
        saga: Uuid,
    },
}

#[derive(Debug, Clone, Group)]
pub(crate) struct DeadArgs {
    /// The key, as it is listed: an order, or a SKU.
    key: String,
    /// Only in this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only at this service: order, inventory or billing.
    #[arg(long, value_parser = service)]
    service: Option<Service>,
}

impl From<DeadArgs> for Which {
    fn from(args: DeadArgs) -> Self {
        let DeadArgs { key, topic, service } = args;
        Self { key, topic, service }
    }
}

fn service(text: &str) -> Result<Service, String> {
    let known = Service::ALL.into_iter().find(|service| service.name() == text);
    known.ok_or_else(|| "a service is order, inventory or billing".to_owned())
}

#[derive(Debug, Clone, Group)]
#[group(required = true, multiple = false)]
pub(crate) struct RepublishArgs {
    /// Of this order.
    #[arg(long, value_name = "ID")]
    order: Option<OrderId>,
    /// Of this product.
    #[arg(long)]
    sku: Option<Sku>,
    /// Of every order and every product.
    #[arg(long)]
    all: bool,
}

impl From<RepublishArgs> for What {
    fn from(args: RepublishArgs) -> Self {
        match args {
            RepublishArgs { order: Some(order), .. } => Self::Order(order),
            RepublishArgs { sku: Some(sku), .. } => Self::Product(sku),
            RepublishArgs { .. } => Self::Everything,
        }
    }
}

#[derive(Debug, Clone, Group)]
pub(crate) struct UpArgs {
    /// In containers, as docker-compose.yml describes them. Without this and --native: as child processes if this machine
    /// has what that takes, else in containers if an engine answers.
    #[arg(long, conflicts_with_all = ["native", "in_background"])]
    pub(crate) docker: bool,
    /// As child processes.
    #[arg(long)]
    pub(crate) native: bool,
    /// Returns when the shop is ready and leaves it running.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Removes all data first: orders, payments, stock; of containers also keys and passwords.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How many processes of each service; in containers one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) replicas: u16,
    /// Services listen from this port + 1, servers from + 11; further replicas each 100 higher. Without it 7000; in
    /// containers ORDER_PORT, INVENTORY_PORT and BILLING_PORT say otherwise.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=60000))]
    pub(crate) port_base: Option<u16>,
    /// Takes the services' programs from this folder instead of building them; not for containers, which have their own.
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
    fn exactly_one_thing_is_republished() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let order = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a02";
        assert!(parse(&format!("shop republish --order {order}")).is_ok() && parse("shop republish --all").is_ok());
        assert!(parse("shop republish").is_err() && parse("shop republish --all --sku MUG").is_err());
        assert!(parse("shop dead show k --service order").is_ok() && parse("shop dead show k --service shop").is_err());
    }

    #[test]
    fn a_token_is_for_exactly_one() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        assert!(parse("shop token --operator").is_ok() && parse("shop token --customer new").is_ok());
        assert!(parse("shop token").is_err() && parse("shop token --operator --customer new").is_err());
        assert!(parse("shop token --customer nobody").is_err());
    }
}
