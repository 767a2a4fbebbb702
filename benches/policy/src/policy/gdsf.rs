//! Greedy-dual with sizes and frequency: the victim is the blob whose age at its last touch, plus the
//! times it was used weighed by what a byte of it costs to fetch, is smallest.

use std::collections::{BTreeSet, HashMap};

use super::{Blob, Now, Policy};

/// What a request costs besides its bytes, in bytes: 30 ms at 100 MB/s.
const REQUEST_COST_BYTES: f64 = 3_000_000.0;

#[derive(Debug)]
struct Record {
    size_bytes: u64,
    uses: u32,
    priority: u64,
}

#[derive(Debug)]
pub struct Gdsf {
    capacity_bytes: u64,
    used_bytes: u64,
    uses_max: u32,
    age: f64,
    records: HashMap<u32, Record>,
    queue: BTreeSet<(u64, u32)>,
}

impl Gdsf {
    /// Counts uses up to `uses_max`: the classic one never stops counting.
    pub fn new(capacity_bytes: u64, uses_max: u32) -> Self {
        Self {
            capacity_bytes,
            used_bytes: 0,
            uses_max,
            age: 0.0,
            records: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Positive floats sort as their bits do.
    fn priority(&self, size_bytes: u64, uses: u32) -> u64 {
        let size = size_bytes.max(1) as f64;
        (self.age + f64::from(uses) * (REQUEST_COST_BYTES + size) / size).to_bits()
    }

    fn insert(&mut self, blob: Blob, uses: u32, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        while self.used_bytes + blob.size_bytes > self.capacity_bytes
            && let Some(&(priority, id)) = self.queue.first()
        {
            self.age = f64::from_bits(priority);
            self.remove(id);
            victims.push(id);
        }
        let priority = self.priority(blob.size_bytes, uses);
        self.queue.insert((priority, blob.id));
        self.records.insert(blob.id, Record { size_bytes: blob.size_bytes, uses, priority });
        self.used_bytes += blob.size_bytes;
    }
}

impl Policy for Gdsf {
    fn admit(&mut self, blob: Blob, _now: Now, victims: &mut Vec<u32>) {
        self.insert(blob, 1, victims);
    }

    fn touch(&mut self, id: u32, _now: Now) {
        let Some(record) = self.records.get(&id) else { return };
        let uses = self.uses_max.min(record.uses + 1);
        let priority = self.priority(record.size_bytes, uses);
        self.queue.remove(&(record.priority, id));
        self.queue.insert((priority, id));
        if let Some(record) = self.records.get_mut(&id) {
            (record.uses, record.priority) = (uses, priority);
        }
    }

    fn remove(&mut self, id: u32) {
        if let Some(record) = self.records.remove(&id) {
            self.queue.remove(&(record.priority, id));
            self.used_bytes -= record.size_bytes;
        }
    }

    fn counter(&self, id: u32) -> u8 {
        self.records.get(&id).map_or(0, |record| record.uses.min(255) as u8)
    }

    fn restore(&mut self, blob: Blob, counter: u8, _now: Now, victims: &mut Vec<u32>) {
        self.insert(blob, u32::from(counter), victims);
    }
}
