//! Fills packs with the chunks that are nowhere yet, and numbers all packs that a manifest needs.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;

use super::{Depot, Error, Known, Result, Upload};
use crate::model::{Chunk, ChunkRef, Digest, Extent, PACK_DATA_BYTES_TARGET, PackRef, PackTable};

/// Packs that are complete but not yet acknowledged; more would only wait for the same disk.
const ENDING_MAX: usize = 2;
const STREAM_CUT_BYTES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

pub(super) struct Packer<'a> {
    depot: &'a dyn Depot,
    slots: Vec<Slot>,
    /// Slots of the packs that were there before.
    by_digest: HashMap<Digest, u32>,
    /// Where the chunks of this save went.
    chunks: HashMap<Digest, ChunkRef>,
    open: Option<Open>,
    ending: VecDeque<(u32, Box<dyn Upload>)>,
    /// Slots whose chunks are sent anew rather than referred to.
    avoid: HashSet<u32>,
    sent_bytes: u64,
}

/// A pack with its number in the manifest.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Complete(PackRef),
    /// Being sent: its digest is not known yet.
    Sending {
        data_bytes: u64,
        chunks: u32,
    },
}

struct Open {
    slot: u32,
    upload: Box<dyn Upload>,
    table: PackTable,
    data_bytes: u64,
}

impl<'a> Packer<'a> {
    pub(super) fn new(depot: &'a dyn Depot, packs: &[PackRef]) -> Self {
        let slot = |at: usize| u32::try_from(at).expect("a manifest has few packs");
        Self {
            depot,
            slots: packs.iter().copied().map(Slot::Complete).collect(),
            by_digest: packs.iter().enumerate().map(|(at, pack)| (pack.digest, slot(at))).collect(),
            chunks: HashMap::new(),
            open: None,
            ending: VecDeque::new(),
            avoid: HashSet::new(),
            sent_bytes: 0,
        }
    }

    /// Finds or makes a place for each chunk; their bytes lie back to back in `bytes`.
    pub(super) fn add(
        &mut self,
        bytes: &Bytes,
        chunks: &[Chunk],
        known: &[Option<Known>],
    ) -> Result<Vec<ChunkRef>> {
        let mut placed = Vec::with_capacity(chunks.len());
        let mut at = 0;
        // New chunks that follow each other are handed over as one piece.
        let mut run = 0..0;
        for (chunk, known) in chunks.iter().zip(known) {
            let end = at + chunk.len as usize;
            if let Some(there) = self.find(chunk, *known) {
                placed.push(there);
            } else {
                if run.end != at || self.is_full() {
                    self.send(bytes, &run)?;
                    run = at..at;
                    self.rotate()?;
                }
                run.end = end;
                placed.push(self.assign(*chunk)?);
            }
            at = end;
        }
        self.send(bytes, &run)?;
        Ok(placed)
    }

    fn find(&mut self, chunk: &Chunk, known: Option<Known>) -> Option<ChunkRef> {
        if let Some(at) = self.chunks.get(&chunk.digest) {
            return Some(*at);
        }
        let Known { pack, chunk: position } = known?;
        let slot = *self.by_digest.entry(pack.digest).or_insert_with(|| {
            self.slots.push(Slot::Complete(pack));
            u32::try_from(self.slots.len() - 1).expect("a manifest has few packs")
        });
        if self.avoid.contains(&slot) {
            return None;
        }
        let at = ChunkRef { pack: slot, chunk: position };
        self.chunks.insert(chunk.digest, at);
        Some(at)
    }

    /// Gives the chunk the next place in the open pack; its bytes must follow.
    fn assign(&mut self, chunk: Chunk) -> Result<ChunkRef> {
        if self.open.is_none() {
            let mut upload = self.depot.begin_pack().map_err(Error::depot("store a pack"))?;
            let magic = Bytes::from_static(&PackTable::MAGIC);
            upload.write(magic).map_err(Error::depot("store a pack"))?;
            let slot = u32::try_from(self.slots.len()).expect("a manifest has few packs");
            self.slots.push(Slot::Sending { data_bytes: 0, chunks: 0 });
            self.open = Some(Open { slot, upload, table: PackTable::default(), data_bytes: 0 });
        }
        let open = self.open.as_mut().expect("opened above");
        let position =
            u32::try_from(open.table.chunks.len()).expect("a pack is closed long before");
        open.table.chunks.push(chunk);
        open.data_bytes += u64::from(chunk.len);
        self.sent_bytes += u64::from(chunk.len);
        let at = ChunkRef { pack: open.slot, chunk: position };
        self.chunks.insert(chunk.digest, at);
        Ok(at)
    }

