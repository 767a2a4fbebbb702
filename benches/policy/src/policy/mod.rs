//! The policies: each is pure code behind [`Policy`], told of blobs and answering with victims.

mod gdsf;
mod list;
mod lru;
mod optimum;
mod s3fifo;
mod segmented;
mod sieve;
#[cfg(test)]
mod tests;
mod two_speed;

pub use gdsf::Gdsf;
pub use lru::Lru;
pub use optimum::Optimum;
pub use s3fifo::S3Fifo;
pub use segmented::Segmented;
pub use sieve::Sieve;
pub use two_speed::TwoSpeed;

/// A blob as a policy sees it; ids are dense, so that they index slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    pub id: u32,
    pub size_bytes: u64,
}

/// When something happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub secs: u64,
    /// The position in the trace, for the optimum alone.
    pub at: usize,
}

/// Decides what leaves the disk.
///
/// The caller knows what is resident: it admits only what is absent, and touches and removes only what is there.
pub trait Policy {
    /// Takes a blob in; appends what must go for it, which may be the blob itself.
    fn admit(&mut self, blob: Blob, now: Now, victims: &mut Vec<u32>);

    /// A resident blob was read, or written again.
    fn touch(&mut self, id: u32, now: Now);

    /// A resident blob is gone for another reason than want of room.
    fn remove(&mut self, id: u32);

    /// What would be persisted of a resident blob beside the time of its last use.
    fn counter(&self, _id: u32) -> u8 {
        0
    }

    /// Takes a blob in after a restart, as last used at `used`; the caller goes from the one used longest
    /// ago to the last one.
    fn restore(&mut self, blob: Blob, _counter: u8, used: Now, victims: &mut Vec<u32>) {
        self.admit(blob, used, victims);
    }
}
