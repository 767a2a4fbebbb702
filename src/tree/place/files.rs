//! Regular files: pack by pack, several threads, each byte read and verified once.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};

use super::commit::Stages;
use super::fetch::Pack;
use super::folders::timestamps;
use super::layout::{Layout, Parent, TargetFile};
use crate::model::{ChunkRef, Extent};
use crate::tree::memory::{FileId, Remembered};
use crate::tree::walk::{Stat, threads};
use crate::tree::{Depot, Error, Result, Warning, WarningKind, xattr};

/// Bytes that one thread reads and places at once.
const UNIT_BYTES: u64 = 2 << 20;
/// A stretch of unneeded bytes this long is worth a request of its own.
const GAP_BYTES: u64 = 128 << 10;
/// Files that wait, open, for their other pieces.
const OPEN_MAX: usize = 256;

pub(super) struct Made {
    pub(super) warnings: Vec<Warning>,
    pub(super) remembered: Vec<Remembered>,
}

/// A chunk and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    at: ChunkRef,
    file: usize,
    offset: u64,
}

/// Neighbouring chunks of a pack that are read together, and what becomes of them.
#[derive(Debug)]
struct Unit {
    pack: u32,
    chunks: Range<u32>,
    uses: Range<usize>,
}

/// Makes all regular files of the layout.
pub(super) fn make(
    layout: &Layout,
    packs: &[Pack],
    depot: &dyn Depot,
    stages: &Stages,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Made> {
    let uses = uses(layout, packs);
    let units = units(&uses, packs);
    let shared = Shared {
        layout,
        packs,
        depot,
        stages,
        shares: shares(units.len(), threads()),
        units,
        missing: missing(layout, &uses),
        uses,
        umask: umask(),
        open: Mutex::default(),
        next_file: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        written: AtomicU64::new(0),
        progress,
    };
    let results: Vec<Result<Made>> = std::thread::scope(|scope| {
        let shared = &shared;
        let workers: Vec<_> = (0..threads())
            .map(|number| scope.spawn(move || Worker::new(shared, number).run()))
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no placing thread panics")).collect()
    });
    let mut made = Made { warnings: Vec::new(), remembered: Vec::new() };
    for result in results {
        let part = result?;
        made.warnings.extend(part.warnings);
        made.remembered.extend(part.remembered);
    }
    Ok(made)
}

/// In the order in which the chunks lie in the packs. Extents were checked when the layout was made.
fn uses(layout: &Layout, packs: &[Pack]) -> Vec<Use> {
    let mut uses = Vec::with_capacity(layout.files.len());
    for (file, target) in layout.files.iter().enumerate() {
        let mut offset = 0;
        for extent in &target.extents {
            let (first, count) = match *extent {
                Extent::Chunks { first, count } => (first, count),
                Extent::Hole(len) => {
                    offset += len;
                    continue;
                }
            };
            for chunk in first.chunk..first.chunk + count {
                uses.push(Use { at: ChunkRef { pack: first.pack, chunk }, file, offset });
                let range = packs[first.pack as usize].range(&(chunk..chunk + 1));
                offset += range.end - range.start;
            }
        }
    }
    uses.sort_unstable();
    uses
}

fn units(uses: &[Use], packs: &[Pack]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (at, wanted) in uses.iter().enumerate() {
        let ChunkRef { pack, chunk } = wanted.at;
        if let Some(unit) = units.last_mut()
            && unit.pack == pack
        {
            let bytes = |chunks: Range<u32>| {
                let range = packs[pack as usize].range(&chunks);
                range.end - range.start
            };
            let gap = if chunk > unit.chunks.end { bytes(unit.chunks.end..chunk) } else { 0 };
            let all = bytes(unit.chunks.start..(chunk + 1).max(unit.chunks.end));
            if chunk < unit.chunks.end || gap < GAP_BYTES && all <= UNIT_BYTES {
                unit.chunks.end = unit.chunks.end.max(chunk + 1);
                unit.uses.end = at + 1;
                continue;
            }
        }
        units.push(Unit { pack, chunks: chunk..chunk + 1, uses: at..at + 1 });
    }
    units
}

/// For each file, the number of pieces still to be written.
fn missing(layout: &Layout, uses: &[Use]) -> Vec<AtomicUsize> {
    let mut missing = vec![0; layout.files.len()];
    for wanted in uses {
        missing[wanted.file] += 1;
    }
    missing.into_iter().map(AtomicUsize::new).collect()
}

/// Permission bits that the kernel takes away from new files. Asking for it by the system call would
/// change it for all threads.
fn umask() -> u32 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777)
}

