//! The name of one command of one saga, the same over retries and restarts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one command: which saga, which step, do or undo, which attempt.
///
/// Written as `<uuid>:hold-stock:do:1`, visible ASCII throughout. Whoever is asked keeps his answer under this name, so
/// asking again is harmless. The attempt grows only after a definite refusal, never because an answer did not come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId {
    /// The saga that asks.
    pub saga: Uuid,
    /// The step as a slug: `hold stock` is `hold-stock`.
    pub step: String,
    /// Whether the step is to be done or undone.
    pub direction: Direction,
    /// 1, and one more for each resumption after a definite refusal.
    pub attempt: u32,
}

/// Whether a command does its step or takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The step is to be done.
    Do,
    /// Whatever the step did or may have done is to be taken back.
    Undo,
}

/// The text is no command id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no command id: expected <uuid>:<step>:do|undo:<attempt>")]
pub struct NotACommandId(String);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.saga, self.step, self.direction, self.attempt)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Do => "do",
            Direction::Undo => "undo",
        })
    }
}

impl FromStr for CommandId {
    type Err = NotACommandId;

    fn from_str(text: &str) -> Result<Self, NotACommandId> {
        // An id has one spelling only, for it is compared as text by those who are asked.
        parse(text).filter(|id| id.to_string() == text).ok_or_else(|| NotACommandId(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<CommandId> {
    let mut parts = text.split(':');
    let saga = parts.next()?.parse().ok()?;
    let step = parts.next().filter(|step| is_slug(step))?.to_owned();
    let direction = match parts.next()? {
        "do" => Direction::Do,
        "undo" => Direction::Undo,
        _ => return None,
    };
    let attempt = parts.next()?.parse().ok().filter(|attempt| *attempt >= 1)?;
    parts.next().is_none().then_some(CommandId { saga, step, direction, attempt })
}

fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl TryFrom<String> for CommandId {
    type Error = NotACommandId;

    fn try_from(text: String) -> Result<Self, NotACommandId> {
        text.parse()
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0190a5b2-7c4e-7d3a-9f00-000000000001:hold-stock:do:1";

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id: CommandId = TEXT.parse().unwrap();
        assert_eq!((id.step.as_str(), id.direction, id.attempt), ("hold-stock", Direction::Do, 1));
        assert_eq!(id.to_string(), TEXT);
        assert!(id.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(serde_json::to_value(&id).unwrap(), serde_json::json!(TEXT));
        assert_eq!(serde_json::from_value::<CommandId>(serde_json::json!(TEXT)).unwrap(), id);
    }

    #[test]
    fn an_id_has_one_spelling_only() {
        let others = [
            TEXT.to_uppercase(),
            TEXT.replace("0190a5b2-7c4e", "0190a5b27c4e"),
            TEXT.replace(":do:", ":redo:"),
            TEXT.replace(":1", ":01"),
            TEXT.replace(":1", ":+1"),
            TEXT.replace(":1", ":0"),
            TEXT.replace("hold-stock", "hold stock"),
            TEXT.replace("hold-stock", ""),
            format!("{TEXT}:1"),
            String::new(),
        ];
        for other in others {
            assert_eq!(other.parse::<CommandId>(), Err(NotACommandId(other)));
        }
    }
}
