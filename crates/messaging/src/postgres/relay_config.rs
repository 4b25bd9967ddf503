//! What a relay needs to know.

use std::fmt;

use crate::{Pulse, TopicSpec};

/// What a relay needs to know. Its `Debug` shows no password.
#[derive(Clone)]
pub struct RelayConfig {
    /// `postgres://user:password@host:port/database`; the user may replicate.
    pub database_url: String,
    /// The replication slot. Its name is unique among all databases of the server.
    pub slot: String,
    /// The name of the service: `ce_source` of its messages.
    pub source: String,
    /// The topics it writes; made anew when they vanish.
    pub topics: Vec<TopicSpec>,
    /// Beats while the relay streams, or waits for another's end.
    pub pulse: Pulse,
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database_url: _, slot, source, topics: _, pulse: _ } = self;
        f.debug_struct("RelayConfig").field("slot", slot).field("source", source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let database_url = "postgres://user:canary@host/database".to_owned();
        let (slot, source) = ("slot".into(), "order".into());
        let shown = format!("{:?}", RelayConfig { database_url, slot, source, topics: vec![], pulse: Pulse::new() });
        assert!(shown.contains("slot") && !shown.contains("canary"), "{shown}");
    }
}
