//! How the log is connected to: from the URL of the database.

use std::{str::FromStr, time::Duration};

use pgwire_replication::ReplicationConfig;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use super::{RelayConfig, RelayError};

/// The publication of `schema.sql`.
const PUBLICATION: &str = "outbox";
/// How often the database hears from us. It gives up after `wal_sender_timeout`, 5 s.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// After so much silence the database hears from us, too, which makes it look at its log. Since version 16 it sleeps
/// through a commit that falls between its last look and its going to sleep: measured, one in thirty of those that follow
/// another commit closely, and such a message waited for our next status, up to a second. The price is paid while idle: the
/// order service as a whole, which has one relay, then takes 10 ms of CPU per second.
const NUDGE_INTERVAL: Duration = Duration::from_millis(25);
/// The database reads a transaction out of its log in one of its own, which lasts until we have taken the last row, however
/// long the broker has us wait. A limit that the role has would cut a large one off, each time anew.
const NO_HURRY: &str = "-c transaction_timeout=0";

/// What the client that reads the log is set to.
pub(super) fn replication_config(config: &RelayConfig) -> Result<ReplicationConfig, RelayError> {
    let options = PgConnectOptions::from_str(&config.database_url).map_err(RelayError::DatabaseUrl)?;
    let host = match options.get_socket() {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => options.get_host().to_owned(),
    };
    // The options do not show their password, but the URL they make of themselves does, percent-encoded.
    let password = options.to_url_lossy().password().map(percent_decoded).unwrap_or_default();
    let database = options.get_database().unwrap_or(options.get_username());
    Ok(ReplicationConfig::new(host, options.get_username(), password, database, &config.slot, PUBLICATION)
        .with_port(options.get_port())
        .with_application_name(format!("relay {}", config.source))
        .with_options(NO_HURRY)
        .with_status_interval(STATUS_INTERVAL)
        .with_wakeup_interval(NUDGE_INTERVAL))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pulse;

    #[test]
    fn the_connection_is_read_from_the_url() {
        let config = RelayConfig {
            database_url: "postgres://shop:p%40ss%25w%C3%B6rd@db.example:6543/orders".into(),
            slot: "outbox".into(),
            source: "order".into(),
            topics: vec![],
            pulse: Pulse::new(),
        };
        let read = replication_config(&config).unwrap();
        assert_eq!((read.host.as_str(), read.port), ("db.example", 6543));
        assert_eq!((read.user.as_str(), read.password.as_str()), ("shop", "p@ss%wörd"));
        assert_eq!(read.database, "orders");
        assert!(replication_config(&RelayConfig { database_url: "nonsense".into(), ..config }).is_err());
    }
}