    fn send(&mut self, bytes: &Bytes, run: &std::ops::Range<usize>) -> Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        let open = self.open.as_mut().expect("a chunk was assigned");
        open.upload.write(bytes.slice(run.clone())).map_err(Error::depot("store a pack"))
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.data_bytes >= PACK_DATA_BYTES_TARGET)
    }

    fn rotate(&mut self) -> Result<()> {
        if self.is_full() { self.end() } else { Ok(()) }
    }

    /// Completes the open pack, and waits for older ones so that only a few are under way.
    fn end(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let table = Bytes::from(open.table.encode());
        open.upload.write(table).map_err(Error::depot("store a pack"))?;
        open.upload.end();
        let chunks = u32::try_from(open.table.chunks.len()).expect("a pack is closed long before");
        self.slots[open.slot as usize] = Slot::Sending { data_bytes: open.data_bytes, chunks };
        self.ending.push_back((open.slot, open.upload));
        self.settle(ENDING_MAX)
    }

    fn settle(&mut self, leave: usize) -> Result<()> {
        while self.ending.len() > leave {
            let (slot, upload) = self.ending.pop_front().expect("more than none");
            let digest = upload.wait().map_err(Error::depot("store a pack"))?;
            let slot = &mut self.slots[slot as usize];
            if let Slot::Sending { data_bytes, chunks } = *slot {
                *slot = Slot::Complete(PackRef { digest, data_bytes, chunks });
            }
        }
        Ok(())
    }

    /// Those old packs that should not be referred to any more, given each file's content and size:
    /// the least used, as many as it takes until the packs hold at most twice what is used of them.
    pub(super) fn wasteful<'b>(
        &self,
        files: impl Iterator<Item = (&'b [Extent], u64)>,
    ) -> HashSet<u32> {
        let mut used = vec![0_u64; self.slots.len()];
        let mut seen = HashSet::new();
        for (extents, size) in files {
            let chunks: u64 = extents.iter().map(chunk_count).sum();
            for extent in extents {
                if let Extent::Chunks { first, count } = extent
                    && seen.insert(*first)
                {
                    used[first.pack as usize] += size * u64::from(*count) / chunks.max(1);
                }
            }
        }
        let mut packs: Vec<(u32, u64, u64)> = Vec::new();
        for (at, slot) in self.slots.iter().enumerate() {
            if let Slot::Complete(pack) = slot
                && used[at] > 0
            {
                let used = used[at].min(pack.data_bytes);
                let at = u32::try_from(at).expect("a manifest has few packs");
                packs.push((at, used, pack.data_bytes));
            }
        }
        packs.sort_by_key(|&(_, used, held)| used * 1000 / held.max(1));
        let mut live: u64 = packs.iter().map(|(_, used, _)| used).sum();
        let mut moved: u64 = packs.iter().map(|(_, _, held)| held).sum();
        let mut wasteful = HashSet::new();
        for (at, used, held) in packs {
            if moved <= live * 2 {
                break;
            }
            (moved, live) = (moved - held, live - used);
            wasteful.insert(at);
        }
        wasteful
    }

    /// From now on, chunks in these packs count as unknown.
    pub(super) fn avoid(&mut self, slots: &HashSet<u32>) {
        self.chunks.retain(|_, at| !slots.contains(&at.pack));
        self.avoid.extend(slots);
    }

    /// Ends the packs of file data, forgets packs that no extent refers to, and renumbers.
    pub(super) fn finish_data<'b>(
        &mut self,
        extents: impl Iterator<Item = &'b mut Extent>,
    ) -> Result<()> {
        self.end()?;
        self.settle(0)?;
        let mut refs: Vec<&mut u32> = extents
            .filter_map(|extent| match extent {
                Extent::Chunks { first, .. } => Some(&mut first.pack),
                Extent::Hole(_) => None,
            })
            .collect();
        let mut renumber: Vec<Option<u32>> = vec![None; self.slots.len()];
        for pack in &refs {
            renumber[**pack as usize] = Some(0);
        }
        let old = std::mem::take(&mut self.slots);
        for (number, slot) in renumber.iter_mut().zip(old) {
            if let Some(number) = number {
                *number = u32::try_from(self.slots.len()).expect("a manifest has few packs");
                self.slots.push(slot);
            }
        }
        for pack in &mut refs {
            **pack = renumber[**pack as usize].expect("marked above");
        }
        self.chunks.clear();
        self.by_digest.clear();
        self.avoid.clear();
        for (at, slot) in self.slots.iter().enumerate() {
            if let Slot::Complete(pack) = slot {
                self.by_digest.insert(pack.digest, u32::try_from(at).expect("few packs"));
            }
        }
        Ok(())
    }

    /// Stores the entry stream, in packs of its own: it is wanted before all else.
    pub(super) fn add_stream(&mut self, stream: &[u8]) -> Result<Vec<ChunkRef>> {
        let [min, average, max] = STREAM_CUT_BYTES;
        let chunks: Vec<Chunk> = fastcdc::v2020::FastCDC::new(stream, min, average, max)
            .map(|piece| {
                let bytes = &stream[piece.offset..piece.offset + piece.length];
                Chunk { digest: Digest::of(bytes), len: u32::try_from(bytes.len()).expect("short") }
            })
            .collect();
        let mut refs = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for chunks in chunks.chunks(4096) {
            let digests: Vec<Digest> = chunks.iter().map(|chunk| chunk.digest).collect();
            let known = self.depot.find_chunks(&digests).map_err(Error::depot("look up chunks"))?;
            let len: usize = chunks.iter().map(|chunk| chunk.len as usize).sum();
            let bytes = Bytes::copy_from_slice(&stream[start..start + len]);
            refs.extend(self.add(&bytes, chunks, &known)?);
            start += len;
        }
        Ok(refs)
    }

    /// All packs in the order of their numbers, and the bytes of chunks that were sent.
    pub(super) fn finish(mut self) -> Result<(Vec<PackRef>, u64)> {
        self.end()?;
        self.settle(0)?;
        let complete = |slot| match slot {
            Slot::Complete(pack) => pack,
            Slot::Sending { .. } => unreachable!("all packs are settled"),
        };
        Ok((self.slots.into_iter().map(complete).collect(), self.sent_bytes))
    }
}

fn chunk_count(extent: &Extent) -> u64 {
    match extent {
        Extent::Chunks { count, .. } => u64::from(*count),
        Extent::Hole(_) => 0,
    }
}