struct Shared<'a> {
    layout: &'a Layout,
    packs: &'a [Pack],
    depot: &'a dyn Depot,
    stages: &'a Stages,
    units: Vec<Unit>,
    uses: Vec<Use>,
    missing: Vec<AtomicUsize>,
    umask: u32,
    /// Files in several pieces that some thread has begun.
    open: Mutex<HashMap<usize, Arc<OwnedFd>>>,
    /// Each worker's part of the units.
    shares: Vec<Mutex<Range<usize>>>,
    next_file: AtomicUsize,
    failed: AtomicBool,
    written: AtomicU64,
    progress: &'a (dyn Fn(u64, u64) + Sync),
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    number: usize,
    /// The folder of the last file, open: its neighbours are made from there.
    folder: Option<(usize, OwnedFd)>,
    made: Made,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>, number: usize) -> Self {
        Self {
            shared,
            number,
            folder: None,
            made: Made { warnings: Vec::new(), remembered: Vec::new() },
        }
    }

    fn run(mut self) -> Result<Made> {
        let result = self.work();
        self.shared.failed.fetch_or(result.is_err(), Ordering::Relaxed);
        result.map(|()| self.made)
    }

    fn work(&mut self) -> Result<()> {
        let shared = self.shared;
        let total = shared.layout.size_bytes();
        let mut bytes = Vec::new();
        while let Some(unit) = shared.next_unit(self.number) {
            if shared.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            shared.packs[unit.pack as usize].read(shared.depot, &unit.chunks, &mut bytes)?;
            let written = self.unit(unit, &bytes)?;
            let written = shared.written.fetch_add(written, Ordering::Relaxed) + written;
            (shared.progress)(written, total);
        }
        loop {
            let file = shared.next_file.fetch_add(1, Ordering::Relaxed);
            let Some(target) = shared.layout.files.get(file) else { return Ok(()) };
            if target.extents.iter().all(|extent| matches!(extent, Extent::Hole(_))) {
                self.whole(file, &[])?;
            }
        }
    }

    /// Writes every use of the unit's chunks; uses that continue one another go in one write.
    fn unit(&mut self, unit: &Unit, bytes: &[u8]) -> Result<u64> {
        let shared = self.shared;
        let pack = &shared.packs[unit.pack as usize];
        let base = pack.range(&unit.chunks).start;
        let uses = &shared.uses[unit.uses.clone()];
        let mut written = 0;
        let mut at = 0;
        while at < uses.len() {
            let Use { file, offset, .. } = uses[at];
            let mut range = pack.range(&(uses[at].at.chunk..uses[at].at.chunk + 1));
            let mut pieces = 1;
            while let Some(next) = uses.get(at + pieces) {
                let follows = pack.range(&(next.at.chunk..next.at.chunk + 1));
                let continues = next.file == file
                    && follows.start == range.end
                    && next.offset == offset + (range.end - range.start);
                if !continues {
                    break;
                }
                range.end = follows.end;
                pieces += 1;
            }
            let place = |at: u64| usize::try_from(at - base).expect("a unit fits in memory");
            self.pieces(file, offset, &bytes[place(range.start)..place(range.end)], pieces)?;
            written += range.end - range.start;
            at += pieces;
        }
        Ok(written)
    }

    fn pieces(&mut self, file: usize, offset: u64, bytes: &[u8], pieces: usize) -> Result<()> {
        let target = &self.shared.layout.files[file];
        if target.size == bytes.len() as u64 {
            return self.whole(file, bytes);
        }
        let opened = self.shared_file(file)?;
        write_at(&opened, bytes, offset).map_err(|error| self.fault(file, error))?;
        let left = self.shared.missing[file].fetch_sub(pieces, Ordering::AcqRel) - pieces;
        if left == 0 {
            self.shared.open().remove(&file);
            rustix::fs::ftruncate(&opened, target.size)
                .map_err(|error| self.fault(file, error.into()))?;
            self.finish(file, &opened, None)?;
        }
        Ok(())
    }

    /// Makes a file whose content is at hand completely; what is not in `bytes` is a hole.
    fn whole(&mut self, file: usize, bytes: &[u8]) -> Result<()> {
        let target = &self.shared.layout.files[file];
        let mode = kept_mode(target);
        let opened = self.create(file, OFlags::EXCL, mode)?;
        write_at(&opened, bytes, 0).map_err(|error| self.fault(file, error))?;
        if target.size > bytes.len() as u64 {
            rustix::fs::ftruncate(&opened, target.size)
                .map_err(|error| self.fault(file, error.into()))?;
        }
        self.finish(file, &opened, Some(mode))
    }

    fn shared_file(&mut self, file: usize) -> Result<Arc<OwnedFd>> {
        if let Some(opened) = self.shared.open().get(&file) {
            return Ok(opened.clone());
        }
        let opened = Arc::new(self.create(file, OFlags::empty(), 0o600)?);
        let mut open = self.shared.open();
        if open.len() < OPEN_MAX {
            return Ok(open.entry(file).or_insert(opened).clone());
        }
        Ok(opened)
    }

    fn create(&mut self, file: usize, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let target = &self.shared.layout.files[file];
        let flags = flags | OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o777);
        let opened = match target.parent {
            Parent::Root(root) => rustix::fs::openat(
                self.shared.stages.folder(root),
                target.name.as_slice(),
                flags,
                mode,
            ),
            Parent::Folder(at) => {
                if self.folder.as_ref().is_none_or(|(open, _)| *open != at) {
                    self.folder = Some((at, self.open_folder(at)?));
                }
                let (_, folder) = self.folder.as_ref().expect("opened above");
                rustix::fs::openat(folder, target.name.as_slice(), flags, mode)
            }
        };
        opened.map_err(|error| self.fault(file, error.into()))
    }

    fn open_folder(&self, at: usize) -> Result<OwnedFd> {
        let folder = &self.shared.layout.folders[at];
        let stage = self.shared.stages.folder(folder.root);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(stage, folder.path.as_slice(), flags, Mode::empty()).map_err(|error| {
            Error::io("open", self.shared.stages.path(folder.root, &folder.path))(error.into())
        })
    }

    /// Mode, attributes and time, and what to remember. `created` is the mode asked for when the file
    /// was made, if it may already be right.
    fn finish(&mut self, file: usize, opened: &OwnedFd, created: Option<u32>) -> Result<()> {
        let target = &self.shared.layout.files[file];
        let mode = kept_mode(target);
        let mut set = Ok(());
        if !target.meta.xattrs.is_empty() {
            set = xattr::write(opened.as_fd(), &target.meta.xattrs);
        }
        if created.is_none() || mode & self.shared.umask != 0 || mode & !0o777 != 0 {
            set = set.and(rustix::fs::fchmod(opened, Mode::from_raw_mode(mode)));
        }
        set = set.and(rustix::fs::futimens(opened, &timestamps(target.meta.mtime)));
        if let Err(error) = set {
            let kind =
                WarningKind::Meta(format!("its mode, time or attributes cannot be set ({error})"));
            self.made.warnings.push(Warning { path: self.path(file), kind });
        }
        if target.meta.xattrs.is_empty() {
            let stat = rustix::fs::fstat(opened).map_err(|error| self.fault(file, error.into()))?;
            let id = FileId::new(&Stat::new(&stat));
            self.made.remembered.push(Remembered { id, extents: target.extents.clone() });
        }
        Ok(())
    }

    fn path(&self, file: usize) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let target = &self.shared.layout.files[file];
        let name = std::ffi::OsStr::from_bytes(&target.name);
        match target.parent {
            Parent::Root(root) => self.shared.layout.roots[root].here.clone(),
            Parent::Folder(at) => {
                let folder = &self.shared.layout.folders[at];
                self.shared.stages.path(folder.root, &folder.path).join(name)
            }
        }
    }

    fn fault(&self, file: usize, error: io::Error) -> Error {
        Error::io("write", self.path(file))(error)
    }
}

