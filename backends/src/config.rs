//! From a URL to a backend.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::memory::Memory;
use crate::{Backend, ObjectPath};

/// Where objects are kept, as a URL says it:
///
/// ```text
/// memory:                          for trials; gone when the process ends
/// file:///path                     a folder of Larder's own, also on NFS
/// s3://bucket/prefix?region=eu-west-1&endpoint=https://minio:9000&path_style=true
/// ```
///
/// The region is us-east-1 unless told here; `endpoint` implies `path_style`. Credentials are never
/// part of it: they come from the standard AWS chain (environment, profile, web identity, instance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Memory,
    Folder(PathBuf),
    S3(S3),
}

/// What an `s3:` URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    pub(crate) prefix: Option<ObjectPath>,
    pub(crate) region: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: bool,
}

/// What is wrong with a backend's URL, and how it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// None of those known.
    #[error("the backend `{0}` does not begin with `s3://`, `file:///` or `memory:`")]
    Scheme(String),
    /// A part of the URL.
    #[error("the {part} `{value}` of the backend is not valid: {remedy}")]
    Part {
        /// Which part.
        part: &'static str,
        /// As given.
        value: String,
        /// What would be right.
        remedy: String,
    },
    /// An option that this kind of backend does not have.
    #[error("the backend has no option `{option}`; there are: {known}")]
    UnknownOption {
        /// As given.
        option: String,
        /// Those it has.
        known: &'static str,
    },
    /// The same option twice.
    #[error("the option `{0}` of the backend is given twice; keep one")]
    Repeated(String),
    /// User name or password in the URL.
    #[error(
        "the backend's URL holds credentials; take them out: they come from AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, a profile or the instance"
    )]
    Credentials,
    /// Left out when this program was built.
    #[error("this program was built without the backend `{0}`; build it with the feature `{1}`")]
    NotBuilt(&'static str, &'static str),
}

const S3_OPTIONS: &str = "region, endpoint, path_style";

impl Config {
    /// Understands a backend's URL. Nothing is touched.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let kind = if let Some(rest) = url.strip_prefix("s3://") {
            Kind::S3(parse_s3(rest)?)
        } else if let Some(rest) = url.strip_prefix("file:") {
            Kind::Folder(parse_folder(rest)?)
        } else if let Some(rest) = url.strip_prefix("memory:") {
            if !rest.is_empty() {
                return Err(part("rest", rest, "`memory:` takes no path and no options"));
            }
            Kind::Memory
        } else {
            return Err(ConfigError::Scheme(without_credentials(url)));
        };
        Ok(Self(kind))
    }

    /// A folder, as `file:` would give it.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Folder(path.into()))
    }

    /// The folder of a `file:` backend.
    pub fn as_folder(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Kind::Folder(path) => Some(path),
            Kind::Memory | Kind::S3(_) => None,
        }
    }

    /// The backend, trying again by itself what may succeed later. Connects and creates nothing yet,
    /// so that a network that is down is no obstacle; each `memory:` is a new one.
    pub fn open(&self) -> Result<Arc<dyn Backend>, ConfigError> {
        match &self.0 {
            Kind::Memory => Ok(Arc::new(Memory::new())),
            Kind::Folder(path) => open_folder(path),
            Kind::S3(s3) => open_s3(s3),
        }
    }
}

#[cfg(feature = "fs")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn open_folder(path: &std::path::Path) -> Result<Arc<dyn Backend>, ConfigError> {
    use crate::layer::{Policy, Retry};
    let folder = Arc::new(crate::fs::Folder::new(path));
    Ok(Arc::new(Retry::new(folder, Policy::default())))
}

#[cfg(not(feature = "fs"))]
fn open_folder(_: &std::path::Path) -> Result<Arc<dyn Backend>, ConfigError> {
    Err(ConfigError::NotBuilt("file", "fs"))
}

