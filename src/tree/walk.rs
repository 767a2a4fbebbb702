//! A directory tree as it is found, read by several threads, in a stable order.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};

use super::{Error, Result, Root, Warning, WarningKind};
use crate::model::{StreamReader, Time, Xattrs};

/// Several trees, one for each saved path that exists.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) roots: Vec<ScannedRoot>,
    /// Every folder found; [`Node::Folder`] counts into this.
    pub(super) folders: Vec<Folder>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Debug)]
pub(super) struct ScannedRoot {
    pub(super) root: Root,
    pub(super) entry: Entry,
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    /// On this host.
    pub(super) path: PathBuf,
    /// Ascending by name.
    pub(super) entries: Vec<Entry>,
    pub(super) xattrs: Xattrs,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<[u8]>,
    pub(super) stat: Stat,
    pub(super) node: Node,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder(usize),
    File,
    Symlink(Box<[u8]>),
}

/// What of `stat` matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) size: u64,
    /// Of 512 bytes.
    pub(super) blocks: u64,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) nlink: u64,
}

impl Stat {
    #[expect(clippy::cast_sign_loss, reason = "the kernel gives no negative sizes")]
    #[expect(
        clippy::cast_possible_wrap,
        reason = "the kernel's seconds are signed, whatever its headers say"
    )]
    #[expect(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
    pub(super) fn new(stat: &rustix::fs::Stat) -> Self {
        let time = |secs, nanos| Time { secs, nanos: u32::try_from(nanos).unwrap_or(0) };
        Self {
            mode: stat.st_mode & 0o7777,
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            nlink: stat.st_nlink as u64,
        }
    }
}

/// Threads for work that waits for the file system or hashes.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Reads what lies under `roots`.
pub(super) fn walk(roots: Vec<Root>) -> Result<Scan> {
    let mut scan = Scan::default();
    let walker = Walker::default();
    for root in roots {
        match root_entry(&root, &walker) {
            Ok(Some(entry)) => scan.roots.push(ScannedRoot { root, entry }),
            Ok(None) => scan.warnings.push(Warning { path: root.here, kind: WarningKind::Special }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                scan.warnings.push(Warning { path: root.here, kind: WarningKind::Missing });
            }
            Err(error) => return Err(Error::io("read", root.here)(error)),
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| walker.work());
        }
    });
    let state = walker.state.into_inner().expect("no walking thread panics");
    if let Some(error) = state.failed {
        return Err(error);
    }
    scan.folders = state.folders;
    scan.warnings.extend(state.warnings);
    Ok(scan)
}

fn root_entry(root: &Root, walker: &Walker) -> io::Result<Option<Entry>> {
    let stat = rustix::fs::lstat(&root.here)?;
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Node::Folder(walker.push(root.here.clone(), 0)),
        FileType::RegularFile => Node::File,
        FileType::Symlink => {
            Node::Symlink(link_target(rustix::fs::readlink(&root.here, Vec::new())?))
        }
        _ => return Ok(None),
    };
    Ok(Some(Entry { name: Box::default(), stat: Stat::new(&stat), node }))
}

fn link_target(target: std::ffi::CString) -> Box<[u8]> {
    target.into_bytes().into_boxed_slice()
}

#[derive(Default)]
struct Walker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    folders: Vec<Folder>,
    /// Folders still to be read: position and depth.
    waiting: Vec<(usize, usize)>,
    /// Threads that are reading one, and may find more.
    busy: usize,
    warnings: Vec<Warning>,
    failed: Option<Error>,
}

