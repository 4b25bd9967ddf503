//! How long a database keeps what it no longer needs for its daily work.

use std::time::Duration;

/// Messages stay in the outbox for so long after they were confirmed: what a topic loses of them can be sent again.
pub const OUTBOX: Duration = Duration::from_secs(60 * 60);

/// Message ids stay in the inbox for so long: twice as long as the topics keep messages, so that no copy of a message can
/// come when its id is forgotten. Topics that keep messages for ever need receivers that know an old message by itself.
pub const INBOX: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// No transaction is open for longer. What was put into the outbox so long before another message was confirmed is
/// confirmed as well.
pub(crate) const LONGEST_TRANSACTION: Duration = Duration::from_secs(60);

/// Between two prunings.
pub(crate) const PRUNING_INTERVAL: Duration = Duration::from_secs(60);

/// Between two looks whether anything was confirmed since the relay began.
pub(crate) const FIRST_PRUNING: Duration = Duration::from_secs(1);
