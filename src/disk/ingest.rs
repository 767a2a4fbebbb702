//! The only writer of blobs.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::table::Record;
use super::{Disk, Error, Lease, Result};
use crate::model::{Digest, Hasher};

/// Smaller pieces are gathered: a system call for each would cost more than the copy.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes on their way onto the disk: a temporary file until [`finish`](Self::finish) makes it a blob.
/// Dropped before that, it never was.
#[derive(Debug)]
pub struct Ingest {
    disk: Disk,
    file: NamedTempFile,
    hasher: Hasher,
    buffer: Vec<u8>,
    size_bytes: u64,
}

/// A blob that lies durably on the disk.
#[derive(Debug)]
pub struct Stored {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// Keeps it there until the caller has made use of it.
    pub lease: Lease,
}

impl Ingest {
    pub(super) fn begin(disk: Disk) -> Result<Self> {
        let file =
            tempfile::Builder::new().prefix("ingest-").tempfile_in(disk.0.layout.temporary());
        let file = file.map_err(Error::io)?;
        Ok(Self { disk, file, hasher: Hasher::new(), buffer: Vec::new(), size_bytes: 0 })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain()?;
        }
        if bytes.len() >= BUFFER_BYTES / 4 {
            self.drain()?;
            return self.file.as_file_mut().write_all(bytes).map_err(Error::io);
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(BUFFER_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        self.file.as_file_mut().write_all(&self.buffer).map_err(Error::io)?;
        self.buffer.clear();
        Ok(())
    }

    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes it a blob named by what was written.
    pub fn finish(self) -> Result<Stored> {
        let digest = self.hasher.finish();
        self.finish_as(&digest)
    }

    /// Makes it a blob, if what was written is what was `expected`.
    pub fn finish_as(mut self, expected: &Digest) -> Result<Stored> {
        let digest = self.hasher.finish();
        if digest != *expected {
            return Err(Error::Mismatch { expected: *expected, found: digest });
        }
        self.drain()?;
        let Self { disk, file, size_bytes, .. } = self;
        let lease = disk.lease([digest]);
        if disk.contains(&digest).is_none() {
            settle(&disk, file, &digest)?;
            let mut table = disk.table();
            table.insert(digest, Record { size_bytes, used_secs: now_secs() });
            disk.0.metrics.ingested_bytes.increment(size_bytes);
            disk.0.metrics.show(&table);
        }
        Ok(Stored { digest, size_bytes, lease })
    }
}

fn settle(disk: &Disk, file: NamedTempFile, digest: &Digest) -> Result<()> {
    file.as_file().sync_all().map_err(Error::io)?;
    let shard = disk.0.layout.shard(digest.shard());
    match fs_err::create_dir(&shard) {
        Ok(()) => sync_folder(&disk.0.layout.blobs())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io(error)),
    }
    file.persist(disk.0.layout.blob(digest)).map_err(|error| Error::io(error.error))?;
    sync_folder(&shard)
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    fs_err::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io)
}

/// Writes a small file so that after a crash it is there as a whole or as it was before.
pub fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file =
        tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(Error::io)?;
    file.write_all(bytes).map_err(Error::io)?;
    file.as_file().sync_all().map_err(Error::io)?;
    file.persist(folder.join(name)).map_err(|error| Error::io(error.error))?;
    sync_folder(folder)
}

/// Seconds since 1970.
pub(super) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
