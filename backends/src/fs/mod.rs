//! A folder, local or on NFS: `<root>/<path>`, one file for each object.
//!
//! The folder is Larder's own. Files become visible whole, by link or rename, after they were synced.
//! Long segments lie in nested folders (`names.rs`); temporary files in `.larder-tmp`, which is no
//! object's place.

mod list;
mod write;

use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use self::write::CreateBy;
use crate::{
    Backend, Body, ByteStream, Error, ErrorKind, Features, Object, ObjectMeta, ObjectPath,
    Operation, PutMode, Result, names,
};

/// How much of a file is read at once.
const READ_BYTES: u64 = 1 << 20;
/// Where files are written before they are moved to their place.
const TEMPORARY: &str = ".larder-tmp";

/// Objects as files. Clones share everything.
#[derive(Clone)]
pub struct Folder {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    create_by: OnceCell<CreateBy>,
}

impl Folder {
    /// Objects under `root`, which is made when the first is put.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { root: root.into(), create_by: OnceCell::new() }) }
    }

    /// Where `path` is, or would be, a file.
    fn file_of(&self, operation: Operation, path: &ObjectPath) -> Result<PathBuf> {
        let name = names::stored(path.as_str());
        if name.split('/').next() == Some(TEMPORARY) {
            let source = format!("`{TEMPORARY}` is where the folder keeps temporary files");
            return Err(Error::new(ErrorKind::Other, operation, path.as_str(), source));
        }
        Ok(self.shared.root.join(name))
    }

    /// How this file system makes a file only where there is none; asked once.
    async fn create_by(&self, operation: Operation) -> Result<CreateBy> {
        let probe = || async {
            let root = self.shared.root.clone();
            let found = blocking(move || write::probe(&root)).await;
            found.map_err(|error| failed(operation, &self.to_string(), error))
        };
        self.shared.create_by.get_or_try_init(probe).await.copied()
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", self.shared.root.display())
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Folder {
    async fn features(&self) -> Result<Features> {
        let create_by = self.create_by(Operation::Features).await?;
        Ok(Features { conditional_create: create_by != CreateBy::Looking })
    }

    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
        let target = write::Target {
            root: self.shared.root.clone(),
            file: self.file_of(Operation::Put, path)?,
            mode,
            create_by: self.create_by(Operation::Put).await?,
        };
        let metadata = write::put(target, body.into_stream(path), path).await?;
        Ok(meta_of(path, &metadata))
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
        let file = self.file_of(Operation::Get, path)?;
        let start = range.start;
        let opened = blocking(move || open(&file, start)).await;
        let (file, metadata) =
            opened.map_err(|error| failed(Operation::Get, path.as_str(), error))?;
        let meta = meta_of(path, &metadata);
        let left = range.end.min(meta.size_bytes).saturating_sub(range.start);
        Ok(Object { body: read(file, left, path.clone()), meta })
    }

    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        let file = self.file_of(Operation::Head, path)?;
        let metadata = blocking(move || only_files(fs_err::metadata(&file)?, &file)).await;
        let metadata = metadata.map_err(|error| failed(Operation::Head, path.as_str(), error))?;
        Ok(meta_of(path, &metadata))
    }

    async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
        for path in paths {
            let file = self.file_of(Operation::Delete, path)?;
            let root = self.shared.root.clone();
            let removed = blocking(move || remove(&root, &file)).await;
            removed.map_err(|error| failed(Operation::Delete, path.as_str(), error))?;
        }
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(self.shared.root.clone(), prefix, after)
    }
}

/// A file open at `start`; a folder is no object.
fn open(file: &Path, start: u64) -> io::Result<(fs_err::File, std::fs::Metadata)> {
    let mut opened = fs_err::File::open(file)?;
    let metadata = only_files(opened.metadata()?, file)?;
    if start > 0 {
        opened.seek(SeekFrom::Start(start.min(metadata.len())))?;
    }
    Ok((opened, metadata))
}

fn only_files(metadata: std::fs::Metadata, file: &Path) -> io::Result<std::fs::Metadata> {
    if metadata.is_file() {
        return Ok(metadata);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("`{}` is not a file", file.display())))
}

