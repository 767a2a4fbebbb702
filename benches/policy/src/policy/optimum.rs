//! Knows the future: evicts what is read again last, the newcomer itself if that is the one.
//!
//! With sizes this is no proven bound (the true optimum is NP-hard), but no policy here comes near it.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::{Blob, Now, Policy};

#[derive(Debug)]
pub struct Optimum {
    capacity_bytes: u64,
    used_bytes: u64,
    next_read: Rc<[u32]>,
    records: HashMap<u32, (u32, u64)>,
    queue: BTreeSet<(u32, u32)>,
}

impl Optimum {
    /// `next_read[at]` is the position of the next read of the blob that is accessed at `at`, or the maximum for never.
    pub fn new(capacity_bytes: u64, next_read: Rc<[u32]>) -> Self {
        Self {
            capacity_bytes,
            used_bytes: 0,
            next_read,
            records: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }
}

impl Policy for Optimum {
    fn admit(&mut self, blob: Blob, now: Now, victims: &mut Vec<u32>) {
        let next = self.next_read[now.at];
        self.records.insert(blob.id, (next, blob.size_bytes));
        self.queue.insert((next, blob.id));
        self.used_bytes += blob.size_bytes;
        while self.used_bytes > self.capacity_bytes
            && let Some(&(_, id)) = self.queue.last()
        {
            self.remove(id);
            victims.push(id);
        }
    }

    fn touch(&mut self, id: u32, now: Now) {
        if let Some((next, _)) = self.records.get_mut(&id) {
            self.queue.remove(&(*next, id));
            *next = self.next_read[now.at];
            self.queue.insert((*next, id));
        }
    }

    fn remove(&mut self, id: u32) {
        if let Some((next, size_bytes)) = self.records.remove(&id) {
            self.queue.remove(&(next, id));
            self.used_bytes -= size_bytes;
        }
    }
}