impl Walker {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no walking thread panics")
    }

    fn push(&self, path: PathBuf, depth: usize) -> usize {
        let mut state = self.lock();
        let at = state.folders.len();
        state.folders.push(Folder { path, ..Folder::default() });
        state.waiting.push((at, depth));
        at
    }

    fn work(&self) {
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut state = self.lock();
        loop {
            let Some((at, depth)) = state.waiting.pop() else {
                if state.busy == 0 || state.failed.is_some() {
                    self.changed.notify_all();
                    return;
                }
                state = self.changed.wait(state).expect("no walking thread panics");
                continue;
            };
            state.busy += 1;
            let path = state.folders[at].path.clone();
            drop(state);
            let listed = list(&path, &mut buffer);
            state = self.lock();
            state.busy -= 1;
            match listed {
                Ok(listing) => self.take(&mut state, at, depth, &path, listing),
                Err(error) => refuse(&mut state, path, error),
            }
        }
    }

    /// Keeps a listing and gives each folder in it a place in the queue.
    fn take(&self, state: &mut State, at: usize, depth: usize, path: &Path, mut listing: Listing) {
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        listing.entries.retain_mut(|entry| {
            let Node::Folder(child) = &mut entry.node else { return true };
            let path = path.join(OsStr::from_bytes(&entry.name));
            if depth + 2 >= StreamReader::DEPTH_MAX {
                state.warnings.push(Warning { path, kind: WarningKind::TooDeep });
                return false;
            }
            *child = state.folders.len();
            state.folders.push(Folder { path, ..Folder::default() });
            state.waiting.push((*child, depth + 1));
            self.changed.notify_one();
            true
        });
        state.folders[at].entries = listing.entries;
        state.folders[at].xattrs = listing.xattrs;
        state.warnings.extend(listing.warnings);
    }
}

fn refuse(state: &mut State, path: PathBuf, error: io::Error) {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => WarningKind::Vanished,
        io::ErrorKind::PermissionDenied => WarningKind::Unreadable(error.to_string()),
        io::ErrorKind::InvalidFilename => WarningKind::TooDeep,
        _ => {
            state.failed.get_or_insert(Error::io("read", path)(error));
            return;
        }
    };
    state.warnings.push(Warning { path, kind });
}

#[derive(Default)]
struct Listing {
    entries: Vec<Entry>,
    xattrs: Xattrs,
    warnings: Vec<Warning>,
}

fn list(path: &Path, buffer: &mut Vec<u8>) -> io::Result<Listing> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    let mut listing = Listing { xattrs: super::xattr::read(folder.as_fd())?, ..Listing::default() };
    let spare: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
    let mut entries = RawDir::new(folder.as_fd(), spare);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => {
                listing.warn(path, name.to_bytes(), WarningKind::Vanished);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Folder(0),
            FileType::RegularFile => Node::File,
            FileType::Symlink => {
                let Ok(target) = rustix::fs::readlinkat(&folder, name, Vec::new()) else {
                    listing.warn(path, name.to_bytes(), WarningKind::Vanished);
                    continue;
                };
                Node::Symlink(link_target(target))
            }
            _ => {
                listing.warn(path, name.to_bytes(), WarningKind::Special);
                continue;
            }
        };
        listing.entries.push(Entry { name: name.to_bytes().into(), stat: Stat::new(&stat), node });
    }
    Ok(listing)
}

impl Listing {
    fn warn(&mut self, folder: &Path, name: &[u8], kind: WarningKind) {
        let path = folder.join(OsString::from_vec(name.to_vec()));
        self.warnings.push(Warning { path, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Base;

    fn scan(folder: &Path, paths: &[&str]) -> Scan {
        let base = Base { working_directory: folder.to_owned(), home: "/nonexistent".into() };
        walk(paths.iter().map(|path| base.root(path, false).unwrap()).collect()).unwrap()
    }

    #[test]
    fn finds_everything_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..50 {
            fs_err::create_dir_all(folder.path().join(format!("t/{at:02}/deep/er"))).unwrap();
            fs_err::write(folder.path().join(format!("t/{at:02}/deep/er/f")), b"x").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", folder.path().join("t/link")).unwrap();
        let scan = scan(folder.path(), &["t", "absent"]);
        assert_eq!(scan.folders.len(), 151);
        let Node::Folder(top) = scan.roots[0].entry.node else { panic!("a folder") };
        let names: Vec<&[u8]> =
            scan.folders[top].entries.iter().map(|entry| &*entry.name).collect();
        assert!(names.is_sorted() && names.len() == 51);
        let missing = Warning { path: folder.path().join("absent"), kind: WarningKind::Missing };
        assert_eq!(scan.warnings, [missing]);
    }

    #[test]
    fn sockets_and_fifos_are_named_and_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("t/socket");
        fs_err::create_dir(folder.path().join("t")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let scan = scan(folder.path(), &["t"]);
        assert_eq!(scan.warnings, [Warning { path: socket, kind: WarningKind::Special }]);
    }
}
