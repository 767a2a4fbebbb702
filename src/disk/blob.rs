//! Reading blobs, and what becomes of those that are wrong.

use std::io::{ErrorKind, Read};

use super::ingest::now_secs;
use super::{Disk, Error, Lease, Result};
use crate::model::{Digest, Hasher};

const READ_BYTES: usize = 1 << 20;

/// A blob, open and kept from eviction.
#[derive(Debug)]
pub struct Blob {
    /// Its bytes.
    pub file: fs_err::File,
    /// Its length.
    pub size_bytes: u64,
    _lease: Lease,
}

impl Disk {
    /// Opens a blob for reading. Its bytes are not verified: whoever uses them has the digests of the
    /// parts, or asks for [`verify`](Self::verify).
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>> {
        // The lease comes first: what is there under it stays.
        let lease = self.lease([*digest]);
        if self.contains(digest).is_none() {
            return Ok(None);
        }
        match fs_err::File::open(self.0.layout.blob(digest)) {
            Ok(file) => {
                let size_bytes = file.metadata().map_err(Error::io)?.len();
                self.table().touch(digest, now_secs());
                Ok(Some(Blob { file, size_bytes, _lease: lease }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tracing::warn!(%digest, "a blob has disappeared from the data folder");
                self.forget(digest);
                Ok(None)
            }
            Err(error) => Err(Error::io(error)),
        }
    }

    /// A whole blob, whose bytes are right. A wrong one is quarantined, and counts as absent.
    pub fn read_verified(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(mut blob) = self.open_blob(digest)? else { return Ok(None) };
        let size_bytes = blob.size_bytes;
        if size_bytes > limit_bytes {
            return Err(Error::TooLarge { digest: *digest, size_bytes, limit_bytes });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
        blob.file.read_to_end(&mut bytes).map_err(Error::io)?;
        if Digest::of(&bytes) == *digest {
            self.table().verified(digest, now_secs());
            return Ok(Some(bytes));
        }
        self.quarantine(digest)?;
        Ok(None)
    }

    /// Reads the blob anew and compares; false when it is absent, or was wrong and is quarantined now.
    pub fn verify(&self, digest: &Digest) -> Result<bool> {
        let Some(mut blob) = self.open_blob(digest)? else { return Ok(false) };
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match blob.file.read(&mut buffer).map_err(Error::io)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        if hasher.finish() == *digest {
            self.table().verified(digest, now_secs());
            return Ok(true);
        }
        self.quarantine(digest)?;
        Ok(false)
    }

    /// Takes a wrong blob out of use, and keeps it for whoever wants to know how it came about.
    fn quarantine(&self, digest: &Digest) -> Result<()> {
        tracing::error!(%digest, "a blob on the disk has wrong bytes; it is quarantined");
        self.0.metrics.quarantined.increment(1);
        self.forget(digest);
        let aside = self.0.layout.quarantine().join(digest.to_string());
        match fs_err::rename(self.0.layout.blob(digest), aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(error)),
            _ => Ok(()),
        }
    }

    fn forget(&self, digest: &Digest) {
        let mut table = self.table();
        table.remove(digest);
        self.0.metrics.show(&table);
    }
}
