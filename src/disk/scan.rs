//! Finding out at start what the disk holds.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::ingest::now_secs;
use super::layout::Layout;
use super::table::{Record, Table};
use super::{Error, Index, Result};
use crate::model::Digest;

/// Blobs that were being written when the last daemon ended.
pub(super) fn remove_temporary(layout: &Layout) -> Result<()> {
    for entry in fs_err::read_dir(layout.temporary()).map_err(Error::io)? {
        fs_err::remove_file(entry.map_err(Error::io)?.path()).map_err(Error::io)?;
    }
    Ok(())
}

/// What the index says, where the files agree; otherwise what the files say.
pub(super) fn table(layout: &Layout, index: &Index) -> Result<Table> {
    let mut known = Table::default();
    let mut sound = true;
    for record in index.read_table() {
        match record {
            Ok((shard, packed)) => sound &= known.add_packed(shard, &packed),
            Err(_) => sound = false,
        }
    }
    let mut table = Table::default();
    let mut as_known = sound;
    let known_counts = known.by_shard();
    for shard in 0..=u8::MAX {
        let agreed = scan_shard(&layout.shard(shard), shard, &known, &mut table)?;
        as_known &= agreed == known_counts[usize::from(shard)];
    }
    if as_known {
        return Ok(table.unchanged());
    }
    tracing::warn!(
        blobs = table.len(),
        "the index did not agree with the data folder; it was rebuilt"
    );
    Ok(table)
}

/// Adds the blobs of a folder to `table`; returns how many of them the index knew as they are.
fn scan_shard(folder: &Path, shard: u8, known: &Table, table: &mut Table) -> Result<u64> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Error::io(error)),
    };
    let mut agreed = 0;
    for entry in entries {
        let entry = entry.map_err(Error::io)?;
        let name = entry.file_name();
        let digest =
            std::str::from_utf8(name.as_bytes()).ok().and_then(|name| name.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|digest| digest.shard() == shard) else {
            tracing::warn!(path = %entry.path().display(), "not a blob; it is left alone");
            continue;
        };
        let size_bytes = entry.metadata().map_err(Error::io)?.len();
        let used_secs = known.used_secs(&digest).unwrap_or_else(now_secs);
        agreed += u64::from(known.size(&digest) == Some(size_bytes));
        table.insert(digest, Record { size_bytes, used_secs });
    }
    Ok(agreed)
}
