//! Which blobs there are: compact memory of our own, kept across restarts by [`super::Index`].

use std::collections::{HashMap, HashSet};

use crate::model::Digest;

/// The unit in which file systems hand out room.
const BLOCK_BYTES: u64 = 4096;
/// Digest, size, last use.
const RECORD_BYTES: usize = Digest::LEN + 8 + 8;

#[derive(Debug, Default)]
pub(super) struct Table {
    blobs: HashMap<Digest, Record>,
    bytes: u64,
    changed: HashSet<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) size_bytes: u64,
    /// Seconds since 1970, by this host's clock.
    pub(super) used_secs: u64,
}

impl Table {
    pub(super) fn insert(&mut self, digest: Digest, record: Record) {
        if let Some(before) = self.blobs.insert(digest, record) {
            self.bytes -= blocks(before.size_bytes);
        }
        self.bytes += blocks(record.size_bytes);
        self.changed.insert(digest.shard());
    }

    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let Some(record) = self.blobs.remove(digest) else { return false };
        self.bytes -= blocks(record.size_bytes);
        self.changed.insert(digest.shard());
        true
    }

    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).map(|record| record.size_bytes)
    }

    pub(super) fn touch(&mut self, digest: &Digest, now_secs: u64) {
        if let Some(record) = self.blobs.get_mut(digest)
            && record.used_secs != now_secs
        {
            record.used_secs = now_secs;
            self.changed.insert(digest.shard());
        }
    }

    pub(super) fn used_secs(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).map(|record| record.used_secs)
    }

    pub(super) fn len(&self) -> u64 {
        self.blobs.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of blobs in each shard.
    pub(super) fn by_shard(&self) -> [u64; 256] {
        let mut counts = [0; 256];
        for digest in self.blobs.keys() {
            counts[usize::from(digest.shard())] += 1;
        }
        counts
    }

    /// The shards that changed since this was last asked, packed for the index.
    pub(super) fn take_changed(&mut self) -> Vec<(u8, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let mut shards: HashMap<u8, Vec<u8>> =
            changed.into_iter().map(|shard| (shard, Vec::new())).collect();
        for (digest, record) in &self.blobs {
            if let Some(packed) = shards.get_mut(&digest.shard()) {
                packed.extend_from_slice(digest.as_bytes());
                packed.extend_from_slice(&record.size_bytes.to_le_bytes());
                packed.extend_from_slice(&record.used_secs.to_le_bytes());
            }
        }
        shards.into_iter().collect()
    }

    /// Adds what [`take_changed`](Self::take_changed) packed; false when it is damaged.
    pub(super) fn add_packed(&mut self, shard: u8, packed: &[u8]) -> bool {
        let (records, rest) = packed.as_chunks::<RECORD_BYTES>();
        for record in records {
            let (digest, numbers) =
                record.split_first_chunk().expect("a record begins with a digest");
            let (size, used) = numbers.split_first_chunk().expect("then comes the size");
            let used = used.first_chunk().expect("then the last use");
            let digest = Digest::from_bytes(*digest);
            if digest.shard() != shard {
                return false;
            }
            let (size_bytes, used_secs) = (u64::from_le_bytes(*size), u64::from_le_bytes(*used));
            self.insert(digest, Record { size_bytes, used_secs });
        }
        rest.is_empty()
    }

    /// What is in the table is what the index has.
    pub(super) fn unchanged(mut self) -> Self {
        self.changed.clear();
        self
    }
}

fn blocks(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}
