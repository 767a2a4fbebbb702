//! SIEVE: a queue in the order of admission, a bit for each blob, and a hand that goes from old to new
//! and takes the first whose bit is not set. A touch sets the bit and moves nothing.

use super::list::{List, Marks};
use super::{Blob, Now, Policy};

#[derive(Debug)]
pub struct Sieve {
    capacity_bytes: u64,
    list: List,
    visited: Marks,
    hand: Option<u32>,
}

impl Sieve {
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, list: List::new(), visited: Marks::default(), hand: None }
    }

    fn evict(&mut self) -> Option<u32> {
        let mut id = self.hand.or(self.list.oldest())?;
        while self.visited.get(id) != 0 {
            self.visited.set(id, 0);
            id = self.list.newer(id).or(self.list.oldest())?;
        }
        self.hand = self.list.newer(id);
        self.list.remove(id);
        Some(id)
    }
}

impl Policy for Sieve {
    fn admit(&mut self, blob: Blob, now: Now, victims: &mut Vec<u32>) {
        self.restore(blob, 0, now, victims);
    }

    fn touch(&mut self, id: u32, _now: Now) {
        self.visited.set(id, 1);
    }

    fn remove(&mut self, id: u32) {
        if self.hand == Some(id) {
            self.hand = self.list.newer(id);
        }
        self.list.remove(id);
    }

    fn counter(&self, id: u32) -> u8 {
        self.visited.get(id)
    }

    fn restore(&mut self, blob: Blob, counter: u8, _now: Now, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        while self.list.bytes() + blob.size_bytes > self.capacity_bytes
            && let Some(id) = self.evict()
        {
            victims.push(id);
        }
        self.list.push(blob.id, blob.size_bytes);
        self.visited.set(blob.id, counter);
    }
}