#[cfg(feature = "s3")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn open_s3(config: &S3) -> Result<Arc<dyn Backend>, ConfigError> {
    use crate::layer::{Policy, Retry};
    let s3 = Arc::new(crate::s3::S3::new(config, crate::s3::Tuning::default(), None));
    Ok(Arc::new(Retry::new(s3, Policy::resume_only())))
}

#[cfg(not(feature = "s3"))]
fn open_s3(_: &S3) -> Result<Arc<dyn Backend>, ConfigError> {
    Err(ConfigError::NotBuilt("s3", "s3"))
}

#[cfg(feature = "s3")]
impl Config {
    /// The S3 backend of an `s3:` URL without the layer that resumes, tuned otherwise, and with an
    /// access key's id and secret where they are not to be looked for.
    pub fn open_s3_with(
        &self,
        tuning: crate::s3::Tuning,
        keys: Option<(&str, &str)>,
    ) -> Option<crate::s3::S3> {
        let Kind::S3(config) = &self.0 else { return None };
        let keys = keys.map(|(id, secret)| crate::s3::keys(id, secret));
        Some(crate::s3::S3::new(config, tuning, keys))
    }
}

/// The URL again, in its shortest form.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory => f.write_str("memory:"),
            Kind::Folder(path) => write!(f, "file://{}", path.display()),
            Kind::S3(s3) => s3.fmt(f),
        }
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if let Some(prefix) = &self.prefix {
            write!(f, "/{prefix}")?;
        }
        let mut separator = '?';
        let mut option = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            write!(f, "{}{name}={value}", std::mem::replace(&mut separator, '&'))
        };
        if self.region != REGION {
            option(f, "region", &self.region)?;
        }
        if let Some(endpoint) = &self.endpoint {
            option(f, "endpoint", endpoint)?;
        }
        if self.path_style != self.endpoint.is_some() {
            option(f, "path_style", &self.path_style)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Config {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Self::parse(url)
    }
}

/// Where CircleCI keeps its own, and S3's default.
const REGION: &str = "us-east-1";

fn parse_folder(rest: &str) -> Result<PathBuf, ConfigError> {
    let remedy = "write `file:///path`, with an absolute path and no options";
    let path = rest.strip_prefix("//").ok_or_else(|| part("path", rest, remedy))?;
    let path =
        decode(path).ok_or_else(|| part("path", path, "`%` needs two hexadecimal digits"))?;
    if !path.starts_with('/') || rest.contains('?') {
        return Err(part("path", &path, remedy));
    }
    Ok(PathBuf::from(path))
}

fn parse_s3(rest: &str) -> Result<S3, ConfigError> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.contains('@') || bucket.contains(':') {
        return Err(ConfigError::Credentials);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(fits) {
        return Err(part(
            "bucket",
            bucket,
            "a bucket's name has 3 to 63 letters, digits, `-` and `.`",
        ));
    }
    let bad_prefix = |error: &dyn fmt::Display| part("prefix", prefix, error);
    let prefix = match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" => None,
        text => {
            let text =
                decode(text).ok_or_else(|| bad_prefix(&"`%` needs two hexadecimal digits"))?;
            Some(ObjectPath::parse(text).map_err(|error| bad_prefix(&error))?)
        }
    };
    let mut options = S3Options::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        options.take(pair)?;
    }
    Ok(S3 {
        bucket: bucket.to_owned(),
        prefix,
        region: options.region.unwrap_or_else(|| REGION.to_owned()),
        path_style: options.path_style.unwrap_or(options.endpoint.is_some()),
        endpoint: options.endpoint,
    })
}

#[derive(Default)]
struct S3Options {
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
}

impl S3Options {
    fn take(&mut self, pair: &str) -> Result<(), ConfigError> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value =
            decode(value).ok_or_else(|| part("query", pair, "`%` needs two hexadecimal digits"))?;
        let repeated = match name {
            "region" => self.region.replace(region(value)?).is_some(),
            "endpoint" => self.endpoint.replace(endpoint(value)?).is_some(),
            "path_style" => self.path_style.replace(path_style(&value)?).is_some(),
            _ => {
                let option = name.to_owned();
                return Err(ConfigError::UnknownOption { option, known: S3_OPTIONS });
            }
        };
        if repeated { Err(ConfigError::Repeated(name.to_owned())) } else { Ok(()) }
    }
}

