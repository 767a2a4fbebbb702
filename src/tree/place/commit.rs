//! Staging folders, and moving what is in them to its place.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::layout::{STAGED, TargetRoot};
use crate::tree::{Error, Result};

const PREFIX: &str = ".larder-restore-";
/// Younger staging folders belong to somebody, locked or not.
const NEW_FOR: Duration = Duration::from_mins(1);

/// A staging folder for each saved path, on the file system of its place. Removed with all that is
/// left in them when this is dropped.
#[derive(Debug)]
pub(super) struct Stages(Vec<Stage>);

#[derive(Debug)]
struct Stage {
    folder: tempfile::TempDir,
    opened: OwnedFd,
}

impl Stages {
    pub(super) fn new(roots: &[TargetRoot]) -> Result<Self> {
        roots.iter().map(|root| Stage::new(&root.here)).collect::<Result<_>>().map(Self)
    }

    pub(super) fn folder(&self, root: usize) -> BorrowedFd<'_> {
        self.0[root].opened.as_fd()
    }

    pub(super) fn path(&self, root: usize, path: &[u8]) -> PathBuf {
        self.0[root].folder.path().join(OsStr::from_bytes(path))
    }

    /// Moves everything to its place. Refuses before the first move what could not be replaced
    /// without losing something.
    pub(super) fn commit(self, roots: &[TargetRoot]) -> Result<()> {
        let staged = |at: usize| self.path(at, STAGED);
        for (at, root) in roots.iter().enumerate() {
            check(&staged(at), &root.here).map_err(Error::io("replace", &root.here))?;
        }
        for (at, root) in roots.iter().enumerate() {
            settle(&staged(at), &root.here).map_err(Error::io("write", &root.here))?;
        }
        Ok(())
    }
}

impl Stage {
    /// Beside `here`, or in it when it is the top of a file system of its own.
    fn new(here: &Path) -> Result<Self> {
        let parent = here.parent().unwrap_or(here);
        fs_err::create_dir_all(parent).map_err(Error::io("make", parent))?;
        let inside = match fs_err::symlink_metadata(here) {
            Ok(there) if there.is_dir() => {
                fs_err::metadata(parent).is_ok_and(|parent| parent.dev() != there.dev())
            }
            _ => false,
        };
        let place = if inside { here } else { parent };
        sweep(place);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(place)
            .map_err(Error::io("write", parent))?;
        let opened = open(folder.path()).map_err(Error::io("open", folder.path()))?;
        if let Err(error) = lock(&opened) {
            tracing::debug!(%error, "the staging folder cannot be locked");
        }
        Ok(Self { folder, opened })
    }
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?)
}

/// A restore holds the lock of its staging folder as long as it lives, however it ends.
fn lock(folder: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive)?)
}

/// Removes staging folders that restores left when they were killed. What cannot be removed stays: it
/// is somebody else's, or will be tried again.
fn sweep(place: &Path) {
    let is_left = |folder: &Path| {
        let unlocked = open(folder).and_then(|opened| lock(&opened)).is_ok();
        let age = fs_err::metadata(folder).and_then(|there| there.modified());
        // One that was made this moment may not be locked yet.
        let is_old = age.is_ok_and(|since| since.elapsed().is_ok_and(|age| age > NEW_FOR));
        unlocked && is_old
    };
    let Ok(entries) = fs_err::read_dir(place) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
            && is_left(&entry.path())
            && let Err(error) = fs_err::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, "a staging folder that was left behind stays");
        }
    }
}

fn kind(path: &Path) -> io::Result<Option<std::fs::FileType>> {
    match fs_err::symlink_metadata(path) {
        Ok(there) => Ok(Some(there.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file never takes a folder's place: what is in the folder would be lost.
fn check(from: &Path, to: &Path) -> io::Result<()> {
    let Some(there) = kind(to)? else { return Ok(()) };
    if !there.is_dir() {
        return Ok(());
    }
    if !kind(from)?.is_some_and(|kind| kind.is_dir()) {
        let why = format!(
            "`{}` is a folder, and was a file when it was saved: remove it first",
            to.display()
        );
        return Err(io::Error::new(io::ErrorKind::IsADirectory, why));
    }
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        check(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Folders are merged, everything else is replaced at once; a link in the way is replaced, never
/// followed.
fn settle(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = kind(from)?.is_some_and(|kind| kind.is_dir());
    match kind(to)? {
        Some(there) if there.is_dir() && is_folder => {
            let entries: Vec<_> = fs_err::read_dir(from)?.collect::<io::Result<_>>()?;
            for entry in entries {
                writable(to)?;
                settle(&entry.path(), &to.join(entry.file_name()))?;
            }
            Ok(())
        }
        Some(_) if is_folder => {
            fs_err::remove_file(to)?;
            fs_err::rename(from, to)
        }
        _ => fs_err::rename(from, to),
    }
}

/// A folder that was restored read-only before must take new entries now; it gets its mode at the end.
fn writable(folder: &Path) -> io::Result<()> {
    let mode = fs_err::metadata(folder)?.permissions().mode();
    if mode & 0o300 != 0o300 {
        fs_err::set_permissions(folder, std::fs::Permissions::from_mode(mode | 0o300))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_killed_restores_left_goes_and_what_lives_stays() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str, age: Duration| {
            let folder = place.path().join(name);
            fs_err::create_dir_all(folder.join("staged/deep")).unwrap();
            let since = SystemTime::now() - age;
            let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let opened = open(&folder).unwrap();
            let time = rustix::fs::Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(&opened, &times).unwrap();
            (folder, opened)
        };
        let old = NEW_FOR * 2;
        let (left, _) = make(".larder-restore-left", old);
        let (live, held) = make(".larder-restore-live", old);
        let (new, _) = make(".larder-restore-new", Duration::ZERO);
        let (foreign, _) = make("else", old);
        lock(&held).unwrap();
        sweep(place.path());
        assert!(!left.exists());
        assert!(live.exists() && new.exists() && foreign.exists());
    }
}
