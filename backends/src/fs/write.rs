//! How a file gets to its place: written under `.larder-tmp`, synced, linked or renamed, and the
//! folders synced. Whatever stops in between leaves at most a temporary file.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::{TEMPORARY, failed};
use crate::{ByteStream, Error, ErrorKind, ObjectPath, Operation, PutMode, Result};

/// Pieces of a body that wait to be written.
const PIECES_MAX: usize = 4;
/// A temporary file this old was left behind by somebody who died.
const LEFT_BEHIND: Duration = Duration::from_hours(48);
/// How often a folder that a deletion takes away is made again.
const RACES_MAX: u32 = 10;

/// How a file system makes a file only where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreateBy {
    /// Hard links: local disks, NFS.
    Linking,
    /// `renameat2` that does not replace: VFAT, some FUSE and CIFS.
    Renaming,
    /// Neither: looks and then renames, which is a race.
    Looking,
}

/// Where a body goes, and how.
pub(super) struct Target {
    pub(super) root: PathBuf,
    pub(super) file: PathBuf,
    pub(super) mode: PutMode,
    pub(super) create_by: CreateBy,
}

/// What the writing thread is told. Without `Commit`, nothing is stored: so an error in the body,
/// or dropping the future, is never mistaken for its end.
enum Step {
    Write(bytes::Bytes),
    Commit,
}

/// Writes `body` to its place and returns what the file system says of it.
pub(super) async fn put(
    target: Target,
    mut body: ByteStream,
    path: &ObjectPath,
) -> Result<std::fs::Metadata> {
    let failed = |error| failed(Operation::Put, path.as_str(), error);
    let (steps, inbox) = mpsc::channel(PIECES_MAX);
    let written = tokio::task::spawn_blocking(move || write(&target, inbox));
    while let Some(piece) = body.next().await {
        if steps.send(Step::Write(piece?)).await.is_err() {
            break;
        }
    }
    // When the thread is gone its own error is the better one.
    let _ = steps.send(Step::Commit).await;
    match written.await {
        Ok(Ok(Some(metadata))) => Ok(metadata),
        Ok(Ok(None)) => Err(failed(io::Error::other("the writing was abandoned"))),
        Ok(Err(error)) => Err(conflict(path, &error).unwrap_or_else(|| failed(error))),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// A folder where the object should be, or an object where a folder should be.
fn conflict(path: &ObjectPath, error: &io::Error) -> Option<Error> {
    use io::ErrorKind::{IsADirectory, NotADirectory};
    let source = match error.kind() {
        IsADirectory => "other objects lie under this path: a folder cannot be a file as well",
        NotADirectory => "the path leads through another object, which is a file",
        _ => return None,
    };
    Some(Error::new(ErrorKind::Other, Operation::Put, path.as_str(), source))
}

/// `None` when the sender went away without `Commit`.
fn write(
    target: &Target,
    mut inbox: mpsc::Receiver<Step>,
) -> io::Result<Option<std::fs::Metadata>> {
    let mut temporary = Temporary::create(&target.root)?;
    loop {
        match inbox.blocking_recv() {
            Some(Step::Write(piece)) => temporary.file.write_all(&piece)?,
            Some(Step::Commit) => break,
            None => return Ok(None),
        }
    }
    temporary.file.sync_all()?;
    let metadata = temporary.file.metadata()?;
    let folder = target.file.parent().expect("a file under the root has a folder above it");
    let mut races = 0;
    loop {
        make_folder(folder)?;
        match temporary.publish(target) {
            // A deletion took the empty folder away again.
            Err(error) if error.kind() == io::ErrorKind::NotFound && races < RACES_MAX => {
                races += 1;
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    sync_folder(folder)?;
    Ok(Some(metadata))
}

/// A file that goes away again unless it is published.
struct Temporary {
    file: fs_err::File,
    path: PathBuf,
}

impl Temporary {
    fn create(root: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let folder = root.join(TEMPORARY);
        // Unique among threads by the counter, among processes and hosts by chance.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{:016x}-{number}", fastrand::u64(..)));
        let open =
            || fs_err::OpenOptions::new().write(true).read(true).create_new(true).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(&folder)?;
                open()?
            }
            other => other?,
        };
        Ok(Self { file, path })
    }

    fn publish(&self, target: &Target) -> io::Result<()> {
        let published = match (target.mode, target.create_by) {
            (PutMode::Overwrite, _) => fs_err::rename(&self.path, &target.file),
            (PutMode::Create, CreateBy::Linking) => self.link(&target.file),
            (PutMode::Create, CreateBy::Renaming) => self.rename_where_none_is(&target.file),
            (PutMode::Create, CreateBy::Looking) => match fs_err::symlink_metadata(&target.file) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs_err::rename(&self.path, &target.file),
            },
        };
        match published {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && target.file.is_dir() => {
                Err(io::ErrorKind::IsADirectory.into())
            }
            other => other,
        }
    }

    fn link(&self, to: &Path) -> io::Result<()> {
        match fs_err::hard_link(&self.path, to) {
            // NFS sends a request again when the answer got lost, and then meets its own link.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.file.metadata()?.nlink() == 2 { Ok(()) } else { Err(error) }
            }
            other => other,
        }
    }

    fn rename_where_none_is(&self, to: &Path) -> io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(CWD, &self.path, CWD, to, flags).map_err(io::Error::from)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs_err::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a temporary file stays behind");
            }
            _ => {}
        }
    }
}

/// Tries with two temporary files, and removes those of the dead.
pub(super) fn probe(root: &Path) -> io::Result<CreateBy> {
    let (one, other) = (Temporary::create(root)?, Temporary::create(root)?);
    sweep(&root.join(TEMPORARY), SystemTime::now())?;
    let to = one.path.with_extension("link");
    let linked = fs_err::hard_link(&one.path, &to);
    if linked.is_ok() {
        fs_err::remove_file(&to)?;
        return Ok(CreateBy::Linking);
    }
    let flags = RenameFlags::NOREPLACE;
    if rustix::fs::renameat_with(CWD, &one.path, CWD, &other.path, flags) == Err(Errno::EXIST) {
        return Ok(CreateBy::Renaming);
    }
    tracing::warn!(
        folder = %root.display(),
        "two hosts may both create the same object here: the file system has neither hard links \
         nor renaming without replacing"
    );
    Ok(CreateBy::Looking)
}

fn sweep(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        // It may go away meanwhile: others sweep and write here as well.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        if now.duration_since(modified).is_ok_and(|age| age > LEFT_BEHIND) {
            let removed = fs_err::remove_file(entry.path());
            tracing::debug!(?removed, "a temporary file was left behind");
        }
    }
    Ok(())
}

/// The folder and those above it, each durable in the one above.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs_err::create_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if folder.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = folder.parent().ok_or(error)?;
            make_folder(above)?;
            match fs_err::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => sync_folder(above),
            }
        }
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // The parent of a relative path of one segment is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match fs_err::File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder; they are as durable as they are.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}
