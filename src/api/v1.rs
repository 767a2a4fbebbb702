//! Requests and answers under `/v1`.

use serde::{Deserialize, Serialize};

use crate::model::{CacheEntry, Digest, Provenance};

/// `POST /v1/projects/{project}/caches/find`: is there a cache by exactly this key?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct FindCache {
    /// The whole key.
    pub key: String,
}

/// `POST /v1/projects/{project}/caches/restore`: which cache do these keys name? Starts to bring
/// its packs to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct RestoreCache {
    /// Key prefixes, tried in order; the newest match of the first that matches anything wins.
    pub keys: Vec<String>,
}

/// The answer to [`FindCache`] and [`RestoreCache`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct FoundCache {
    /// Nothing when no key matched.
    pub entry: Option<CacheEntry>,
    /// What made the answer less sure than it should be, for people: the backend did not answer, say.
    pub warnings: Vec<String>,
}

/// `POST /v1/projects/{project}/caches/save`: gives a manifest, whose packs the host holds, a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct SaveCache {
    /// The whole key, at most 900 characters.
    pub key: String,
    /// The manifest blob, stored before.
    pub manifest: Digest,
    /// Bytes of the files in the tree.
    pub size_bytes: u64,
    /// Number of entries in the tree.
    pub files: u64,
    /// The saved paths as the job gave them, for people.
    pub paths: Vec<String>,
    /// Who saves.
    pub provenance: Provenance,
}

/// The answer to [`SaveCache`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct SavedCache {
    /// False when the key existed and the save changed nothing.
    pub stored: bool,
    /// The entry that holds the key now.
    pub entry: CacheEntry,
}

/// `POST /v1/projects/{project}/chunks/find`: which of these chunks has the project saved lately?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct FindChunks {
    /// At most [`FindChunks::DIGESTS_MAX`].
    pub digests: Vec<Digest>,
}

impl FindChunks {
    /// More in one request are refused.
    pub const DIGESTS_MAX: usize = 16_384;
}

/// The answer to [`FindChunks`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct KnownChunks {
    /// The packs that `chunks` points into.
    pub packs: Vec<KnownPack>,
    /// Those that are known; the others have to be sent.
    pub chunks: Vec<KnownChunk>,
}

/// A pack that the project has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct KnownPack {
    /// Its name.
    pub digest: Digest,
    /// Bytes of chunk data in it.
    pub data_bytes: u64,
    /// Number of chunks in it.
    pub chunks: u32,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct KnownChunk {
    /// Position in [`FindChunks::digests`].
    pub wanted: u32,
    /// Position in [`KnownChunks::packs`].
    pub pack: u32,
    /// Position in the pack's table.
    pub chunk: u32,
}

/// The answer to `POST …/packs` and `POST …/manifests`: the body lies durably on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct StoredBlob {
    /// BLAKE3 of the body.
    pub digest: Digest,
    /// Length of the body.
    pub size_bytes: u64,
}

/// What `GET …/packs/{digest}/descriptor` asks to upgrade to: after the answer the caller writes a byte,
/// and the daemon a byte that carries the pack's file, open for reading (`SCM_RIGHTS`, unix(7)).
pub const DESCRIPTOR_PROTOCOL: &str = "larder-descriptor";

/// The answer to `POST …/packs/{digest}/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct VerifiedBlob {
    /// True when the host's copy was right; false when it was wrong, and has been replaced by a right one.
    pub intact: bool,
}

/// `POST /v1/flush`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct Flush {
    /// Seconds to wait for the outbox to be empty; 0 only asks how it stands.
    #[serde(default)]
    pub wait_secs: u64,
}

/// How the outbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct Outbox {
    /// Saves that the backend does not have yet.
    pub entries: u64,
    /// Their blobs' bytes on the host.
    pub bytes: u64,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// The data folder.
    pub data: String,
    /// The backend, without secrets.
    pub backend: String,
    /// Blobs on the host.
    pub blobs: u64,
    /// Bytes that the blobs take on the host's disk.
    pub disk_bytes: u64,
    /// Bytes that they may take.
    pub disk_max_bytes: u64,
    /// Bytes promised to blobs that are being written.
    pub disk_reserved_bytes: u64,
    /// Bytes that are free on the file system of the data folder.
    pub disk_free_bytes: u64,
    /// Bytes that are left to others there.
    pub disk_min_free_bytes: u64,
    /// What waits to be flushed.
    pub outbox: Outbox,
    /// Restores that found something, since the start.
    pub hits: u64,
    /// Restores that found nothing, since the start.
    pub misses: u64,
    /// Bytes read from the backend since the start.
    pub backend_read_bytes: u64,
    /// Bytes written to the backend since the start.
    pub backend_written_bytes: u64,
}
