//! The file as it is written.

use serde::Deserialize;

/// `larder.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) serve: Serve,
    pub(super) disk: Disk,
    pub(super) backend: Backend,
}

/// `[serve]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Serve {
    /// Addresses on loopback, or `off`.
    pub(super) listen: Option<Listen>,
    /// A path, or `off`.
    pub(super) socket: Option<String>,
    /// The data folder.
    pub(super) data: Option<String>,
}

/// `[disk]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Disk {
    /// Bytes or %, as text.
    pub(super) max_size: Option<String>,
    /// Bytes or %, as text.
    pub(super) min_free: Option<String>,
}

/// `[backend]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backend {
    pub(super) url: Option<String>,
}

/// One address or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Listen {
    One(String),
    Many(Vec<String>),
}
