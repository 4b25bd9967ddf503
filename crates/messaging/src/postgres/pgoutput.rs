//! What Postgres' output plugin `pgoutput` (protocol version 1, text format) says of the outbox.
//!
//! Columns are found by name, so that a migration may add or move some; tables by being in the publication, so that the
//! outbox may be partitioned. Format: PostgreSQL's manual, "Logical Replication Message Formats".

use std::collections::HashMap;

use uuid::Uuid;

use crate::producer::Committed;

/// Knows the tables that were announced so far: an insert names its table only by number.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    tables: HashMap<u32, Columns>,
}

/// The log says something the relay cannot send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// The message ends too early.
    #[error("a message of the log is cut short")]
    Short,
    /// A row of a table that was never announced.
    #[error("a row of unknown table {0}")]
    UnknownTable(u32),
    /// The table is no outbox.
    #[error("table {table} has no column {column}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column it lacks.
        column: &'static str,
    },
    /// A value that must be there is null, or is not what it must be.
    #[error("column {0} of the outbox has no usable value")]
    BadValue(&'static str),
}

/// Where the columns of the outbox are in a row.
#[derive(Debug, Clone, Copy)]
struct Columns {
    id: usize,
    topic: usize,
    key: usize,
    kind: usize,
    payload: usize,
    traceparent: usize,
}

impl Decoder {
    /// The row that `message` inserts, if it inserts one.
    pub(super) fn decode(&mut self, message: &[u8]) -> Result<Option<Committed>, DecodeError> {
        let mut input = Input(message);
        match input.byte()? {
            b'R' => {
                let (number, columns) = relation(&mut input)?;
                self.tables.insert(number, columns);
                Ok(None)
            }
            b'I' => self.insert(&mut input).map(Some),
            // The publication has only inserts; origins, types and messages of others do not concern us.
            _ => Ok(None),
        }
    }

    fn insert(&self, input: &mut Input<'_>) -> Result<Committed, DecodeError> {
        let number = input.u32()?;
        let columns = self.tables.get(&number).ok_or(DecodeError::UnknownTable(number))?;
        input.byte()?; // 'N': the new row.
        let row = (0..input.u16()?).map(|_| input.value()).collect::<Result<Vec<_>, _>>()?;
        let text = |at: usize, name| row.get(at).copied().flatten().ok_or(DecodeError::BadValue(name));
        Ok(Committed {
            id: Uuid::try_parse(text(columns.id, "id")?).map_err(|_| DecodeError::BadValue("id"))?,
            topic: text(columns.topic, "topic")?.to_owned(),
            key: text(columns.key, "key")?.to_owned(),
            kind: text(columns.kind, "kind")?.to_owned(),
            payload: text(columns.payload, "payload")?.to_owned(),
            traceparent: row.get(columns.traceparent).copied().flatten().map(str::to_owned),
        })
    }
}

fn relation(input: &mut Input<'_>) -> Result<(u32, Columns), DecodeError> {
    let number = input.u32()?;
    let _schema = input.string()?;
    let table = input.string()?;
    input.byte()?; // Replica identity.
    let mut names = Vec::new();
    for _ in 0..input.u16()? {
        input.byte()?; // Whether it is part of the key.
        names.push(input.string()?);
        input.take(8)?; // Type and its modifier.
    }
    let find = |column: &'static str| {
        let place = names.iter().position(|name| *name == column);
        place.ok_or_else(|| DecodeError::NoColumn { table: table.to_owned(), column })
    };
    let columns = Columns {
        id: find("id")?,
        topic: find("topic")?,
        key: find("key")?,
        kind: find("kind")?,
        payload: find("payload")?,
        traceparent: find("traceparent")?,
    };
    Ok((number, columns))
}

