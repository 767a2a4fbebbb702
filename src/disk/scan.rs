//! Finding out what the disk holds: from the index at once, from the files while the daemon serves.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;

use super::ingest::now_secs;
use super::layout::Layout;
use super::table::{Record, Table};
use super::{Disk, Error, Index, Result};
use crate::model::Digest;

/// Blobs that were being written when the last daemon ended. What others put there is left alone.
pub(super) fn remove_temporary(layout: &Layout) -> Result<()> {
    for entry in fs_err::read_dir(layout.temporary()).map_err(Error::io)? {
        let entry = entry.map_err(Error::io)?;
        if entry.file_name().as_bytes().starts_with(Layout::TEMPORARY_PREFIX.as_bytes()) {
            fs_err::remove_file(entry.path()).map_err(Error::io)?;
        } else {
            tracing::warn!(path = %entry.path().display(), "not Larder's; it is left alone");
        }
    }
    Ok(())
}

/// What the index says; nothing when it is damaged.
pub(super) fn table(index: &Index) -> Option<Table> {
    let segments: Result<Vec<sled::IVec>, _> = index.read_table().collect();
    Table::unpack(segments.ok()?.iter().map(AsRef::as_ref))
}

impl Disk {
    /// Compares what is known with the files, and corrects it. Not needed after a daemon that ended in
    /// peace; until it is done, blobs that are not known are looked for in their place. Blocks.
    pub fn reconcile(&self) -> Result<()> {
        if self.0.reconciled.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut by_shard: Vec<HashSet<Digest>> = vec![HashSet::new(); 256];
        for (digest, _) in self.table().iter() {
            by_shard[usize::from(digest.shard())].insert(digest);
        }
        let (mut found, mut gone) = (0_u64, 0_u64);
        for (shard, known) in (0..=u8::MAX).zip(by_shard) {
            let (new, missing) = self.reconcile_shard(shard, known)?;
            found += new;
            gone += missing;
        }
        self.0.reconciled.store(true, Ordering::Release);
        if found + gone > 0 {
            tracing::info!(found, gone, "the index was brought up to date with the files");
        }
        Ok(())
    }

    fn reconcile_shard(&self, shard: u8, mut known: HashSet<Digest>) -> Result<(u64, u64)> {
        let mut found = 0;
        let entries = match fs_err::read_dir(self.0.layout.shard(shard)) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(error)),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(Error::io)?;
            let name = entry.file_name();
            let digest = std::str::from_utf8(name.as_bytes())
                .ok()
                .and_then(|name| name.parse::<Digest>().ok())
                .filter(|digest| digest.shard() == shard);
            match digest {
                Some(digest) if known.remove(&digest) => {}
                Some(digest) => found += u64::from(self.find(&digest)?),
                None => {
                    tracing::warn!(path = %entry.path().display(), "not a blob; it is left alone");
                }
            }
        }
        let mut gone = 0;
        for digest in known {
            let _shard = self.shard(&digest);
            if !self.0.layout.blob(&digest).exists() {
                gone += u64::from(self.table().remove(&digest).is_some());
            }
        }
        self.0.metrics.show(&self.table());
        Ok((found, gone))
    }

    /// Adds a blob that is in its place and not known; says whether there was one.
    pub(super) fn find(&self, digest: &Digest) -> Result<bool> {
        let _shard = self.shard(digest);
        let there = match fs_err::symlink_metadata(self.0.layout.blob(digest)) {
            Ok(there) if there.is_file() => there,
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io(error)),
        };
        let mut table = self.table();
        if table.get(digest).is_some() {
            return Ok(false);
        }
        // Nobody has seen its bytes to be right since whatever ended the last daemon.
        let record = Record { size_bytes: there.len(), verified_secs: 0 };
        table.insert(*digest, record, now_secs());
        Ok(true)
    }
}