fn read(file: fs_err::File, left: u64, path: ObjectPath) -> ByteStream {
    let pieces = stream::try_unfold((file, left), move |(mut file, left)| {
        let path = path.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let piece = blocking(move || {
                let wanted = left.min(READ_BYTES);
                let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
                (&mut file).take(wanted).read_to_end(&mut bytes)?;
                Ok((file, Bytes::from(bytes)))
            });
            let (file, bytes) =
                piece.await.map_err(|error| failed(Operation::Get, path.as_str(), error))?;
            if bytes.is_empty() {
                let source = format!("the file ended {left} bytes too early");
                return Err(Error::new(ErrorKind::Other, Operation::Get, path.as_str(), source));
            }
            let left = left - bytes.len() as u64;
            Ok(Some((bytes, (file, left))))
        }
    });
    pieces.boxed()
}

/// Removes the file, and then the folders above it that are empty.
fn remove(root: &Path, file: &Path) -> io::Result<()> {
    match fs_err::remove_file(file) {
        Err(error) if !is_absent(&error) => {
            // A folder is no object, so nothing is there to be removed.
            if !file.is_dir() {
                return Err(error);
            }
            return Ok(());
        }
        _ => {}
    }
    let above = file.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in above {
        if fs_err::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

fn meta_of(path: &ObjectPath, metadata: &std::fs::Metadata) -> ObjectMeta {
    // The time of the last write: linking and renaming leave it alone, unlike that of creation,
    // which NFS does not have, and that of the last change.
    let created = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
    ObjectMeta { path: path.clone(), size_bytes: metadata.len(), created }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(operation: Operation, path: &str, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let kind = match error.kind() {
        _ if is_absent(&error) && operation != Operation::Put => ErrorKind::NotFound,
        Io::AlreadyExists => ErrorKind::AlreadyExists,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StaleNetworkFileHandle
        | Io::TimedOut
        | Io::Interrupted
        | Io::ResourceBusy
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::ConnectionReset => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    Error::new(kind, operation, path, error)
}

/// Disk work is sync; this is where it crosses over.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::BackendExt as _;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text).unwrap()
    }

    #[tokio::test]
    async fn temporary_files_are_neither_listed_nor_left() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.put(&path("a"), vec![1].into(), PutMode::Create).await.unwrap();
        folder.put(&path("a"), vec![2].into(), PutMode::Create).await.unwrap_err();
        let temporary = root.path().join(TEMPORARY);
        assert_eq!(fs_err::read_dir(&temporary).unwrap().count(), 0);
        fs_err::write(temporary.join("of-the-dead"), "half").unwrap();
        let listed: Vec<ObjectMeta> = folder.list("", None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        let error = folder.head(&path(".larder-tmp/of-the-dead")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
    }

    #[tokio::test]
    async fn a_folder_and_an_object_cannot_be_at_one_path() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.put(&path("a/b"), vec![1].into(), PutMode::Create).await.unwrap();
        for mode in [PutMode::Create, PutMode::Overwrite] {
            for other in ["a", "a/b/c"] {
                let error = folder.put(&path(other), vec![2].into(), mode).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Other, "{other}: {}", error.chain());
            }
        }
        assert_eq!(folder.get_bytes(&path("a/b"), 9).await.unwrap(), [1][..]);
    }

    #[tokio::test]
    async fn every_way_to_create_refuses_what_exists() {
        for (create_by, conditional) in
            [(CreateBy::Linking, true), (CreateBy::Renaming, true), (CreateBy::Looking, false)]
        {
            let root = tempfile::tempdir().unwrap();
            let folder = Folder::new(root.path());
            folder.shared.create_by.set(create_by).unwrap();
            assert_eq!(folder.features().await.unwrap().conditional_create, conditional);
            folder.put(&path("a"), vec![1].into(), PutMode::Create).await.unwrap();
            let again = folder.put(&path("a"), vec![2].into(), PutMode::Create).await;
            assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(folder.get_bytes(&path("a"), 9).await.unwrap(), [1][..]);
        }
    }
}
