//! Readers: several threads that read files, cut them into chunks and hash them, while their
//! results leave in tree order.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Condvar, Mutex};

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, SeekFrom};

use super::plan::{Item, PlannedFile};
use super::walk::{Stat, threads};
use super::{Depot, Error, Known, Result, Warning, WarningKind, xattr};
use crate::model::{Chunk, Digest, Xattrs};

/// Files up to this size are one chunk: cutting them gains less than the longer tables cost.
const WHOLE_BYTES: usize = 256 << 10;
const CUT_BYTES: [usize; 3] = [16 << 10, 64 << 10, 256 << 10];

/// What a reader made of an [`Item`].
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The chunks' bytes, back to back.
    pub(super) bytes: Bytes,
    pub(super) chunks: Vec<Chunk>,
    /// For each chunk, where it lies already.
    pub(super) known: Vec<Option<Known>>,
    pub(super) parts: Vec<Part>,
    pub(super) warnings: Vec<Warning>,
}

/// What happens to a file, in order; the file is a position in [`super::plan::Plan::files`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The next so many chunks of the batch are its next bytes.
    Chunks(usize, usize),
    /// Zero bytes that take no room.
    Hole(usize, u64),
    /// It is complete, and this is how it was then.
    Done(usize, Stat, Xattrs),
}

/// Reads every item on several threads and hands the batches to `take` in their order. At most a
/// few batches are in memory at once.
pub(super) fn read_all(
    files: &[PlannedFile<'_>],
    items: &[Item],
    depot: &dyn Depot,
    mut take: impl FnMut(Batch) -> Result<()>,
) -> Result<()> {
    let queue = Queue { state: Mutex::default(), changed: Condvar::new(), ahead: threads() * 4 };
    std::thread::scope(|scope| {
        for _ in 0..threads().min(items.len()) {
            scope.spawn(|| {
                let mut reader = Reader { files, folder: None };
                while let Some(at) = queue.next(items.len()) {
                    queue.put(at, reader.read(&items[at]).and_then(|batch| look_up(batch, depot)));
                }
            });
        }
        let result = (0..items.len()).try_for_each(|at| take(queue.take(at)?));
        queue.stop();
        result
    })
}

fn look_up(mut batch: Batch, depot: &dyn Depot) -> Result<Batch> {
    if !batch.chunks.is_empty() {
        let digests: Vec<Digest> = batch.chunks.iter().map(|chunk| chunk.digest).collect();
        batch.known = depot.find_chunks(&digests).map_err(Error::depot("look up chunks"))?;
        batch.known.resize(digests.len(), None);
    }
    Ok(batch)
}

/// Lets readers run ahead of the taker by a bounded number of batches.
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    ahead: usize,
}

#[derive(Default)]
struct QueueState {
    started: usize,
    taken: usize,
    stopped: bool,
    ready: BTreeMap<usize, Result<Batch>>,
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, QueueState> {
        self.state.lock().expect("no reading thread panics")
    }

    /// The next item to read; blocks while too many wait to be taken.
    fn next(&self, items: usize) -> Option<usize> {
        let full = |state: &mut QueueState| {
            !state.stopped && state.started < items && state.started >= state.taken + self.ahead
        };
        let mut state =
            self.changed.wait_while(self.lock(), full).expect("no reading thread panics");
        if state.stopped || state.started == items {
            return None;
        }
        state.started += 1;
        Some(state.started - 1)
    }

    fn put(&self, at: usize, batch: Result<Batch>) {
        self.lock().ready.insert(at, batch);
        self.changed.notify_all();
    }

    fn take(&self, at: usize) -> Result<Batch> {
        let waiting = |state: &mut QueueState| !state.ready.contains_key(&at);
        let mut state =
            self.changed.wait_while(self.lock(), waiting).expect("no reading thread panics");
        state.taken = at + 1;
        let batch = state.ready.remove(&at).expect("waited for it");
        drop(state);
        self.changed.notify_all();
        batch
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

struct Reader<'a> {
    files: &'a [PlannedFile<'a>],
    /// The folder of the last file, open: its neighbours are opened from there.
    folder: Option<(&'a Path, OwnedFd)>,
}

/// Read, but not hashed.
struct Whole {
    len: usize,
    stat: Stat,
    xattrs: Xattrs,
}

impl Reader<'_> {
    fn read(&mut self, item: &Item) -> Result<Batch> {
        match item {
            Item::Files(files) => self.files(files),
            Item::Segment { file, range, last } => self.segment(*file, range.clone(), *last),
        }
    }

