//! The contract that every backend keeps, and the values it speaks in.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use crate::{Body, ByteStream, ObjectPath, Result};

/// Durable storage of immutable objects under `/`-separated paths.
///
/// No object may lie under another one (`a` and `a/b`): a folder cannot hold both. Storage that can
/// tell refuses the second with `Other`; callers must not do it.
///
/// Every method is here because the contract needs it: convenience lives in
/// [`BackendExt`](crate::BackendExt), and there are no default bodies, so that a wrapper cannot
/// forget one.
#[async_trait]
pub trait Backend: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// What this backend promises beyond the contract. Found out by asking the storage where it
    /// must be (see [`Features`]), once; constant afterwards.
    async fn features(&self) -> Result<Features>;

    /// Stores `body` under `path`. Readers see the old object, the new one or none, never a part
    /// of one. When `body` fails, or this future is dropped before the last of `body` was read,
    /// nothing is stored; dropped later, all of it or nothing. `Ok` means durable.
    ///
    /// With [`PutMode::Create`] an existing object stays as it is and the error is
    /// `AlreadyExists`; without [`Features::conditional_create`] that is only a best effort:
    /// several racing creators may all succeed. When the storage's answer to a creation got lost and
    /// the request was sent again, `AlreadyExists` may mean one's own object.
    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta>;

    /// The bytes from `range.start` to the smaller of `range.end` and the object's size. A range
    /// that is empty, or starts at or beyond the end, gives no bytes. Absent is `NotFound`.
    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object>;

    /// Absent is `NotFound`.
    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta>;

    /// Any number of them; those already gone count as removed. When it fails, some may be gone.
    async fn delete(&self, paths: &[ObjectPath]) -> Result<()>;

    /// What starts with `prefix` (any string, not only whole segments) and sorts after `after`,
    /// in byte order of the path. What is put or deleted meanwhile may be missing or not, the rest
    /// is there. After an error nothing more comes.
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>>;
}

/// What a backend promises beyond the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Of several racing [`PutMode::Create`] with bodies of up to [`Features::RACE_BYTES_MAX`] exactly
    /// one succeeds.
    pub conditional_create: bool,
}

impl Features {
    /// Larger bodies may go in parts, and not every server that honours the condition on one request
    /// does so on the end of many: SeaweedFS 4.48 lets several of them win. Such a creation still
    /// refuses what was there before it began, and the object is one of the winners', whole.
    pub const RACE_BYTES_MAX: u64 = 1 << 20;
}

/// Whether [`Backend::put`] may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// Fail with `AlreadyExists` when there is an object.
    Create,
    /// Replace, atomically.
    Overwrite,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Where it lies.
    pub path: ObjectPath,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it came to be, by the backend's own clock; the same in every answer. S3 knows seconds.
    pub created: Timestamp,
}

/// An object being read.
pub struct Object {
    /// Of the whole object, whatever the range.
    pub meta: ObjectMeta,
    /// The range's bytes. Ends early only with an error.
    pub body: ByteStream,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).finish_non_exhaustive()
    }
}
