//! Lists, a page at a time: the same parameters and the same shape everywhere.
//!
//! A request says `limit` and, for all pages but the first, the `cursor` that the page before has given as its
//! `next_cursor`. What a cursor holds is the list's own business.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

/// Entries on one page: 1 to 100, and 20 if it is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 100, default = 20)]
pub struct Limit(u32);

/// How many entries nobody can have on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit is 1 to {}", Limit::MAX)]
pub struct NotALimit;

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, bound = "K: de::DeserializeOwned")]
pub struct Page<K> {
    /// How many entries at most.
    #[serde(default)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    pub cursor: Option<Cursor<K>>,
}

/// Where a list goes on: behind the entry with this key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor<K>(pub K);

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct List<T> {
    /// Its entries.
    pub data: Vec<T>,
    /// Whether there are more behind them.
    pub has_more: bool,
    /// What to ask for them with; null if there are none.
    pub next_cursor: Option<String>,
}

impl Limit {
    /// The most entries on one page.
    pub const MAX: u32 = 100;
    /// So many are on a page if nothing is said.
    pub const DEFAULT: u32 = 20;

    /// The number of entries.
    pub fn get(self) -> usize {
        self.0 as usize
    }

    /// One more than are shown: whether it is found tells whether there are more.
    pub fn and_one(self) -> u32 {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

impl TryFrom<u32> for Limit {
    type Error = NotALimit;

    fn try_from(limit: u32) -> Result<Self, NotALimit> {
        if (1..=Self::MAX).contains(&limit) { Ok(Self(limit)) } else { Err(NotALimit) }
    }
}

impl<T> List<T> {
    /// The page that `found` makes, of which one more than `limit` was looked for. `key` is what a cursor holds of an
    /// entry, `view` is how it is shown.
    pub fn of<E, K: Serialize>(
        mut found: Vec<E>,
        limit: Limit,
        key: impl FnOnce(&E) -> K,
        view: impl FnMut(E) -> T,
    ) -> Self {
        let has_more = found.len() > limit.get();
        found.truncate(limit.get());
        let next_cursor = found.last().filter(|_| has_more).map(|last| Cursor(key(last)).to_string());
        Self { data: found.into_iter().map(view).collect(), has_more, next_cursor }
    }

    /// The `page` of `all` entries of a list that is read as a whole, and only grows at its end. `key` and `view` are as
    /// for [`of`](Self::of).
    pub fn within<E, K: Serialize + PartialEq>(
        mut all: Vec<E>,
        page: Page<K>,
        key: impl Fn(&E) -> K,
        view: impl FnMut(E) -> T,
    ) -> Self {
        let Page { limit, cursor } = page;
        if let Some(Cursor(last)) = cursor {
            let behind = all.iter().position(|entry| key(entry) == last).map_or(all.len(), |place| place + 1);
            all.drain(..behind);
        }
        Self::of(all, limit, key, view)
    }
}

impl<K: Serialize> fmt::Display for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = serde_json::to_vec(&self.0).expect("ids, numbers and texts are always JSON");
        f.write_str(&URL_SAFE_NO_PAD.encode(key))
    }
}

impl<'de, K: de::DeserializeOwned> Deserialize<'de> for Cursor<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = URL_SAFE_NO_PAD.decode(text).ok().and_then(|key| serde_json::from_slice(&key).ok());
        key.map(Self).ok_or_else(|| de::Error::custom("this is no cursor of this list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(entries: u32, limit: u32) -> List<u32> {
        List::of((1..=entries).collect(), Limit::try_from(limit).unwrap(), |entry| (*entry, "x"), |entry| entry * 10)
    }

    #[test]
    fn a_page_says_where_the_list_goes_on_if_it_does() {
        let List { data, has_more, next_cursor } = page(3, 2);
        assert_eq!((data, has_more), (vec![10, 20], true));
        let cursor: Cursor<(u32, String)> = serde_json::from_value(next_cursor.into()).unwrap();
        assert_eq!(cursor, Cursor((2, "x".to_owned())), "behind the last that is shown");
        assert_eq!(page(2, 2), List { data: vec![10, 20], has_more: false, next_cursor: None });
        assert_eq!(page(0, 2), List { data: vec![], has_more: false, next_cursor: None });
    }

    #[test]
    fn the_pages_of_a_whole_list_have_each_entry_once() {
        let within = |cursor| {
            let page = Page { limit: Limit::try_from(2).unwrap(), cursor };
            List::within(vec!["a", "b", "c"], page, |entry| (*entry).to_owned(), |entry| entry)
        };
        let first = within(None);
        assert_eq!((&first.data[..], first.has_more), (&["a", "b"][..], true));
        let next: Cursor<String> = serde_json::from_value(first.next_cursor.into()).unwrap();
        assert_eq!(within(Some(next)), List { data: vec!["c"], has_more: false, next_cursor: None });
        assert_eq!(within(Some(Cursor("c".to_owned()))).data, [""; 0], "behind the last is nothing");
        assert_eq!(within(Some(Cursor("x".to_owned()))).data, [""; 0], "nor behind what is not in it");
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused() {
        for text in ["", "1", "!", "MQ==", &Cursor("text").to_string(), &Cursor((1, 2)).to_string()] {
            assert!(serde_json::from_value::<Cursor<u32>>(text.into()).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_value::<Cursor<u32>>(Cursor(7).to_string().into()).unwrap(), Cursor(7));
    }

    #[test]
    fn a_page_has_1_to_100_entries() {
        assert_eq!((Limit::default().get(), Limit::default().and_one()), (20, 21));
        for (limit, fits) in [(0, false), (1, true), (100, true), (101, false), (u32::MAX, false)] {
            assert_eq!(Limit::try_from(limit).is_ok(), fits, "{limit}");
        }
    }
}