    fn files(&mut self, files: &[usize]) -> Result<Batch> {
        let room: u64 = files.iter().map(|&file| self.files[file].entry.stat.size + 1).sum();
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0) + 4096);
        let mut batch = Batch::default();
        for &file in files {
            let start = bytes.len();
            match self.whole(file, &mut bytes, &mut batch.warnings) {
                Ok(whole) => {
                    debug_assert_eq!(start + whole.len, bytes.len());
                    let chunks = cut(&bytes[start..], &mut batch.chunks);
                    batch.parts.push(Part::Chunks(file, chunks));
                    batch.parts.push(Part::Done(file, whole.stat, whole.xattrs));
                }
                Err(error) => {
                    bytes.truncate(start);
                    batch.warnings.push(self.excuse(file, error)?);
                }
            }
        }
        batch.bytes = bytes.into();
        Ok(batch)
    }

    /// Appends the file's content to `bytes`. Read once more when it changed meanwhile.
    fn whole(
        &mut self,
        file: usize,
        bytes: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> io::Result<Whole> {
        let start = bytes.len();
        let mut before = self.files[file].entry.stat;
        for attempt in 0..2 {
            bytes.truncate(start);
            let opened = self.open(file)?;
            let expected = usize::try_from(before.size).unwrap_or(usize::MAX);
            bytes.reserve(expected.saturating_add(1));
            while bytes.len() - start < expected {
                if rustix::io::read(&opened, rustix::buffer::spare_capacity(bytes))? == 0 {
                    break;
                }
            }
            let xattrs = xattr::read(opened.as_fd())?;
            let after = Stat::new(&rustix::fs::fstat(&opened)?);
            let len = bytes.len() - start;
            let steady =
                (before.mtime, before.ctime, before.size) == (after.mtime, after.ctime, after.size);
            if steady && len as u64 == after.size || attempt == 1 {
                if !(steady && len as u64 == after.size) {
                    let path = self.files[file].path();
                    warnings.push(Warning { path, kind: WarningKind::Changed });
                }
                return Ok(Whole { len, stat: after, xattrs });
            }
            before = after;
        }
        unreachable!("the second attempt returns")
    }

    /// A part of a large file; holes stay holes, and what a shrinking file has lost becomes one.
    fn segment(&mut self, file: usize, range: std::ops::Range<u64>, last: bool) -> Result<Batch> {
        let mut batch = Batch::default();
        match self.segment_parts(file, range, last, &mut batch) {
            Ok(()) => Ok(batch),
            Err(error) => {
                let warning = self.excuse(file, error)?;
                Ok(Batch { warnings: vec![warning], ..Batch::default() })
            }
        }
    }

    fn segment_parts(
        &mut self,
        file: usize,
        range: std::ops::Range<u64>,
        last: bool,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let before = self.files[file].entry.stat;
        let opened = self.open(file)?;
        let room = usize::try_from(range.end - range.start).unwrap_or(0);
        let mut bytes = Vec::with_capacity(room);
        let sparse = before.blocks * 512 < before.size;
        let mut at = range.start;
        while at < range.end {
            let data = if sparse { next_data(&opened, at, range.end)? } else { at..range.end };
            if data.start > at {
                batch.parts.push(Part::Hole(file, data.start - at));
            }
            let start = bytes.len();
            read_range(&opened, &data, &mut bytes)?;
            let len = bytes.len() - start;
            if len > 0 {
                batch.parts.push(Part::Chunks(file, cut(&bytes[start..], &mut batch.chunks)));
            }
            let missing = data.end - data.start - len as u64;
            if missing > 0 {
                batch.parts.push(Part::Hole(file, missing));
            }
            at = data.end;
        }
        batch.bytes = bytes.into();
        if last {
            let after = Stat::new(&rustix::fs::fstat(&opened)?);
            if (before.mtime, before.size) != (after.mtime, after.size) {
                let path = self.files[file].path();
                batch.warnings.push(Warning { path, kind: WarningKind::Changed });
            }
            batch.parts.push(Part::Done(file, after, xattr::read(opened.as_fd())?));
        }
        Ok(())
    }

    fn open(&mut self, file: usize) -> io::Result<OwnedFd> {
        let planned = self.files[file];
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if planned.entry.name.is_empty() {
            return Ok(rustix::fs::openat(CWD, planned.folder, flags, Mode::empty())?);
        }
        if self.folder.as_ref().is_none_or(|(path, _)| *path != planned.folder) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(CWD, planned.folder, flags, Mode::empty())?;
            self.folder = Some((planned.folder, folder));
        }
        let (_, folder) = self.folder.as_ref().expect("opened above");
        Ok(rustix::fs::openat(folder, &*planned.entry.name, flags, Mode::empty())?)
    }

    /// A warning for what may happen to a file at any time; an error for the rest.
    fn excuse(&self, file: usize, error: io::Error) -> Result<Warning> {
        let path = self.files[file].path();
        let became_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => WarningKind::Vanished,
            _ if became_link => WarningKind::Vanished,
            io::ErrorKind::PermissionDenied => WarningKind::Unreadable(error.to_string()),
            _ => return Err(Error::io("read", path)(error)),
        };
        Ok(Warning { path, kind })
    }
}

/// Cuts and hashes; returns the number of chunks.
fn cut(bytes: &[u8], chunks: &mut Vec<Chunk>) -> usize {
    let before = chunks.len();
    let mut push = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).expect("chunks are short");
        chunks.push(Chunk { digest: Digest::of(bytes), len });
    };
    if bytes.len() > WHOLE_BYTES {
        let [min, average, max] = CUT_BYTES;
        for piece in fastcdc::v2020::FastCDC::new(bytes, min, average, max) {
            push(&bytes[piece.offset..piece.offset + piece.length]);
        }
    } else if !bytes.is_empty() {
        push(bytes);
    }
    chunks.len() - before
}

/// The next stretch of a sparse file that has data; empty and at `end` when none comes before it.
fn next_data(file: &OwnedFd, at: u64, end: u64) -> io::Result<std::ops::Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(end),
        Err(rustix::io::Errno::NXIO) => end,
        Err(error) => return Err(error.into()),
    };
    if start == end {
        return Ok(end..end);
    }
    let stop = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok(start..stop.min(end))
}

fn read_range(file: &OwnedFd, range: &std::ops::Range<u64>, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let room = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let start = bytes.len();
        bytes.resize(start + room, 0);
        let read = rustix::io::pread(file, &mut bytes[start..], at)?;
        bytes.truncate(start + read);
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(())
}
