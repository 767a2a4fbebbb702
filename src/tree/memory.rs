//! What the agent remembers of files it placed or saved, so that an unchanged file is saved without
//! reading it. A file is known by its inode, and unchanged as long as size and both times are; the
//! kernel moves the change time with every write, rename or change of mode.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::walk::Stat;
use crate::model::{ChunkRef, Digest, Extent, PackRef, Time};

const MAGIC: [u8; 8] = *b"LARDMEM1";
/// The coarsest step of a file system's clock that still is common. A file that changed within it
/// could change again and keep its times.
const TICK_NANOS: i128 = 20_000_000;

/// Remembered files, and the packs that their chunks lie in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    pub(super) packs: Vec<PackRef>,
    pub(super) files: Vec<Remembered>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) id: FileId,
    pub(super) extents: Vec<Extent>,
}

/// Everything that has to be as it was for a file to be unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
}

impl FileId {
    pub(super) fn new(stat: &Stat) -> Self {
        Self { dev: stat.dev, ino: stat.ino, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
    }
}

/// [`Memory`], ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Recall<'a> {
    files: HashMap<u64, &'a Remembered>,
}

impl<'a> Recall<'a> {
    pub(super) fn new(memory: &'a Memory) -> Self {
        Self { files: memory.files.iter().map(|file| (file.id.ino, file)).collect() }
    }

    pub(super) fn extents(&self, stat: &Stat) -> Option<&'a [Extent]> {
        let file = self.files.get(&stat.ino)?;
        (file.id == FileId::new(stat)).then_some(&file.extents)
    }
}

impl Memory {
    /// Forgets files that changed so lately that a further change might not show.
    pub(super) fn settle(&mut self, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().cast_signed());
        let nanos = |time: Time| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
        self.files.retain(|file| nanos(file.id.ctime) + TICK_NANOS < now);
    }

    /// What was kept at `path`; nothing when there is nothing or it is damaged.
    pub fn load(path: &Path) -> Option<Self> {
        let bytes = fs_err::read(path).ok()?;
        let (body, digest) = bytes.split_last_chunk::<{ Digest::LEN }>()?;
        if Digest::of(body).as_bytes() != digest {
            return None;
        }
        Cursor(body).memory()
    }

    /// Keeps it at `path`, replacing what is there at once. Losing it costs time, never data: it is
    /// not synced.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs_err::create_dir_all(folder)?;
        let temporary = tempfile::NamedTempFile::new_in(folder)?;
        fs_err::write(temporary.path(), self.encode())?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.packs.len() * 44 + self.files.len() * 72);
        out.extend_from_slice(&MAGIC);
        put(&mut out, self.packs.len() as u64);
        for pack in &self.packs {
            out.extend_from_slice(pack.digest.as_bytes());
            put(&mut out, pack.data_bytes);
            put(&mut out, u64::from(pack.chunks));
        }
        put(&mut out, self.files.len() as u64);
        for file in &self.files {
            let FileId { dev, ino, size, mtime, ctime } = file.id;
            for value in [dev, ino, size, mtime.secs.cast_unsigned(), ctime.secs.cast_unsigned()] {
                put(&mut out, value);
            }
            put(&mut out, u64::from(mtime.nanos) << 32 | u64::from(ctime.nanos));
            put(&mut out, file.extents.len() as u64);
            for extent in &file.extents {
                let [kind, value] = match *extent {
                    Extent::Chunks { first, count } => {
                        [u64::from(count), u64::from(first.pack) << 32 | u64::from(first.chunk)]
                    }
                    Extent::Hole(len) => [0, len],
                };
                put(&mut out, kind);
                put(&mut out, value);
            }
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }
}

