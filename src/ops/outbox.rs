//! The durable queue of saves that the backend does not have yet: a file for each, in the order in
//! which they came.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{Error, ErrorKind, Result};
use crate::disk::{Disk, Lease, write_durably};
use crate::model::{CacheEntry, Digest, Project, Scope};

/// A save to be flushed, as its file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) project: Project,
    pub(super) scope: Scope,
    pub(super) entry: CacheEntry,
    /// The packs that the manifest names.
    pub(super) packs: Vec<Digest>,
    /// Bytes of the blobs on the host.
    pub(super) bytes: u64,
}

impl Record {
    pub(super) const VERSION: u32 = 1;

    fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.packs.iter().copied().chain([self.entry.manifest])
    }
}

/// How the queue stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Saves that wait.
    pub entries: u64,
    /// Bytes of their blobs on the host.
    pub bytes: u64,
    /// Why the last attempt to flush failed, if it did.
    pub last_error: Option<String>,
}

#[derive(Debug)]
pub(super) struct Outbox {
    disk: Disk,
    waiting: Mutex<BTreeMap<u64, (Arc<Record>, Lease)>>,
    state: watch::Sender<OutboxState>,
    /// Rings when there is something new, or somebody wants it gone now.
    pub(super) bell: Notify,
}

impl Outbox {
    /// Finds the records that an earlier daemon left. One that cannot be read is set aside.
    pub(super) fn open(disk: Disk) -> Result<Self> {
        let mut waiting = BTreeMap::new();
        for entry in fs_err::read_dir(disk.outbox()).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(number) = name.strip_suffix(".json").and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = fs_err::read(&path).map_err(fault)?;
            match serde_json::from_slice::<Record>(&read) {
                Ok(record) if record.version == Record::VERSION => {
                    let lease = disk.lease(record.blobs());
                    waiting.insert(number, (Arc::new(record), lease));
                }
                _ => {
                    let aside = path.with_extension("unreadable");
                    tracing::error!(path = %aside.display(), "a record of the outbox is damaged; it is set aside and will not be flushed");
                    fs_err::rename(&path, aside).map_err(fault)?;
                }
            }
        }
        let state = watch::Sender::new(OutboxState::default());
        let outbox = Self { disk, waiting: Mutex::new(waiting), state, bell: Notify::new() };
        outbox.tell(None);
        Ok(outbox)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Arc<Record>, Lease)>> {
        self.waiting.lock().expect("no panics while the outbox is held")
    }

    /// Adds a save; when this returns it survives the end of the daemon. Blocks.
    pub(super) fn add(&self, record: Record) -> Result<()> {
        let bytes = serde_json::to_vec(&record).expect("a record is plain data");
        let lease = self.disk.lease(record.blobs());
        let mut waiting = self.lock();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        write_durably(&self.disk.outbox(), &file_name(number), &bytes)?;
        waiting.insert(number, (Arc::new(record), lease));
        drop(waiting);
        let last_error = self.state().last_error;
        self.tell(last_error);
        self.bell.notify_one();
        Ok(())
    }

    /// The one to flush next.
    pub(super) fn first(&self) -> Option<(u64, Arc<Record>)> {
        self.lock().first_key_value().map(|(number, (record, _))| (*number, record.clone()))
    }

    /// Those that wait, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        self.lock().values().map(|(record, _)| record.clone()).collect()
    }

    /// Forgets one that the backend has. Blocks.
    pub(super) fn done(&self, number: u64) -> Result<()> {
        fs_err::remove_file(self.disk.outbox().join(file_name(number))).map_err(fault)?;
        self.lock().remove(&number);
        self.tell(None);
        Ok(())
    }

    /// Sets one aside that can never be flushed. Blocks.
    pub(super) fn give_up(&self, number: u64) -> Result<()> {
        let path = self.disk.outbox().join(file_name(number));
        let aside: PathBuf = path.with_extension("lost");
        tracing::error!(path = %aside.display(), "a save cannot be flushed: its bytes are gone from the host's disk");
        fs_err::rename(&path, aside).map_err(fault)?;
        self.lock().remove(&number);
        self.tell(None);
        Ok(())
    }

    /// Lets everybody know how it stands.
    pub(super) fn tell(&self, last_error: Option<String>) {
        let waiting = self.lock();
        let bytes = waiting.values().map(|(record, _)| record.bytes).sum();
        let entries = waiting.len() as u64;
        drop(waiting);
        self.state.send_replace(OutboxState { entries, bytes, last_error });
    }

    pub(super) fn state(&self) -> OutboxState {
        self.state.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<OutboxState> {
        self.state.subscribe()
    }
}

fn file_name(number: u64) -> String {
    format!("{number:020}.json")
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn fault(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the outbox cannot be used: {error}"))
}
