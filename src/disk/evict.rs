//! Making room. Victims are chosen under the table's lock and removed outside of it, one by one.

use super::budget::Space;
use super::ingest::now_secs;
use super::table::{Table, blocks};
use super::{Disk, Error, Result};
use crate::model::Digest;

/// Rounds of eviction for one reservation: others may take the room that was made.
const ROUNDS_MAX: usize = 8;
/// What one round frees at least, so that the next reservations find room.
const ROUND_BYTES: u64 = 16 << 20;

/// Room for bytes that are to be written; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    disk: Disk,
    bytes: u64,
}

impl Room {
    pub(super) fn none(disk: Disk) -> Self {
        Self { disk, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves what is missing to `bytes` in all. Blocks while other blobs go.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = blocks(bytes).saturating_sub(self.bytes);
        if more > 0 {
            self.disk.reserve(more)?;
            self.bytes += more;
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.disk.0.budget.give_back(self.bytes);
    }
}

/// What an eviction achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// Blobs that went.
    pub blobs: u64,
    /// Bytes that they took, in whole blocks.
    pub bytes: u64,
}

impl Disk {
    fn reserve(&self, bytes: u64) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let space = Space::of(self.root())?;
            let table = self.table();
            let (used, budget) = (table.bytes(), &self.0.budget);
            let room = budget.room(used, space);
            if bytes <= room {
                budget.reserve(bytes);
                if budget.is_tight(used, space) {
                    self.0.tight.notify_one();
                }
                return Ok(());
            }
            if bytes > budget.max_bytes() {
                break;
            }
            let need = (bytes - room).max(ROUND_BYTES.min(budget.max_bytes() / 16));
            let victims = self.victims(&table, need);
            drop(table);
            if victims.is_empty() {
                break;
            }
            self.evict_all(&victims)?;
        }
        Err(Error::NoRoom { bytes, max_bytes: self.0.budget.max_bytes() })
    }

    /// Evicts until there is some room to spare. For a thread that may block; [`wait_until_tight`] tells
    /// when it is worth it.
    ///
    /// [`wait_until_tight`]: Self::wait_until_tight
    pub fn evict(&self) -> Result<Evicted> {
        let space = Space::of(self.root())?;
        let table = self.table();
        if !self.0.budget.is_tight(table.bytes(), space) {
            return Ok(Evicted::default());
        }
        let excess = self.0.budget.excess(table.bytes(), space);
        let victims = self.victims(&table, excess);
        drop(table);
        self.evict_all(&victims)
    }

    /// Returns when little room is left.
    pub async fn wait_until_tight(&self) {
        self.0.tight.notified().await;
    }

    fn victims(&self, table: &Table, need_bytes: u64) -> Vec<Digest> {
        let max_bytes = self.0.budget.max_bytes();
        table.victims(need_bytes, max_bytes, now_secs(), |digest| self.0.leases.holds(digest))
    }

    fn evict_all(&self, victims: &[Digest]) -> Result<Evicted> {
        let mut evicted = Evicted::default();
        for digest in victims {
            match self.remove(digest) {
                Ok(Some(size_bytes)) => {
                    evicted.blobs += 1;
                    evicted.bytes += blocks(size_bytes);
                }
                // Somebody has begun to use it, or it is gone.
                Ok(None) | Err(Error::Leased(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.0.metrics.evicted_blobs.increment(evicted.blobs);
        self.0.metrics.evicted_bytes.increment(evicted.bytes);
        tracing::debug!(blobs = evicted.blobs, bytes = evicted.bytes, "evicted");
        Ok(evicted)
    }

    /// Removes a blob; gives its size if it was there. One that is leased stays.
    pub fn remove(&self, digest: &Digest) -> Result<Option<u64>> {
        // Whoever stores the same bytes anew at this moment waits, so that it is not their file that goes.
        let _shard = self.shard(digest);
        let record = {
            let mut table = self.table();
            if self.0.leases.holds(digest) {
                return Err(Error::Leased(*digest));
            }
            let record = table.remove(digest);
            self.0.metrics.show(&table);
            record
        };
        match fs_err::remove_file(self.0.layout.blob(digest)) {
            Ok(()) => Ok(Some(record.map_or(0, |record| record.size_bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(record.map(|record| record.size_bytes))
            }
            Err(error) => Err(Error::io(error)),
        }
    }
}
