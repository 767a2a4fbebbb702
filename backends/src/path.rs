//! The name of an object.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `/`-separated segments, 1 to [`ObjectPath::LEN_MAX`] bytes of UTF-8; can only be made by parsing.
///
/// No segment is empty, `.` or `..`, and there are no control characters: storage that lives on a
/// file system or speaks XML cannot hold them. No `\` either: some servers take it for a `/`, and so
/// two objects for one. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Arc<str>);

/// Why a text is no object path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Also what is left when a prefix is the whole text.
    #[error("an object path is empty")]
    Empty,
    /// More bytes than storage takes.
    #[error("the object path has {0} bytes; at most {max} are allowed", max = ObjectPath::LEN_MAX)]
    TooLong(usize),
    /// Starts or ends with `/`, or has two in a row.
    #[error("the object path `{0}` has an empty segment")]
    EmptySegment(String),
    /// `.` or `..`.
    #[error("the object path `{0}` has a segment `.` or `..`")]
    DotSegment(String),
    /// ASCII control characters, NUL among them, and `\`.
    #[error("the object path {0:?} has a control character or a backslash")]
    Character(String),
}

impl ObjectPath {
    /// S3's limit, in bytes.
    pub const LEN_MAX: usize = 1024;

    /// Checks and takes over.
    pub fn parse(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > Self::LEN_MAX {
            return Err(PathError::TooLong(path.len()));
        }
        if path.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
            return Err(PathError::Character(path));
        }
        if path.split('/').any(str::is_empty) {
            return Err(PathError::EmptySegment(path));
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(PathError::DotSegment(path));
        }
        Ok(Self(path.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text after the last `/`.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for ObjectPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// As text, and in its order.
impl Borrow<str> for ObjectPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

impl TryFrom<String> for ObjectPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

impl From<ObjectPath> for String {
    fn from(path: ObjectPath) -> Self {
        path.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_every_storage_holds_parse() {
        for good in ["a", "a/b", "ü/ß €", "...", "a b+c%20&?#\"'<>|*:~@=", "-", ".x/..y"] {
            assert_eq!(ObjectPath::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(ObjectPath::parse(""), Err(PathError::Empty));
        for bad in ["/", "/a", "a/", "a//b"] {
            assert_eq!(ObjectPath::parse(bad), Err(PathError::EmptySegment(bad.to_owned())));
        }
        for bad in [".", "..", "a/../b", "./a"] {
            assert_eq!(ObjectPath::parse(bad), Err(PathError::DotSegment(bad.to_owned())));
        }
        for bad in ["a\0b", "a\nb", "\x7f", "a\\b"] {
            assert_eq!(ObjectPath::parse(bad), Err(PathError::Character(bad.to_owned())));
        }
        assert!(ObjectPath::parse("x".repeat(1024)).is_ok());
        assert_eq!(ObjectPath::parse("x".repeat(1025)), Err(PathError::TooLong(1025)));
    }

    #[test]
    fn the_name_is_the_last_segment() {
        assert_eq!(ObjectPath::parse("a/b").unwrap().name(), "b");
        assert_eq!(ObjectPath::parse("a").unwrap().name(), "a");
    }
}
