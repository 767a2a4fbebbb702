//! Two LRU lists: what was never touched since it came, and what was. The first gives the victims while
//! it holds more than its share, so that scans and workspaces go before caches do.

use super::list::{List, Marks};
use super::{Blob, Policy};

#[derive(Debug)]
pub struct Segmented {
    capacity_bytes: u64,
    new_share_bytes: u64,
    promote_at: u8,
    fresh: List,
    again: List,
    touches: Marks,
}

impl Segmented {
    /// `new_percent` of the room is left to blobs that were touched fewer than `promote_at` times.
    pub fn new(capacity_bytes: u64, new_percent: u64, promote_at: u8) -> Self {
        Self {
            capacity_bytes,
            new_share_bytes: capacity_bytes / 100 * new_percent,
            promote_at,
            fresh: List::new(),
            again: List::new(),
            touches: Marks::default(),
        }
    }

    fn is_fresh(&self, id: u32) -> bool {
        self.touches.get(id) < self.promote_at
    }
}

impl Policy for Segmented {
    fn admit(&mut self, blob: Blob, at: usize, victims: &mut Vec<u32>) {
        self.restore(blob, 0, at, victims);
    }

    fn touch(&mut self, id: u32, _at: usize) {
        if self.is_fresh(id) {
            let size_bytes = self.fresh.remove(id);
            self.touches.set(id, self.touches.get(id) + 1);
            let list = if self.is_fresh(id) { &mut self.fresh } else { &mut self.again };
            list.push(id, size_bytes);
        } else {
            self.again.renew(id);
        }
    }

    fn remove(&mut self, id: u32) {
        if self.is_fresh(id) {
            self.fresh.remove(id)
        } else {
            self.again.remove(id)
        };
    }

    fn counter(&self, id: u32) -> u8 {
        self.touches.get(id)
    }

    fn restore(&mut self, blob: Blob, counter: u8, _at: usize, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        while self.fresh.bytes() + self.again.bytes() + blob.size_bytes > self.capacity_bytes {
            let from_fresh =
                self.fresh.bytes() > self.new_share_bytes || self.again.oldest().is_none();
            let list = if from_fresh { &mut self.fresh } else { &mut self.again };
            let Some((id, _)) = list.pop() else { break };
            victims.push(id);
        }
        self.touches.set(blob.id, counter);
        let list = if self.is_fresh(blob.id) { &mut self.fresh } else { &mut self.again };
        list.push(blob.id, blob.size_bytes);
    }
}