/// Equal parts, one for each worker: two that work side by side would wait for the lock of the same
/// folder again and again.
fn shares(units: usize, workers: usize) -> Vec<Mutex<Range<usize>>> {
    let border = |worker: usize| units * worker / workers;
    (0..workers).map(|worker| Mutex::new(border(worker)..border(worker + 1))).collect()
}

impl Shared<'_> {
    /// The next unit of the worker's own part, or the last of whoever has most left.
    fn next_unit(&self, worker: usize) -> Option<&Unit> {
        let lock = |share: &Mutex<Range<usize>>| {
            share.lock().expect("no panics while a share is held").clone()
        };
        let own = self.shares[worker].lock().expect("no panics while a share is held").next();
        if let Some(at) = own {
            return self.units.get(at);
        }
        loop {
            let richest = self.shares.iter().max_by_key(|share| lock(share).len())?;
            if lock(richest).is_empty() {
                return None;
            }
            if let Some(at) = richest.lock().expect("no panics while a share is held").next_back() {
                return self.units.get(at);
            }
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<OwnedFd>>> {
        self.open.lock().expect("no placing thread panics")
    }
}

/// Set-user-id and set-group-id are not restored: a cache must not hand out somebody's rights.
fn kept_mode(target: &TargetFile) -> u32 {
    target.meta.mode & 0o1777
}

fn write_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    Ok(())
}
