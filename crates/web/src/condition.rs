//! Changes that are wanted only of the state that the client has seen (RFC 9110, section 13): nobody overwrites what they
//! have not read.
//!
//! What can be changed is shown with an `ETag`. Whoever changes it says which one they have seen, with `If-Match`; whoever
//! creates it needs to say nothing. Nor does whoever wants it as it is: that is no change. But whoever says what they have
//! seen is told if it is something else by now, also then: two that count from 1 to 2 have not counted to 3.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request},
    response::{IntoResponse, Response},
};
use headers::{Header, HeaderMapExt, IfMatch, IfNoneMatch};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::problem::{Problem, types};

/// One state of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

/// What a request says of the state that it is about.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
}

/// Why a change is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// The thing exists, and the request does not say which state of it is to be changed.
    #[error("say which state you want to change: send its ETag as If-Match")]
    NotSaid,
    /// It is in another state.
    #[error("it is not as you have seen it: look at it again, and send its new ETag as If-Match")]
    OtherState,
}

impl Tag {
    /// The state with this number.
    pub fn of_version(version: u32) -> Self {
        Self(format!("\"{version}\""))
    }

    /// The state that is written like this.
    pub fn of_content(content: &impl Serialize) -> Self {
        let content = serde_json::to_vec(content).expect("a plain struct is always JSON");
        Self::of_digest(&Sha256::digest(content)[..16], "")
    }

    /// The state whose bytes have this digest; `form`, of letters, digits and hyphens, tells it from the same in another form.
    pub fn of_digest(digest: &[u8], form: &str) -> Self {
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("\"{digits}{form}\""))
    }

    fn as_header(&self) -> headers::ETag {
        self.0.parse().expect("a number between quotes is a tag")
    }
}

impl Condition {
    /// Whether the thing, of which there is none, may be created.
    ///
    /// # Errors
    /// [`Unmet::OtherState`] if a state of it was to be changed.
    pub fn allows_creation(&self) -> Result<(), Unmet> {
        if self.if_match.is_some() { Err(Unmet::OtherState) } else { Ok(()) }
    }

    /// Whether the thing, which is as `tag` says, may be changed.
    ///
    /// # Errors
    /// [`Unmet`].
    pub fn allows_change(&self, tag: &Tag) -> Result<(), Unmet> {
        if self.is_known(tag) {
            return Err(Unmet::OtherState);
        }
        match &self.if_match {
            Some(wanted) if wanted.precondition_passes(&tag.as_header()) => Ok(()),
            Some(_) => Err(Unmet::OtherState),
            None => Err(Unmet::NotSaid),
        }
    }

    /// Whether the thing, which is as `tag` says, may stay as it is.
    ///
    /// # Errors
    /// [`Unmet::OtherState`] if another state of it was to be changed.
    pub fn allows_no_change(&self, tag: &Tag) -> Result<(), Unmet> {
        match self.allows_change(tag) {
            Err(Unmet::NotSaid) => Ok(()),
            allowed => allowed,
        }
    }

    /// The thing with its tag; without the thing if that is what the client has.
    pub fn show(&self, tag: &Tag, shown: impl IntoResponse) -> Response {
        if self.is_known(tag) { tag.beside(StatusCode::NOT_MODIFIED) } else { tag.beside(shown) }
    }

    fn is_known(&self, tag: &Tag) -> bool {
        self.if_none_match.as_ref().is_some_and(|known| !known.precondition_passes(&tag.as_header()))
    }
}

impl Tag {
    /// The answer with this tag.
    pub fn beside(&self, answer: impl IntoResponse) -> Response {
        ([(header::ETAG, self.0.clone())], answer).into_response()
    }
}

impl From<Unmet> for Problem {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::NotSaid => Self::of(&types::PRECONDITION_REQUIRED, unmet),
            Unmet::OtherState => Self::of(&types::PRECONDITION_FAILED, unmet),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self { if_match: read(&parts.headers)?, if_none_match: read(&parts.headers)? })
    }
}

fn read<H: Header>(headers: &HeaderMap) -> Result<Option<H>, Problem> {
    let unread = |_| Problem::of(&types::BAD_REQUEST, format_args!("The header `{}` cannot be read.", H::name()));
    headers.typed_try_get().map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(headers: &[(&'static str, &str)]) -> Condition {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Condition { if_match: read(&headers).unwrap(), if_none_match: read(&headers).unwrap() }
    }

    #[test]
    fn only_the_state_that_was_seen_is_changed() {
        let tag = Tag::of_version(2);
        let change = |headers: &[(&'static str, &str)]| condition(headers).allows_change(&tag);
        assert_eq!(change(&[]), Err(Unmet::NotSaid));
        for (seen, expected) in [
            ("\"2\"", Ok(())),
            ("\"1\", \"2\"", Ok(())),
            ("*", Ok(())),
            ("\"1\"", Err(Unmet::OtherState)),
            ("\"22\"", Err(Unmet::OtherState)),
            // A weak tag says only that both mean the same; that is not enough to write.
            ("W/\"2\"", Err(Unmet::OtherState)),
        ] {
            assert_eq!(change(&[("if-match", seen)]), expected, "{seen}");
        }
        assert_eq!(change(&[("if-none-match", "*")]), Err(Unmet::OtherState), "it was to be created");
        assert_eq!(condition(&[]).allows_no_change(&tag), Ok(()), "nothing is overwritten");
        assert_eq!(condition(&[("if-match", "\"2\"")]).allows_no_change(&tag), Ok(()));
        assert_eq!(condition(&[("if-match", "\"1\"")]).allows_no_change(&tag), Err(Unmet::OtherState));
    }

    #[test]
    fn what_is_not_there_is_created_unless_it_was_to_be_changed() {
        assert_eq!(condition(&[]).allows_creation(), Ok(()));
        assert_eq!(condition(&[("if-none-match", "*")]).allows_creation(), Ok(()));
        for seen in ["*", "\"1\""] {
            assert_eq!(condition(&[("if-match", seen)]).allows_creation(), Err(Unmet::OtherState), "{seen}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let tag = Tag::of_content(&["a"]);
        assert_ne!(tag, Tag::of_content(&["b"]));
        for (known, status) in [(tag.0.as_str(), 304), ("\"other\"", 200), ("*", 304)] {
            let answer = condition(&[("if-none-match", known)]).show(&tag, "shown");
            let shown = (answer.status().as_u16(), answer.headers()["etag"].to_str().unwrap());
            assert_eq!(shown, (status, tag.0.as_str()), "{known}");
        }
        assert_eq!(condition(&[]).show(&tag, "shown").status(), 200);
    }
}
