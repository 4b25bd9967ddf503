//! What one process takes at most, of whom and for how long: every limit of its HTTP server, with its unit and default.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, value_parser};

/// Limits of the HTTP server. Flattened into the settings of each service, whose `--help` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(about = None, long_about = None, next_help_heading = "Limits of the HTTP server")]
pub struct Limits {
    /// Connections at once. Further ones wait until one of the others ends, and for them whoever keeps us waiting for more
    /// than a second is hung up on: for a request, the rest of its head or of its body, or to read an answer, which is cut
    /// then. Each costs a file descriptor.
    #[arg(long, env, default_value_t = Self::default().connections_max, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub connections_max: u32,

    /// How long the head of a request may take from its first byte to its last, in milliseconds; so long also until a new
    /// connection brings its first. Whoever takes longer is hung up on.
    #[arg(long, env, default_value_t = Self::default().header_timeout_ms, value_parser = value_parser!(u64).range(10..=600_000))]
    pub header_timeout_ms: u64,

    /// How long a connection may stay open without a request, in milliseconds; so long also may an answer wait for a client
    /// that does not read it. Longer than clients keep connections, or they use one that is just being closed.
    #[arg(long, env, default_value_t = Self::default().idle_timeout_ms, value_parser = value_parser!(u64).range(10..=3_600_000))]
    pub idle_timeout_ms: u64,

    /// The largest head of a request, in bytes; a larger one is 431.
    #[arg(long, env, default_value_t = Self::default().header_max_bytes, value_parser = value_parser!(u32).range(8_192..=1_048_576))]
    pub header_max_bytes: u32,

    /// The largest body of a request, in bytes; a larger one is 413. No request needs more than the default.
    #[arg(long, env, default_value_t = Self::default().body_max_bytes, value_parser = value_parser!(u32).range(1_024..=65_536))]
    pub body_max_bytes: u32,

    /// How long a body may take to come, in milliseconds; a slower one is 408.
    #[arg(long, env, default_value_t = Self::default().body_timeout_ms, value_parser = value_parser!(u64).range(10..=600_000))]
    pub body_timeout_ms: u64,

    /// How long a handler may take, in milliseconds; a slower one is 503. Longer than a client may ask it to wait, which is
    /// 30 s.
    #[arg(long, env, default_value_t = Self::default().request_timeout_ms, value_parser = value_parser!(u64).range(31_000..=600_000))]
    pub request_timeout_ms: u64,

    /// Requests in work at once, those that wait for an order to settle among them. One more is answered 503 at once, but
    /// for the health checks and the metrics.
    #[arg(long, env, default_value_t = Self::default().requests_max, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub requests_max: u32,

    /// Requests per second of one customer, in the long run; one too many is 429. Operators have no such limit.
    #[arg(long, env, default_value_t = Self::default().customer_requests_per_s)]
    pub customer_requests_per_s: NonZeroU32,

    /// Requests of one customer at once, if there were few before.
    #[arg(long, env, default_value_t = Self::default().customer_requests_burst)]
    pub customer_requests_burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 120_000,
            header_max_bytes: 32_768,
            body_max_bytes: 65_536,
            body_timeout_ms: 10_000,
            request_timeout_ms: 35_000,
            requests_max: 2_048,
            customer_requests_per_s: const { NonZeroU32::new(500).unwrap() },
            customer_requests_burst: const { NonZeroU32::new(1_000).unwrap() },
        }
    }
}

impl Limits {
    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;
    use crate::extract::MAX_WAIT;

    fn parse(line: &str) -> Result<Limits, clap::Error> {
        let command = Limits::augment_args(Command::new("service"));
        Limits::from_arg_matches(&command.try_get_matches_from(line.split(' '))?)
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(parse("service").unwrap(), Limits::default());
        let set = parse("service --connections-max 7 --customer-requests-burst 3").unwrap();
        assert_eq!((set.connections_max, set.customer_requests_burst.get()), (7, 3));
        assert!(Limits::default().request_timeout() > MAX_WAIT, "a wait that is allowed is not cut short");
    }

    #[test]
    fn a_limit_that_nobody_could_keep_is_none() {
        for line in [
            "--connections-max 0",
            "--requests-max 0",
            "--customer-requests-per-s 0",
            "--body-max-bytes 65537",
            "--request-timeout-ms 30000",
        ] {
            assert!(parse(&format!("service {line}")).is_err(), "{line}");
        }
    }
}
