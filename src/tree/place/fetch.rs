//! Getting the numbers of a saved tree: the tables of its packs and the entry stream.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::{Chunk, ChunkRef, Digest, Manifest, PackRef, PackTable};
use crate::tree::walk::threads;
use crate::tree::{Depot, Error, Result};

/// A pack whose table is known.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) named: PackRef,
    chunks: Vec<Chunk>,
    /// Where each chunk begins in the pack, and where the last one ends.
    starts: Vec<u64>,
}

impl Pack {
    /// The bytes of the chunks in `chunks`, which must be in the table.
    pub(super) fn range(&self, chunks: &Range<u32>) -> Range<u64> {
        self.starts[chunks.start as usize]..self.starts[chunks.end as usize]
    }

    fn new(pack: PackRef, table: PackTable) -> Self {
        let mut at = PackRef::DATA_START;
        let mut starts = vec![at];
        for chunk in &table.chunks {
            at += u64::from(chunk.len);
            starts.push(at);
        }
        Self { named: pack, chunks: table.chunks, starts }
    }

    /// Reads these chunks into `bytes` and verifies each. Wrong bytes are reported, and read once
    /// more.
    pub(super) fn read(
        &self,
        depot: &dyn Depot,
        chunks: &Range<u32>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let range = self.range(chunks);
        for attempt in 0..2 {
            depot
                .read_pack(&self.named, range.clone(), bytes)
                .map_err(Error::depot("read a pack"))?;
            if self.verify(chunks, bytes) {
                return Ok(());
            }
            if attempt == 0 {
                depot.report_wrong(&self.named).map_err(Error::depot("replace a damaged pack"))?;
            }
        }
        Err(Error::Corrupt(self.named.digest))
    }

    fn verify(&self, chunks: &Range<u32>, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let all = chunks.clone().all(|at| {
            let Chunk { digest, len } = self.chunks[at as usize];
            let Some((chunk, tail)) = rest.split_at_checked(len as usize) else { return false };
            rest = tail;
            Digest::of(chunk) == digest
        });
        all && rest.is_empty()
    }
}

/// The tables of all packs.
pub(super) fn packs(manifest: &Manifest, depot: &dyn Depot) -> Result<Vec<Pack>> {
    let next = AtomicUsize::new(0);
    let tables: Vec<Mutex<Option<Result<Pack>>>> =
        manifest.packs.iter().map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads().min(tables.len()) {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                while let Some(pack) = manifest.packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let at = manifest.packs.iter().position(|other| std::ptr::eq(other, pack));
                    let table = table(*pack, depot, &mut bytes);
                    *tables[at.expect("it is one of them")].lock().expect("no panics") =
                        Some(table);
                }
            });
        }
    });
    let taken = tables.into_iter().map(|slot| slot.into_inner().expect("no panics"));
    taken.map(|table| table.expect("every pack was asked for")).collect()
}

fn table(pack: PackRef, depot: &dyn Depot, bytes: &mut Vec<u8>) -> Result<Pack> {
    let mut read = || {
        depot.read_pack(&pack, pack.table_range(), bytes).map_err(Error::depot("read a pack"))?;
        Ok::<_, Error>(PackTable::decode(bytes, &pack))
    };
    let table = if let Ok(table) = read()? {
        table
    } else {
        depot.report_wrong(&pack).map_err(Error::depot("replace a damaged pack"))?;
        read()??
    };
    Ok(Pack::new(pack, table))
}

/// The bytes of the entry stream.
pub(super) fn stream(manifest: &Manifest, packs: &[Pack], depot: &dyn Depot) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    let mut bytes = Vec::new();
    for run in runs(&manifest.stream) {
        let pack = &packs[run.0 as usize];
        if pack.chunks.len() < run.1.end as usize {
            return Err(Error::Inconsistent(
                "the entry stream refers to a chunk that is not there",
            ));
        }
        pack.read(depot, &run.1, &mut bytes)?;
        stream.extend_from_slice(&bytes);
    }
    Ok(stream)
}

/// Neighbours in a pack, joined, but not beyond what one read should bring.
fn runs(refs: &[ChunkRef]) -> Vec<(u32, Range<u32>)> {
    const CHUNKS_MAX: u32 = 64;
    let mut runs: Vec<(u32, Range<u32>)> = Vec::new();
    for at in refs {
        match runs.last_mut() {
            Some((pack, run))
                if *pack == at.pack && run.end == at.chunk && run.end - run.start < CHUNKS_MAX =>
            {
                run.end += 1;
            }
            _ => runs.push((at.pack, at.chunk..at.chunk + 1)),
        }
    }
    runs
}
