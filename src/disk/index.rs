//! sled, in a role in which its faults cannot matter: everything in it can be found out again. It
//! holds few records: the table of blobs in segments of thousands, and small maps for others.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use super::{Error, Result};

/// The version of what is kept; another one is thrown away.
const FORMAT: &[u8] = b"2";
/// Set while the table in the index is what the files are.
const CLEAN: &str = "clean";

/// The index of a data folder.
#[derive(Debug, Clone)]
pub struct Index {
    db: sled::Db,
    table: sled::Tree,
}

/// A small map from bytes to bytes.
#[derive(Debug, Clone)]
pub struct Map(sled::Tree);

impl Index {
    /// Opens it; one that does not open is deleted and begun anew.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if let Some(index) = Self::try_open(path) {
            return Ok(index);
        }
        tracing::warn!(path = %path.display(), "the index does not open; it is rebuilt from the files");
        match fs_err::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(error));
            }
            _ => {}
        }
        let why = format!("the index at `{}` cannot be made", path.display());
        Self::try_open(path).ok_or_else(|| Error::Io(std::io::Error::other(why)))
    }

    /// sled 0.34 panics on some damaged files, so a panic counts as "does not open". No state of ours is
    /// involved in it.
    fn try_open(path: &Path) -> Option<Self> {
        let open = || {
            let db = sled::Config::new().path(path).cache_capacity(16 << 20).open()?;
            let meta = db.open_tree("meta")?;
            let fits = match meta.get("format")? {
                Some(format) => format == FORMAT,
                None => db.tree_names().len() <= 2,
            };
            if !fits {
                return Err(sled::Error::Unsupported("another format".to_owned()));
            }
            meta.insert("format", FORMAT)?;
            Ok(Self { table: db.open_tree("table")?, db })
        };
        match std::panic::catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(index)) => Some(index),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the index cannot be used");
                None
            }
            Err(_) => None,
        }
    }

    /// A map of this name, made when it is not there.
    pub fn map(&self, name: &str) -> Result<Map> {
        // Apart from the trees of this file, whatever the name.
        self.db.open_tree(format!("map/{name}")).map(Map).map_err(Error::Index)
    }

    /// The packed segments of the table of blobs.
    pub(super) fn read_table(&self) -> impl Iterator<Item = Result<sled::IVec>> {
        self.table.iter().values().map(|segment| segment.map_err(Error::Index))
    }

    pub(super) fn write_segment(&self, segment: u32, packed: Vec<u8>) -> Result<()> {
        self.table.insert(segment.to_be_bytes(), packed).map(|_| ()).map_err(Error::Index)
    }

    /// Forgets all segments.
    pub(super) fn clear_table(&self) -> Result<()> {
        self.table.clear().map_err(Error::Index)
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.db.flush().map(|_| ()).map_err(Error::Index)
    }

    /// Whether the table is what the files are; from now on it may not be.
    pub(super) fn take_clean(&self) -> Result<bool> {
        let was = self.db.remove(CLEAN).map_err(Error::Index)?.is_some();
        self.flush()?;
        Ok(was)
    }

    pub(super) fn put_clean(&self) -> Result<()> {
        self.db.insert(CLEAN, &[]).map_err(Error::Index)?;
        self.flush()
    }
}

impl Map {
    /// The value at `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.0.get(key).map(|value| value.map(|value| value.to_vec())).map_err(Error::Index)
    }

    /// Sets the value at `key`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: &[u8]) -> Result<()> {
        self.0.insert(key, value).map(|_| ()).map_err(Error::Index)
    }

    /// Forgets `key`.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove(key).map(|_| ()).map_err(Error::Index)
    }

    /// At most `limit` records whose keys start with `prefix`, in the order of their keys.
    pub fn scan_prefix(&self, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let record = |record: sled::Result<(sled::IVec, sled::IVec)>| {
            record.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Error::Index)
        };
        self.0.scan_prefix(prefix).take(limit).map(record).collect()
    }
}
