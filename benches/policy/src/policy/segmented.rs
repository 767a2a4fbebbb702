//! Two LRU lists: what is fresh, and what was touched again some time after it came. The first gives the
//! victims while it holds more than its share, so that scans and workspaces go before caches do.

use super::list::{List, Marks};
use super::{Blob, Now, Policy};

#[derive(Debug)]
pub struct Segmented {
    capacity_bytes: u64,
    new_share_bytes: u64,
    settle_secs: u64,
    fresh: List,
    again: List,
    is_again: Marks,
    came_secs: Vec<u64>,
}

impl Segmented {
    /// `new_percent` of the room is left to what is fresh. A touch counts when the blob has been there for
    /// `settle_secs`: the jobs of one workflow that read the same blob are no sign that it will be read tomorrow.
    pub fn new(capacity_bytes: u64, new_percent: u64, settle_secs: u64) -> Self {
        Self {
            capacity_bytes,
            new_share_bytes: capacity_bytes / 100 * new_percent,
            settle_secs,
            fresh: List::new(),
            again: List::new(),
            is_again: Marks::default(),
            came_secs: Vec::new(),
        }
    }

    fn list_of(&mut self, id: u32) -> &mut List {
        if self.is_again.get(id) == 0 { &mut self.fresh } else { &mut self.again }
    }
}

impl Policy for Segmented {
    fn admit(&mut self, blob: Blob, now: Now, victims: &mut Vec<u32>) {
        let index = blob.id as usize;
        if self.came_secs.len() <= index {
            self.came_secs.resize(index + 1, 0);
        }
        self.came_secs[index] = now.secs;
        self.restore(blob, 0, now, victims);
    }

    fn touch(&mut self, id: u32, now: Now) {
        let size_bytes = self.list_of(id).remove(id);
        // What was restored counts as long settled.
        let came_secs = self.came_secs.get(id as usize).copied().unwrap_or(0);
        if now.secs >= came_secs + self.settle_secs {
            self.is_again.set(id, 1);
        }
        self.list_of(id).push(id, size_bytes);
    }

    fn remove(&mut self, id: u32) {
        self.list_of(id).remove(id);
    }

    fn counter(&self, id: u32) -> u8 {
        self.is_again.get(id)
    }

    fn restore(&mut self, blob: Blob, counter: u8, _now: Now, victims: &mut Vec<u32>) {
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
        self.is_again.set(blob.id, counter);
        self.list_of(blob.id).push(blob.id, blob.size_bytes);
    }
}
