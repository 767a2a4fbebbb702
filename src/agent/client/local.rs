//! Packs read from the host's disk directly, where the job may: the daemon says where a pack lies and
//! keeps it there. The data folder is closed to other users; for them the bytes come through the socket.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use hyper::Method;

use super::connection::full;
use super::{Address, Client};
use crate::api::v1::LocalPack;
use crate::model::{Digest, PackRef};

/// Files open at once; a job's usual limit is 1,024.
const OPEN_MAX: usize = 256;

/// For each pack asked for, its file, or nothing where the daemon has to be asked for its bytes.
#[derive(Debug, Default)]
pub(super) struct LocalPacks(Mutex<HashMap<Digest, Option<Arc<fs_err::File>>>>);

impl LocalPacks {
    /// The pack's file, if this job may read it.
    pub(super) fn file(&self, client: &Client, pack: &PackRef) -> Option<Arc<fs_err::File>> {
        // Over TCP the daemon may be in another container, with other files under the same names.
        if matches!(client.address(), Address::Tcp(_)) {
            return None;
        }
        if let Some(known) = self.lock().get(&pack.digest) {
            return known.clone();
        }
        let file = open(client, pack).map(Arc::new);
        let mut files = self.lock();
        let file = file.filter(|_| files.len() < OPEN_MAX);
        files.entry(pack.digest).or_insert(file).clone()
    }

    /// From now on the pack's bytes come from the daemon.
    pub(super) fn avoid(&self, digest: &Digest) {
        self.lock().insert(*digest, None);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Option<Arc<fs_err::File>>>> {
        self.0.lock().expect("no panics while files are looked up")
    }
}

/// A fault here is none: the bytes can be had through the socket.
fn open(client: &Client, pack: &PackRef) -> Option<fs_err::File> {
    let path = client.path(&format!("packs/{}/local", pack.digest));
    let there: LocalPack =
        client.json(Method::GET, &path, "application/json", full(Vec::new())).ok()?;
    let file = fs_err::File::open(&there.path).ok()?;
    let fits = file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == pack.size_bytes());
    fits.then_some(file)
}

/// Replaces the content of `into` by these bytes of the file.
pub(super) fn read(file: &fs_err::File, range: &Range<u64>, into: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    // What is there already is overwritten, not zeroed first.
    into.resize(len, 0);
    file.file().read_exact_at(into, range.start)
}
