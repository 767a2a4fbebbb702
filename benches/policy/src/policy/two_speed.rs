//! Two LRU lists, what is fresh and what was touched again some time after it came, of which the tail that
//! lay idle longer goes; idle time of the fresh counts [`FRESH_WEIGHT`] times. Needs a bit and the time of
//! the last use for each blob, and is nearly LRU where little is touched again.
//!
//! A scan that is quick enough would still push out what is used by day: so what was used again within
//! [`GRACE_SECS`] goes only when the fresh hold no more than a fifth of the room.

use super::list::{List, Marks};
use super::{Blob, Now, Policy};

/// A second of idleness of the fresh counts for so many.
const FRESH_WEIGHT: u64 = 16;
/// A night.
const GRACE_SECS: u64 = 12 * 3600;
/// What the fresh may hold in any case: one part in so many.
const FRESH_PART: u64 = 5;

#[derive(Debug)]
pub struct TwoSpeed {
    capacity_bytes: u64,
    settle_secs: u64,
    grace_secs: u64,
    fresh: List,
    again: List,
    is_again: Marks,
    came_secs: Vec<u64>,
    used_secs: Vec<u64>,
}

impl TwoSpeed {
    /// A touch makes a blob one that is used
    /// again when it has been there for `settle_secs`: the jobs of one workflow that read the same blob
    /// are no sign that it will be read tomorrow.
    pub fn new(capacity_bytes: u64, settle_secs: u64) -> Self {
        Self {
            capacity_bytes,
            settle_secs,
            grace_secs: GRACE_SECS,
            fresh: List::new(),
            again: List::new(),
            is_again: Marks::default(),
            came_secs: Vec::new(),
            used_secs: Vec::new(),
        }
    }

    /// Without the grace: a quick scan pushes out what rests.
    #[must_use]
    pub fn without_grace(self) -> Self {
        Self { grace_secs: 0, ..self }
    }

    fn list_of(&mut self, id: u32) -> &mut List {
        if self.is_again.get(id) == 0 { &mut self.fresh } else { &mut self.again }
    }

    fn idle_secs(&self, id: u32, now: Now) -> u64 {
        now.secs.saturating_sub(self.used_secs[id as usize])
    }

    fn victim(&self, now: Now) -> Option<u32> {
        let (fresh, again) = (self.fresh.oldest(), self.again.oldest());
        let (Some(fresh), Some(again)) = (fresh, again) else { return fresh.or(again) };
        let is_crowded = self.fresh.bytes() > self.capacity_bytes / FRESH_PART;
        let grace_secs = if is_crowded { self.grace_secs } else { 0 };
        let fresh_secs = self.idle_secs(fresh, now) * FRESH_WEIGHT + grace_secs;
        let is_fresh = fresh_secs >= self.idle_secs(again, now);
        Some(if is_fresh { fresh } else { again })
    }

    fn insert(&mut self, blob: Blob, counter: u8, now: Now, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        while self.fresh.bytes() + self.again.bytes() + blob.size_bytes > self.capacity_bytes
            && let Some(id) = self.victim(now)
        {
            self.list_of(id).remove(id);
            victims.push(id);
        }
        self.is_again.set(blob.id, counter);
        self.used_secs[blob.id as usize] = now.secs;
        self.list_of(blob.id).push(blob.id, blob.size_bytes);
    }

    fn grow(&mut self, id: u32) {
        if self.used_secs.len() <= id as usize {
            self.came_secs.resize(id as usize + 1, 0);
            self.used_secs.resize(id as usize + 1, 0);
        }
    }
}

impl Policy for TwoSpeed {
    fn admit(&mut self, blob: Blob, now: Now, victims: &mut Vec<u32>) {
        self.grow(blob.id);
        self.came_secs[blob.id as usize] = now.secs;
        self.insert(blob, 0, now, victims);
    }

    fn touch(&mut self, id: u32, now: Now) {
        let size_bytes = self.list_of(id).remove(id);
        if now.secs >= self.came_secs[id as usize] + self.settle_secs {
            self.is_again.set(id, 1);
        }
        self.used_secs[id as usize] = now.secs;
        self.list_of(id).push(id, size_bytes);
    }

    fn remove(&mut self, id: u32) {
        self.list_of(id).remove(id);
    }

    fn counter(&self, id: u32) -> u8 {
        self.is_again.get(id)
    }

    /// When it came is not persisted: it came before its last use.
    fn restore(&mut self, blob: Blob, counter: u8, used: Now, victims: &mut Vec<u32>) {
        self.grow(blob.id);
        self.came_secs[blob.id as usize] = used.secs;
        self.insert(blob, counter, used, victims);
    }
}