/// What is left to read of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| DecodeError::Short)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| DecodeError::Short)
    }

    /// Up to a zero byte.
    fn string(&mut self) -> Result<&'a str, DecodeError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(DecodeError::Short)?;
        let text = self.take(end)?;
        self.take(1)?;
        str::from_utf8(text).map_err(|_| DecodeError::Short)
    }

    /// A column's value as text; nothing if it is null, or in a form that was not asked for.
    fn value(&mut self) -> Result<Option<&'a str>, DecodeError> {
        match self.byte()? {
            b't' => {
                let length = self.u32()?;
                let text = self.take(usize::try_from(length).map_err(|_| DecodeError::Short)?)?;
                Ok(str::from_utf8(text).ok())
            }
            b'b' => {
                let length = self.u32()?;
                self.take(usize::try_from(length).map_err(|_| DecodeError::Short)?)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0197f2a1-6c00-7000-8000-000000000000";

    fn relation(number: u32, names: &[&str]) -> Vec<u8> {
        let mut bytes = vec![b'R'];
        bytes.extend(number.to_be_bytes());
        bytes.extend(b"public\0outbox\0d");
        bytes.extend(u16::try_from(names.len()).unwrap().to_be_bytes());
        for name in names {
            bytes.push(0);
            bytes.extend(name.as_bytes());
            bytes.extend([0; 9]);
        }
        bytes
    }

    fn insert(number: u32, values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = vec![b'I'];
        bytes.extend(number.to_be_bytes());
        bytes.push(b'N');
        bytes.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    const NAMES: [&str; 8] = ["payload", "new", "id", "sequence", "topic", "traceparent", "key", "kind"];

    fn row(traceparent: Option<&'static str>) -> [Option<&'static str>; 8] {
        [Some("{\"a\":\"ä\"}"), None, Some(ID), Some("7"), Some("t"), traceparent, Some("k"), Some("a.b.v1")]
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&relation(9, &NAMES)), Ok(None));
        let committed = decoder.decode(&insert(9, &row(Some("00-1")))).unwrap().unwrap();
        assert_eq!(
            committed,
            Committed {
                id: ID.parse().unwrap(),
                topic: "t".into(),
                key: "k".into(),
                kind: "a.b.v1".into(),
                payload: "{\"a\":\"ä\"}".into(),
                traceparent: Some("00-1".into()),
            }
        );
        assert_eq!(decoder.decode(&insert(9, &row(None))).unwrap().unwrap().traceparent, None);
    }

    #[test]
    fn a_table_may_change_while_the_log_is_read() {
        let mut decoder = Decoder::default();
        decoder.decode(&relation(9, &["id", "topic", "key", "kind", "payload", "traceparent"])).unwrap();
        decoder.decode(&relation(9, &NAMES)).unwrap();
        assert_eq!(decoder.decode(&insert(9, &row(None))).unwrap().unwrap().key, "k");
    }

    #[test]
    fn what_is_not_an_outbox_is_refused() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&insert(9, &row(None))), Err(DecodeError::UnknownTable(9)));
        let refused = decoder.decode(&relation(9, &["id", "topic", "key", "kind", "payload"]));
        assert_eq!(refused, Err(DecodeError::NoColumn { table: "outbox".into(), column: "traceparent" }));
        decoder.decode(&relation(9, &NAMES)).unwrap();
        let mut values = row(None);
        values[6] = None;
        assert_eq!(decoder.decode(&insert(9, &values)), Err(DecodeError::BadValue("key")));
        assert_eq!(decoder.decode(b"Y whatever"), Ok(None));
    }

    #[test]
    fn a_message_cut_anywhere_is_an_error_and_no_panic() {
        let mut decoder = Decoder::default();
        let whole = relation(9, &NAMES);
        for end in 0..whole.len() {
            assert_eq!(decoder.decode(&whole[..end]), Err(DecodeError::Short), "cut at {end}");
        }
        decoder.decode(&whole).unwrap();
        let whole = insert(9, &row(None));
        for end in 0..whole.len() {
            assert_eq!(decoder.decode(&whole[..end]), Err(DecodeError::Short), "cut at {end}");
        }
    }
}
