//! Replays a trace against a policy, checks that it keeps its promises, and counts.

use std::time::{Duration, Instant};

use crate::policy::{Blob, Now, Policy};
use crate::trace::Trace;

/// What came of one replay; reads only, since what is written arrives anyway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub reads: u64,
    pub read_bytes: u64,
    pub hits: u64,
    pub hit_bytes: u64,
    pub took: Duration,
}

impl Outcome {
    pub fn backend_bytes(&self) -> u64 {
        self.read_bytes - self.hit_bytes
    }

    pub fn byte_hit_ratio(&self) -> f64 {
        self.hit_bytes as f64 / self.read_bytes.max(1) as f64
    }

    pub fn object_hit_ratio(&self) -> f64 {
        self.hits as f64 / self.reads.max(1) as f64
    }
}

/// What is on the disk, as the daemon's table would have it.
struct Disk {
    used_secs: Vec<u64>,
    resident: Vec<Option<u64>>,
    used_bytes: u64,
    capacity_bytes: u64,
    victims: Vec<u32>,
}

impl Disk {
    fn put(&mut self, blob: Blob) {
        self.resident[blob.id as usize] = Some(blob.size_bytes);
        self.used_bytes += blob.size_bytes;
    }

    fn drop_victims(&mut self) {
        for id in self.victims.drain(..) {
            let size_bytes = self.resident[id as usize].take();
            self.used_bytes -= size_bytes.expect("a victim is resident");
        }
        assert!(self.used_bytes <= self.capacity_bytes, "over the capacity");
    }

    /// A new policy learns what is there from what is persisted: seconds and a counter.
    fn restart(&mut self, old: &dyn Policy, new: &mut dyn Policy, at: usize) {
        let ids = 0..self.resident.len() as u32;
        let mut found: Vec<Blob> = ids
            .filter_map(|id| self.resident[id as usize].map(|size_bytes| Blob { id, size_bytes }))
            .collect();
        found.sort_by_key(|blob| (self.used_secs[blob.id as usize], blob.id.reverse_bits()));
        for blob in found {
            let used = Now { secs: self.used_secs[blob.id as usize], at };
            new.restore(blob, old.counter(blob.id), used, &mut self.victims);
        }
        self.drop_victims();
    }
}

/// With `restart_secs`, the daemon is restarted whenever so much time has passed.
pub fn replay(
    trace: &Trace,
    capacity_bytes: u64,
    restart_secs: Option<u64>,
    make: &dyn Fn() -> Box<dyn Policy>,
) -> Outcome {
    let mut disk = Disk {
        used_secs: vec![0; trace.blobs],
        resident: vec![None; trace.blobs],
        used_bytes: 0,
        capacity_bytes,
        victims: Vec::new(),
    };
    let (mut policy, mut outcome, started) = (make(), Outcome::default(), Instant::now());
    let mut up_since = trace.accesses.first().map_or(0, |access| access.secs);
    for (at, access) in trace.accesses.iter().enumerate() {
        let now = Now { secs: access.secs, at };
        if restart_secs.is_some_and(|secs| access.secs >= up_since + secs) {
            let mut next = make();
            disk.restart(policy.as_ref(), next.as_mut(), at);
            policy = next;
            up_since = access.secs;
        }
        let blob = access.blob;
        let is_hit = disk.resident[blob.id as usize].is_some();
        if !access.is_write {
            outcome.reads += 1;
            outcome.read_bytes += blob.size_bytes;
            outcome.hits += u64::from(is_hit);
            outcome.hit_bytes += if is_hit { blob.size_bytes } else { 0 };
        }
        disk.used_secs[blob.id as usize] = access.secs;
        if is_hit {
            policy.touch(blob.id, now);
        } else {
            disk.put(blob);
            policy.admit(blob, now, &mut disk.victims);
            disk.drop_victims();
        }
    }
    outcome.took = started.elapsed();
    outcome
}
