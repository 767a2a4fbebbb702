//! S3-FIFO: a small queue for what is new, a main queue for what was read again, and a ghost that
//! remembers what the small one let go. A touch raises a two-bit counter and moves nothing.

use super::list::{List, Marks};
use super::{Blob, Now, Policy};

const FREQUENCY_MAX: u8 = 3;
/// Set in the counter of what is in the main queue.
const IN_MAIN: u8 = 4;

#[derive(Debug)]
pub struct S3Fifo {
    capacity_bytes: u64,
    promote_at: u8,
    small: List,
    main: List,
    ghost: List,
    frequency: Marks,
    in_main: Marks,
    in_ghost: Marks,
}

impl S3Fifo {
    /// What was touched `promote_at` times while in the small queue goes to the main one; the paper has 2.
    pub fn new(capacity_bytes: u64, promote_at: u8) -> Self {
        Self {
            capacity_bytes,
            promote_at,
            small: List::new(),
            main: List::new(),
            ghost: List::new(),
            frequency: Marks::default(),
            in_main: Marks::default(),
            in_ghost: Marks::default(),
        }
    }

    fn push_main(&mut self, id: u32, size_bytes: u64) {
        self.in_main.set(id, 1);
        self.main.push(id, size_bytes);
    }

    /// One step: something moves, or is evicted.
    fn step(&mut self, victims: &mut Vec<u32>) {
        let small_full = self.small.bytes() >= self.capacity_bytes / 10;
        if small_full || self.main.oldest().is_none() {
            let Some((id, size_bytes)) = self.small.pop() else { return };
            if self.frequency.get(id) >= self.promote_at {
                self.frequency.set(id, 0);
                self.push_main(id, size_bytes);
            } else {
                self.remember(id, size_bytes);
                victims.push(id);
            }
        } else if let Some((id, size_bytes)) = self.main.pop() {
            match self.frequency.get(id) {
                0 => victims.push(id),
                frequency => {
                    self.frequency.set(id, frequency - 1);
                    self.push_main(id, size_bytes);
                }
            }
        }
    }

    /// The ghost knows as many bytes as the main queue may hold.
    fn remember(&mut self, id: u32, size_bytes: u64) {
        self.in_ghost.set(id, 1);
        self.ghost.push(id, size_bytes);
        while self.ghost.bytes() > self.capacity_bytes - self.capacity_bytes / 10
            && let Some((forgotten, _)) = self.ghost.pop()
        {
            self.in_ghost.set(forgotten, 0);
        }
    }

    fn make_room(&mut self, size_bytes: u64, victims: &mut Vec<u32>) {
        while self.small.bytes() + self.main.bytes() + size_bytes > self.capacity_bytes {
            self.step(victims);
        }
    }
}

impl Policy for S3Fifo {
    fn admit(&mut self, blob: Blob, _now: Now, victims: &mut Vec<u32>) {
        if blob.size_bytes > self.capacity_bytes {
            return victims.push(blob.id);
        }
        let known = self.in_ghost.get(blob.id) != 0;
        if known {
            self.in_ghost.set(blob.id, 0);
            self.ghost.remove(blob.id);
        }
        self.make_room(blob.size_bytes, victims);
        self.frequency.set(blob.id, 0);
        if known {
            self.push_main(blob.id, blob.size_bytes);
        } else {
            self.in_main.set(blob.id, 0);
            self.small.push(blob.id, blob.size_bytes);
        }
    }

    fn touch(&mut self, id: u32, _now: Now) {
        self.frequency.set(id, FREQUENCY_MAX.min(self.frequency.get(id) + 1));
    }

    fn remove(&mut self, id: u32) {
        if self.in_main.get(id) == 0 {
            self.small.remove(id)
        } else {
            self.main.remove(id)
        };
    }

    fn counter(&self, id: u32) -> u8 {
        self.frequency.get(id) | (self.in_main.get(id) * IN_MAIN)
    }

    fn restore(&mut self, blob: Blob, counter: u8, _now: Now, victims: &mut Vec<u32>) {
        self.make_room(blob.size_bytes, victims);
        self.frequency.set(blob.id, counter & FREQUENCY_MAX);
        if counter & IN_MAIN == 0 {
            self.in_main.set(blob.id, 0);
            self.small.push(blob.id, blob.size_bytes);
        } else {
            self.push_main(blob.id, blob.size_bytes);
        }
    }
}
