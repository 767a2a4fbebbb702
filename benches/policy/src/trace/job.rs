//! What jobs do to blobs, and the clock it is written down by.

use super::Access;
use crate::policy::Blob;

pub(super) const MIB: u64 = 1 << 20;
const PACK_BYTES: u64 = 32 * MIB;
/// How fast a job reads and writes; two at the same time are interleaved pack by pack.
const BYTES_PER_MS: u64 = 300_000;

/// Makes blobs, and takes down who reads them and when.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    blobs: u32,
    /// With milliseconds, so that jobs that run side by side mix.
    accesses: Vec<(u64, Access)>,
}

impl Recorder {
    /// In order of time, with ids only for what this host saw.
    pub(super) fn into_accesses(mut self) -> Vec<Access> {
        self.accesses.sort_by_key(|(ms, _)| *ms);
        let mut ids = vec![u32::MAX; self.blobs as usize];
        let mut seen = 0;
        for (_, access) in &mut self.accesses {
            let id = &mut ids[access.blob.id as usize];
            if *id == u32::MAX {
                *id = seen;
                seen += 1;
            }
            access.blob.id = *id;
        }
        self.accesses.into_iter().map(|(_, access)| access).collect()
    }

    fn blob(&mut self, size_bytes: u64) -> Blob {
        self.blobs += 1;
        Blob { id: self.blobs - 1, size_bytes }
    }

    /// Packs as a save makes them: full ones, and a tail.
    pub(super) fn packs(&mut self, rng: &mut fastrand::Rng, count: usize) -> Vec<Blob> {
        let tail = rng.u64(300_000..PACK_BYTES);
        let sizes = std::iter::repeat_n(PACK_BYTES, count.saturating_sub(1)).chain([tail]);
        sizes.take(count).map(|size_bytes| self.blob(size_bytes)).collect()
    }

    pub(super) fn pack_of(&mut self, size_bytes: u64) -> Blob {
        self.blob(size_bytes)
    }

    pub(super) fn manifest(&mut self, rng: &mut fastrand::Rng) -> Blob {
        self.blob(rng.u64(8_000..40_000))
    }

    /// Reads or writes blobs one after the other; says in which second the last one was done.
    pub(super) fn run<'a>(
        &mut self,
        secs: u64,
        is_write: bool,
        blobs: impl IntoIterator<Item = &'a Blob>,
    ) -> u64 {
        let mut ms = secs * 1000;
        for blob in blobs {
            self.accesses.push((ms, Access { secs: ms / 1000, is_write, blob: *blob }));
            ms += 2 + blob.size_bytes / BYTES_PER_MS;
        }
        ms / 1000 + 1
    }
}

/// A saved cache: a manifest and the packs it names.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manifest: Blob,
    pub(super) packs: Vec<Blob>,
    /// How many packs it has, more or less, however often it is saved.
    usual: usize,
}

impl Entry {
    pub(super) fn new(recorder: &mut Recorder, rng: &mut fastrand::Rng, packs: Vec<Blob>) -> Self {
        Self { manifest: recorder.manifest(rng), usual: packs.len(), packs }
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.manifest).chain(&self.packs)
    }

    /// The entry after the lock file changed: most packs stay, one to four are new, and those that hold
    /// too little of use are packed anew. Also gives what is new.
    pub(super) fn successor(
        &self,
        recorder: &mut Recorder,
        rng: &mut fastrand::Rng,
    ) -> (Self, Vec<Blob>) {
        let mut packs = self.packs.clone();
        let added = if self.usual < 4 { 1 } else { rng.usize(1..=4) };
        let mut new = recorder.packs(rng, added);
        while packs.len() + added > self.usual + self.usual / 4 {
            packs.remove(rng.usize(0..packs.len()));
        }
        packs.extend(&new);
        let manifest = recorder.manifest(rng);
        new.push(manifest);
        (Self { manifest, packs, usual: self.usual }, new)
    }
}
