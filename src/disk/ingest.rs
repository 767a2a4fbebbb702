//! The only writer of blobs.

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::evict::Room;
use super::layout::Layout;
use super::table::Record;
use super::{Disk, Error, Lease, Result};
use crate::model::{Digest, Hasher};

/// Smaller pieces are gathered: a system call for each would cost more than the copy.
const BUFFER_BYTES: usize = 1 << 20;
/// Room that a blob of unknown length reserves beyond what came.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// Bytes on their way onto the disk: a temporary file until [`finish`](Self::finish) makes it a blob.
/// Dropped before that, it never was.
#[derive(Debug)]
pub struct Ingest {
    disk: Disk,
    file: NamedTempFile,
    room: Room,
    hasher: Hasher,
    buffer: Vec<u8>,
    /// Bytes that are in the file.
    written: u64,
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
        let file = tempfile::Builder::new()
            .prefix(Layout::TEMPORARY_PREFIX)
            .tempfile_in(disk.0.layout.temporary());
        let file = file.map_err(Error::io)?;
        let room = Room::none(disk.clone());
        Ok(Self {
            disk,
            file,
            room,
            hasher: Hasher::new(),
            buffer: Vec::new(),
            written: 0,
            size_bytes: 0,
        })
    }

    /// Reserves room for about so many bytes, or for as many as a part of the budget allows.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.room.grow_to(bytes).inspect_err(|_| self.disk.0.metrics.refused_bytes.increment(bytes))
    }

    /// Appends. Room is reserved first, some of it ahead; when there is none, nothing was written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let size_bytes = self.size_bytes + bytes.len() as u64;
        if size_bytes > self.room.bytes() {
            let ahead = size_bytes + self.size_bytes.min(AHEAD_BYTES_MAX);
            self.room.grow_to(ahead).or_else(|_| self.reserve(size_bytes))?;
        }
        self.hasher.update(bytes);
        self.size_bytes = size_bytes;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain()?;
        }
        if bytes.len() >= BUFFER_BYTES / 4 {
            self.drain()?;
            self.file.as_file_mut().write_all(bytes).map_err(Error::io)?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(BUFFER_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        self.file.as_file_mut().write_all(&self.buffer).map_err(Error::io)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// What was written before the [`write`](Self::write) that failed.
    pub fn take_back(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.rewind().map_err(Error::io)?;
        self.file.as_file_mut().take(self.written).read_to_end(&mut bytes).map_err(Error::io)?;
        bytes.append(&mut self.buffer);
        Ok(bytes)
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
        let Self { disk, file, size_bytes, room, .. } = self;
        let lease = disk.lease([digest]);
        if disk.contains(&digest).is_none() {
            file.as_file().sync_all().map_err(Error::io)?;
            settle(&disk, file, &digest, size_bytes)?;
            disk.0.metrics.ingested_bytes.increment(size_bytes);
        }
        drop(room);
        Ok(Stored { digest, size_bytes, lease })
    }
}

/// Moves the file to its place, where nobody removes an older one of this name meanwhile.
fn settle(disk: &Disk, file: NamedTempFile, digest: &Digest, size_bytes: u64) -> Result<()> {
    let _shard = disk.shard(digest);
    let shard = disk.0.layout.shard(digest.shard());
    match fs_err::create_dir(&shard) {
        Ok(()) => sync_folder(&disk.0.layout.blobs())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io(error)),
    }
    file.persist(disk.0.layout.blob(digest)).map_err(|error| Error::io(error.error))?;
    sync_folder(&shard)?;
    let mut table = disk.table();
    let now_secs = now_secs();
    table.insert(*digest, Record { size_bytes, verified_secs: now_secs }, now_secs);
    disk.0.metrics.show(&table);
    Ok(())
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
pub(super) fn now_secs() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
