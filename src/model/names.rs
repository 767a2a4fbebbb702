//! Who something belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::key::text_value;

/// The tenant: everything is inside one. On CircleCI the project's UUID; `local` outside any CI.
///
/// 1 to 128 of `A-Z a-z 0-9 . _ -`, not starting with a dot: it is one segment of an object's path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Project(String);

/// The trust tier within a project that wrote an entry. The same characters as [`Project`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scope(String);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a usable name: 1 to 128 of `A-Z a-z 0-9 . _ -` are allowed, not starting with a dot"
)]
pub struct NameError(String);

impl Project {
    /// The project of whoever is in no CI and named none.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scope {
    /// The scope that all branches of a project share, as CircleCI's caches do.
    pub fn shared() -> Self {
        Self("shared".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(text: &str) -> Result<String, NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=128).contains(&text.len()) && !text.starts_with('.');
    if fits && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(NameError(text.chars().take(150).collect()))
    }
}

text_value!(Project, NameError, checked);
text_value!(Scope, NameError, checked);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_harmless_segments() {
        for good in ["local", "0f9c1d3e-6a1b-4d2e", "a.b_c"] {
            assert!(good.parse::<Project>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(bad.parse::<Project>().is_err(), "{bad}");
        }
    }
}
