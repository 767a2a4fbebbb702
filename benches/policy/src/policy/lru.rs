//! Least recently used: a list, renewed at each touch.

use super::list::List;
use super::{Blob, Now, Policy};

#[derive(Debug)]
pub struct Lru {
    capacity_bytes: u64,
    list: List,
}

impl Lru {
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, list: List::new() }
    }
}

impl Policy for Lru {
    fn admit(&mut self, blob: Blob, _now: Now, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        while self.list.bytes() + blob.size_bytes > self.capacity_bytes
            && let Some((id, _)) = self.list.pop()
        {
            victims.push(id);
        }
        self.list.push(blob.id, blob.size_bytes);
    }

    fn touch(&mut self, id: u32, _now: Now) {
        self.list.renew(id);
    }

    fn remove(&mut self, id: u32) {
        self.list.remove(id);
    }
}