fn put(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Reads our own file, whose digest was right: fixed-width numbers, for speed.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.u64()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    fn memory(mut self) -> Option<Memory> {
        if self.array()? != MAGIC {
            return None;
        }
        let packs = (0..self.count()?).map(|_| self.pack()).collect::<Option<Vec<_>>>()?;
        let files = (0..self.count()?).map(|_| self.file()).collect::<Option<Vec<_>>>()?;
        Some(Memory { packs, files })
    }

    fn pack(&mut self) -> Option<PackRef> {
        let digest = Digest::from_bytes(self.array()?);
        Some(PackRef { digest, data_bytes: self.u64()?, chunks: u32::try_from(self.u64()?).ok()? })
    }

    fn file(&mut self) -> Option<Remembered> {
        let (dev, ino, size) = (self.u64()?, self.u64()?, self.u64()?);
        let secs = [self.u64()?.cast_signed(), self.u64()?.cast_signed()];
        let (mtime_nanos, ctime_nanos) = split(self.u64()?);
        let mtime = Time { secs: secs[0], nanos: mtime_nanos };
        let ctime = Time { secs: secs[1], nanos: ctime_nanos };
        let extents = (0..self.count()?).map(|_| self.extent()).collect::<Option<Vec<_>>>()?;
        Some(Remembered { id: FileId { dev, ino, size, mtime, ctime }, extents })
    }

    fn extent(&mut self) -> Option<Extent> {
        let (count, value) = (self.u64()?, self.u64()?);
        if count == 0 {
            return Some(Extent::Hole(value));
        }
        let (pack, chunk) = split(value);
        Some(Extent::Chunks { first: ChunkRef { pack, chunk }, count: u32::try_from(count).ok()? })
    }
}

fn split(value: u64) -> (u32, u32) {
    let low = value & u64::from(u32::MAX);
    ((value >> 32) as u32, u32::try_from(low).expect("masked"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn memory() -> Memory {
        let extents = vec![
            Extent::Chunks { first: ChunkRef { pack: 0, chunk: 3 }, count: 2 },
            Extent::Hole(1 << 40),
        ];
        let at = |secs| Time { secs, nanos: 7 };
        let id = |ino, secs| FileId { dev: 1, ino, size: 9, mtime: at(-5), ctime: at(secs) };
        Memory {
            packs: vec![PackRef { digest: Digest::of(b"p"), data_bytes: 5, chunks: 9 }],
            files: vec![
                Remembered { id: id(10, 100), extents },
                Remembered { id: id(11, 200), extents: vec![] },
            ],
        }
    }

    #[test]
    fn comes_back_as_it_was_and_damage_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/memory");
        memory().store(&path).unwrap();
        assert_eq!(Memory::load(&path), Some(memory()));
        let whole = fs_err::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs_err::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Memory::load(&path), None, "cut at {cut}");
        }
        let mut rotten = whole.clone();
        rotten[60] ^= 1;
        fs_err::write(&path, &rotten).unwrap();
        assert_eq!(Memory::load(&path), None);
    }

    #[test]
    fn a_file_changed_within_the_tick_is_not_remembered() {
        let mut memory = memory();
        memory.settle(UNIX_EPOCH + Duration::from_millis(200_010));
        assert_eq!(memory.files.len(), 1);
        memory.settle(UNIX_EPOCH + Duration::from_secs(100));
        assert!(memory.files.is_empty());
    }

    #[test]
    fn any_difference_makes_a_file_unknown() {
        let memory = memory();
        let recall = Recall::new(&memory);
        let id = memory.files[0].id;
        let stat = |change: fn(&mut Stat)| {
            let mut stat = Stat { dev: id.dev, ino: id.ino, size: id.size, ..Stat::default() };
            (stat.mtime, stat.ctime) = (id.mtime, id.ctime);
            change(&mut stat);
            recall.extents(&stat).is_some()
        };
        assert!(stat(|_| ()));
        assert!(!stat(|stat| stat.size += 1));
        assert!(!stat(|stat| stat.mtime.nanos += 1));
        assert!(!stat(|stat| stat.ctime.nanos += 1));
        assert!(!stat(|stat| stat.dev += 1));
        assert!(!stat(|stat| stat.ino += 1));
    }
}
