//! What was read and written on a host, in order: made up by seed, or recorded by a daemon.

mod job;
mod project;
mod recorded;
mod shape;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use recorded::parse;
pub use shape::{Shape, shapes};

use crate::policy::Blob;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub secs: u64,
    pub is_write: bool,
    pub blob: Blob,
}

#[derive(Debug)]
pub struct Trace {
    pub name: String,
    pub accesses: Vec<Access>,
    /// How many different blobs there are.
    pub blobs: usize,
    /// Their bytes: the working set.
    pub unique_bytes: u64,
    /// For each access where its blob is read next, unless it is written before.
    pub next_read: Rc<[u32]>,
}

impl Trace {
    /// The ids of the blobs must be dense.
    pub fn new(name: String, accesses: Vec<Access>) -> Self {
        let blobs = accesses.iter().map(|access| access.blob.id as usize + 1).max().unwrap_or(0);
        let mut next_read = vec![u32::MAX; accesses.len()];
        let mut next = vec![u32::MAX; blobs];
        let mut unique_bytes = 0;
        let mut seen = vec![false; blobs];
        for (at, access) in accesses.iter().enumerate().rev() {
            let id = access.blob.id as usize;
            next_read[at] = next[id];
            next[id] = if access.is_write { u32::MAX } else { at as u32 };
            if !seen[id] {
                seen[id] = true;
                unique_bytes += access.blob.size_bytes;
            }
        }
        Self { name, accesses, blobs, unique_bytes, next_read: next_read.into() }
    }
}