fn region(value: String) -> Result<String, ConfigError> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(part("region", &value, "write it like `eu-west-1`, or leave it out"));
    }
    Ok(value)
}

fn endpoint(value: String) -> Result<String, ConfigError> {
    let remedy = "write `http://host:port` or `https://host`, or leave it out for AWS";
    let host = value
        .strip_prefix("https://")
        .or_else(|| value.strip_prefix("http://"))
        .ok_or_else(|| part("endpoint", &without_credentials(&value), remedy))?;
    if host.contains('@') {
        return Err(ConfigError::Credentials);
    }
    if host.is_empty() || host.starts_with(['/', ':']) || host.contains([' ', '?', '#']) {
        return Err(part("endpoint", &value, remedy));
    }
    Ok(value)
}

fn path_style(value: &str) -> Result<bool, ConfigError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(part("path_style", value, "write `true` or `false`")),
    }
}

fn part(part: &'static str, value: &str, remedy: impl fmt::Display) -> ConfigError {
    ConfigError::Part { part, value: value.to_owned(), remedy: remedy.to_string() }
}

/// An error's text may end in a log.
fn without_credentials(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    }
}

/// Percent-decoding; `None` when it is not well-formed.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Config::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn urls_print_as_they_were_in_their_shortest_form() {
        for (url, printed) in [
            ("memory:", "memory:"),
            ("file:///var/lib/larder%20x", "file:///var/lib/larder x"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/?region=us-east-1", "s3://bucket/a/b"),
            (
                "s3://bucket?region=eu-west-1&path_style=1",
                "s3://bucket?region=eu-west-1&path_style=true",
            ),
            (
                "s3://bucket/?endpoint=http%3A%2F%2F127.0.0.1:9000&path_style=true",
                "s3://bucket?endpoint=http://127.0.0.1:9000",
            ),
        ] {
            assert_eq!(Config::parse(url).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn faults_name_the_part_and_the_remedy() {
        assert_eq!(
            error("gs://bucket"),
            "the backend `gs://bucket` does not begin with `s3://`, `file:///` or `memory:`"
        );
        assert_eq!(
            error("file://relative/path"),
            "the path `relative/path` of the backend is not valid: write `file:///path`, with an \
             absolute path and no options"
        );
        assert_eq!(
            error("s3://b"),
            "the bucket `b` of the backend is not valid: a bucket's name has 3 to 63 letters, \
             digits, `-` and `.`"
        );
        assert_eq!(
            error("s3://bucket?regoin=eu-west-1"),
            "the backend has no option `regoin`; there are: region, endpoint, path_style"
        );
        assert_eq!(
            error("s3://bucket?region=a&region=b"),
            "the option `region` of the backend is given twice; keep one"
        );
        assert_eq!(
            error("s3://bucket/a//b"),
            "the prefix `a//b` of the backend is not valid: the object path `a//b` has an empty segment"
        );
        assert_eq!(
            error("s3://bucket?endpoint=minio:9000"),
            "the endpoint `minio:9000` of the backend is not valid: write `http://host:port` or \
             `https://host`, or leave it out for AWS"
        );
        assert_eq!(
            error("s3://bucket?path_style=yes"),
            "the path_style `yes` of the backend is not valid: write `true` or `false`"
        );
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        for url in [
            "s3://key:secret@bucket",
            "s3://bucket?endpoint=http://key:secret@host",
            "s3://bucket?endpoint=key:secret@host",
            "http://key:secret@host",
        ] {
            let text = error(url);
            assert!(!text.contains("secret@") && !text.contains("key:"), "{text}");
        }
    }
}
