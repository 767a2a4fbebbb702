//! The name a job asks a cache by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A complete key: 1 to 900 characters, no surrounding white space.
///
/// Limit and trimming follow CircleCI; a trailing newline from a YAML block would otherwise become
/// part of the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema), schema(value_type = String))]
#[serde(into = "String", try_from = "String")]
pub struct Key(String);

/// What a job asks for: it matches every key that starts with it. The same rules as [`Key`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyPrefix(String);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing is left after trimming.
    #[error("the key is empty")]
    Empty,
    /// More than 900 characters.
    #[error("the key has {0} characters; at most {max} are allowed: shorten it or hash a part of it with `checksum`", max = Key::CHARS_MAX)]
    TooLong(usize),
    /// An object name that no key escapes to.
    #[error("`{0}` is not the escaped form of a key")]
    NotEscaped(String),
}

impl Key {
    /// CircleCI's own limit.
    pub const CHARS_MAX: usize = 900;

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as one segment of an object's path.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// The key whose [`escaped`](Self::escaped) form is `name`.
    pub fn from_escaped(name: &str) -> Result<Self, KeyError> {
        let key = unescape(name).ok_or_else(|| KeyError::NotEscaped(name.to_owned()))?;
        if escape(&key) != name {
            return Err(KeyError::NotEscaped(name.to_owned()));
        }
        Ok(Self(checked(&key)?))
    }
}

impl KeyPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A prefix of the [`Key::escaped`] form of every key that this matches, and of no other's.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// Whether a restore that asks for this may take `key`.
    pub fn matches(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }
}

/// Escapes byte by byte, so that a prefix of the key is a prefix of the name: one listing answers a
/// prefix look-up. Letters, digits and `! ' ( ) * + , - . : = _` stay, except a dot at the very
/// start (`.` and `..` are not names); everything else becomes `@` and two upper-case hexadecimal digits.
fn escape(key: &str) -> String {
    use fmt::Write;
    let mut name = String::with_capacity(key.len() + 8);
    for (at, byte) in key.bytes().enumerate() {
        let stays = byte.is_ascii_alphanumeric()
            || b"!'()*+,-:=_".contains(&byte)
            || (byte == b'.' && at > 0);
        if stays {
            name.push(char::from(byte));
        } else {
            write!(name, "@{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    name
}

fn unescape(name: &str) -> Option<String> {
    let mut key = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'@' {
            let digits = [bytes.next()?, bytes.next()?];
            key.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            key.push(byte);
        }
    }
    String::from_utf8(key).ok()
}

fn checked(text: &str) -> Result<String, KeyError> {
    let text = text.trim();
    let chars = text.chars().count();
    match chars {
        0 => Err(KeyError::Empty),
        1..=Key::CHARS_MAX => Ok(text.to_owned()),
        _ => Err(KeyError::TooLong(chars)),
    }
}

macro_rules! text_value {
    ($name:ident, $error:ty, $check:expr) => {
        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(super) use text_value;

text_value!(Key, KeyError, checked);
text_value!(KeyPrefix, KeyError, checked);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn length_is_counted_in_characters_and_trimmed() {
        assert!("ä".repeat(900).parse::<Key>().is_ok());
        assert_eq!("a".repeat(901).parse::<Key>(), Err(KeyError::TooLong(901)));
        assert_eq!("v1-deps\n".parse::<Key>().map(|key| key.0), Ok("v1-deps".to_owned()));
        assert_eq!(" \n".parse::<Key>(), Err(KeyError::Empty));
    }

    #[test]
    fn names_never_climb_and_base64_stays_readable() {
        assert_eq!("..".parse::<Key>().map(|key| key.escaped()), Ok("@2E.".to_owned()));
        assert_eq!("a/b@".parse::<Key>().map(|key| key.escaped()), Ok("a@2Fb@40".to_owned()));
        assert_eq!("v1-k+_=".parse::<Key>().map(|key| key.escaped()), Ok("v1-k+_=".to_owned()));
        assert!(Key::from_escaped("a@2f").is_err(), "only one spelling");
        assert!(Key::from_escaped("a@61").is_err(), "only one spelling");
    }

    proptest! {
        #[test]
        fn escaping_keeps_the_key_and_its_prefixes(text in "\\PC{1,80}", cut in 1_usize..80) {
            let Ok(key) = text.parse::<Key>() else { return Ok(()) };
            let name = key.escaped();
            prop_assert!(!name.contains('/') && !name.contains("@."));
            prop_assert_eq!(Key::from_escaped(&name), Ok(key.clone()));
            let prefix: String = key.as_str().chars().take(cut).collect();
            if let Ok(prefix) = prefix.parse::<KeyPrefix>() {
                prop_assert!(prefix.matches(&key));
                prop_assert!(name.starts_with(&prefix.escaped()));
            }
        }
    }
}
