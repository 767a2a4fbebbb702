//! What the catalog says of a saved cache.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, Key};

/// A saved cache: the small JSON object that gives a manifest its name. Immutable once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct CacheEntry {
    /// Format version; this describes [`CacheEntry::VERSION`].
    pub version: u32,
    /// The whole key.
    pub key: Key,
    /// The manifest of the saved tree.
    pub manifest: Digest,
    /// Bytes of the files in the tree.
    pub size_bytes: u64,
    /// Number of entries in the tree.
    pub files: u64,
    /// The saved paths as the job gave them, for people.
    pub paths: Vec<String>,
    /// When the save was acknowledged, by the saving host's clock. For look-ups the backend's own
    /// creation time counts instead, once there is one.
    #[cfg_attr(feature = "daemon", schema(value_type = String))]
    pub created: Timestamp,
    /// From when on the entry does not count as there any more.
    #[cfg_attr(feature = "daemon", schema(value_type = String))]
    pub expires: Timestamp,
    /// Who saved it.
    pub provenance: Provenance,
}

impl CacheEntry {
    /// The version written today.
    pub const VERSION: u32 = 1;
}

/// Where a save came from, as the job's environment told it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Provenance {
    /// Name of the CI, lower case: `circleci`; empty outside any.
    pub ci: String,
    /// Build or job number.
    pub build: String,
    /// The job's name.
    pub job: String,
    /// The branch built.
    pub branch: String,
    /// The commit built.
    pub revision: String,
}
