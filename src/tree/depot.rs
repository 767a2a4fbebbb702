//! Where packs go and come from, as the engine sees it.

use std::ops::Range;

use bytes::Bytes;

use crate::model::{Digest, PackRef};

/// The daemon, for the engine. Called from several threads at once; every call blocks.
pub trait Depot: Sync {
    /// Which of these chunks are there already; an answer for each, in order.
    fn find_chunks(&self, digests: &[Digest]) -> Result<Vec<Option<Known>>, DepotError>;

    /// Begins to store a pack.
    fn begin_pack(&self) -> Result<Box<dyn Upload>, DepotError>;

    /// Replaces the content of `into` by exactly these bytes of the pack.
    fn read_pack(
        &self,
        pack: &PackRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), DepotError>;

    /// Says that bytes of the pack were wrong. Success means that reading again is worth it.
    fn report_wrong(&self, pack: &PackRef) -> Result<(), DepotError>;
}

/// A pack being stored. Dropped before [`wait`](Self::wait) has returned, it may be there or not.
pub trait Upload: Send {
    /// Appends; blocks while the receiver is slower.
    fn write(&mut self, bytes: Bytes) -> Result<(), DepotError>;

    /// Says that nothing more comes; does not wait.
    fn end(&mut self);

    /// Waits until the pack lies durably on the host, and gives its digest.
    fn wait(self: Box<Self>) -> Result<Digest, DepotError>;
}

/// A chunk that need not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The pack it lies in.
    pub pack: PackRef,
    /// Its position in the pack's table.
    pub chunk: u32,
}

/// Why the other side could not do its part.
pub type DepotError = Box<dyn std::error::Error + Send + Sync>;
