//! Which blobs there are: compact memory of our own, kept across restarts by [`super::Index`]. A slab of
//! records with the queue of the eviction policy threaded through it, and a hash table of places in it:
//! about 110 bytes a blob.

use hashbrown::HashTable;

use super::policy::{Item, Queue, Step};
use crate::model::Digest;

/// The unit in which file systems hand out room.
const BLOCK_BYTES: u64 = 4096;
/// Records that are written to the index together.
const SEGMENT: usize = 4096;
/// Digest, size, last use, last verification, whether it was used again.
const RECORD_BYTES: usize = Digest::LEN + 8 + 4 + 4 + 1;

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    places: HashTable<u32>,
    queue: Queue,
    /// In whole blocks.
    bytes: u64,
    /// Segments of `slots` that the index does not have as they are.
    changed: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    digest: Digest,
    record: Record,
}

/// What is known of a blob. Times are seconds since 1970, by this host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) size_bytes: u64,
    /// When its bytes were last seen to be right.
    pub(super) verified_secs: u32,
}

impl Table {
    /// Adds a blob as the one used last, or replaces what is known of it.
    pub(super) fn insert(&mut self, digest: Digest, record: Record, now_secs: u32) {
        self.remove(&digest);
        self.add(digest, record, now_secs, false);
    }

    fn add(&mut self, digest: Digest, record: Record, used_secs: u32, is_again: bool) {
        let slot = Some(Slot { digest, record });
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("a disk holds fewer than four billion blobs")
        };
        self.changed.resize(self.slots.len().div_ceil(SEGMENT), true);
        let slots = &self.slots;
        self.places.insert_unique(hash(&digest), place, |&place| slot_hash(slots, place));
        let bytes = blocks(record.size_bytes);
        self.queue.push(place, Item { bytes, came_secs: used_secs, used_secs, is_again });
        self.bytes += bytes;
        self.changed[place as usize / SEGMENT] = true;
    }

    /// Forgets a blob; gives what was known of it.
    pub(super) fn remove(&mut self, digest: &Digest) -> Option<Record> {
        let slots = &self.slots;
        let found = self.places.find_entry(hash(digest), |&place| is(slots, place, digest)).ok()?;
        let (place, _) = found.remove();
        let slot = self.slots[place as usize].take().expect("places lead to slots in use");
        self.free.push(place);
        self.bytes -= self.queue.remove(place).bytes;
        self.changed[place as usize / SEGMENT] = true;
        Some(slot.record)
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Record> {
        let slot = self.slots[self.place(digest)? as usize].as_ref();
        slot.map(|slot| slot.record)
    }

    /// Notes that a blob is used.
    pub(super) fn touch(&mut self, digest: &Digest, now_secs: u32) {
        let Some(place) = self.place(digest) else { return };
        self.queue.touch(place, now_secs);
        self.changed[place as usize / SEGMENT] = true;
    }

    /// Notes that a blob's bytes are right.
    pub(super) fn verified(&mut self, digest: &Digest, now_secs: u32) {
        let Some(place) = self.place(digest) else { return };
        let slot = self.slots[place as usize].as_mut().expect("places lead to slots in use");
        slot.record.verified_secs = now_secs;
        self.changed[place as usize / SEGMENT] = true;
    }

    /// Blobs to evict, in this order, so that `need_bytes` of a budget of `max_bytes` become free; fewer
    /// when all others are kept. They stay in the table until they are removed.
    pub(super) fn victims(
        &self,
        need_bytes: u64,
        max_bytes: u64,
        now_secs: u32,
        kept: impl Fn(&Digest) -> bool,
    ) -> Vec<Digest> {
        let mut victims = Vec::new();
        let mut freed = 0;
        self.queue.walk(now_secs, max_bytes, |place| {
            let slot = self.slots[place as usize].as_ref().expect("the queue holds slots in use");
            if kept(&slot.digest) {
                return Step::Keep;
            }
            victims.push(slot.digest);
            freed += self.queue.item(place).bytes;
            if freed >= need_bytes { Step::Last } else { Step::Take }
        });
        victims
    }

    /// All blobs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, Record)> {
        self.slots.iter().flatten().map(|slot| (slot.digest, slot.record))
    }

    pub(super) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first segment from `from` on that the index does not have as it is, packed for it.
    pub(super) fn take_changed(&mut self, from: u32) -> Option<(u32, Vec<u8>)> {
        let at = from as usize
            + self.changed.get(from as usize..)?.iter().position(|changed| *changed)?;
        self.changed[at] = false;
        let end = self.slots.len().min((at + 1) * SEGMENT);
        let segment = u32::try_from(at).expect("segments are fewer than slots");
        let first = segment * u32::try_from(SEGMENT).expect("it is small");
        let mut packed = Vec::new();
        for (place, slot) in (first..).zip(&self.slots[at * SEGMENT..end]) {
            let Some(Slot { digest, record }) = slot else { continue };
            let item = self.queue.item(place);
            packed.extend_from_slice(digest.as_bytes());
            packed.extend_from_slice(&record.size_bytes.to_le_bytes());
            packed.extend_from_slice(&item.used_secs.to_le_bytes());
            packed.extend_from_slice(&record.verified_secs.to_le_bytes());
            packed.push(u8::from(item.is_again));
        }
        Some((segment, packed))
    }

    /// The index may not have this segment as it is.
    pub(super) fn changed(&mut self, segment: u32) {
        if let Some(changed) = self.changed.get_mut(segment as usize) {
            *changed = true;
        }
    }

    /// The table of all segments, the least recently used first; nothing when one is damaged.
    pub(super) fn unpack<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut records = Vec::new();
        for segment in segments {
            let (packed, rest) = segment.as_chunks::<RECORD_BYTES>();
            if !rest.is_empty() {
                return None;
            }
            records.extend(packed.iter().map(unpack));
        }
        records.sort_unstable_by_key(|packed: &Packed| packed.used_secs);
        let mut table = Self::default();
        for Packed { digest, record, used_secs, is_again } in records {
            // Twice only in an index that is half of one checkpoint and half of the next.
            table.remove(&digest);
            table.add(digest, record, used_secs, is_again);
        }
        Some(table)
    }

    fn place(&self, digest: &Digest) -> Option<u32> {
        self.places.find(hash(digest), |&place| is(&self.slots, place, digest)).copied()
    }
}

struct Packed {
    digest: Digest,
    record: Record,
    used_secs: u32,
    is_again: bool,
}

fn unpack(packed: &[u8; RECORD_BYTES]) -> Packed {
    let (digest, rest) = packed.split_first_chunk().expect("a record begins with a digest");
    let (size, rest) = rest.split_first_chunk().expect("then comes the size");
    let (used, rest) = rest.split_first_chunk().expect("then the last use");
    let (verified, rest) = rest.split_first_chunk().expect("then the last verification");
    let record = Record {
        size_bytes: u64::from_le_bytes(*size),
        verified_secs: u32::from_le_bytes(*verified),
    };
    Packed {
        digest: Digest::from_bytes(*digest),
        record,
        used_secs: u32::from_le_bytes(*used),
        is_again: rest == [1],
    }
}

/// A digest is as good as a hash of it.
fn hash(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

fn slot_hash(slots: &[Option<Slot>], place: u32) -> u64 {
    slots[place as usize].as_ref().map_or(0, |slot| hash(&slot.digest))
}

fn is(slots: &[Option<Slot>], place: u32, digest: &Digest) -> bool {
    slots[place as usize].as_ref().is_some_and(|slot| slot.digest == *digest)
}

/// Bytes in whole blocks.
pub(super) fn blocks(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}
