//! Saving and restoring a cache, without a word to the user: what is to be told comes back as a value
//! or through [`Watch`].

use std::path::{Path, PathBuf};

use super::client::{Client, ClientError};
use crate::api::{ProblemCode, v1};
use crate::model::{CacheEntry, Digest, Key, Provenance};
use crate::tree::{self, Base, Memory, Packed, Root, RootError, Warning};

/// Told of what goes on meanwhile.
pub trait Watch: Sync {
    /// Bytes dealt with so far, and of how many.
    fn progress(&self, done_bytes: u64, total_bytes: u64);
    /// The daemon is not sure of its answer, and why.
    fn warn(&self, warning: &str);
    /// The cache that is about to be placed.
    fn found(&self, entry: &CacheEntry);
}

/// What a job wants to save.
#[derive(Debug)]
pub struct Save<'a> {
    /// Under which key.
    pub key: &'a Key,
    /// As the job gave them.
    pub paths: &'a [String],
    /// Restore to the same absolute paths, as CircleCI does.
    pub absolute: bool,
    /// Who saves.
    pub provenance: Provenance,
}

/// What became of a save.
#[derive(Debug)]
pub enum Saved {
    /// It lies durably on the host under its key.
    Stored {
        /// What the catalog says.
        entry: Box<CacheEntry>,
        /// The paths as they are on this host.
        paths: Vec<PathBuf>,
        /// Bytes of chunks that were not there before.
        sent_bytes: u64,
        /// What was left out or changed meanwhile.
        warnings: Vec<Warning>,
    },
    /// The key was taken, and nothing has changed.
    Exists(Box<CacheEntry>),
}

/// What became of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The cache.
    pub entry: CacheEntry,
    /// Number of entries placed.
    pub files: u64,
    /// Bytes of the files placed.
    pub size_bytes: u64,
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// Modes, times or attributes that could not be set.
    pub warnings: Vec<Warning>,
}

/// A cache could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A path that makes no sense.
    #[error(transparent)]
    Path(#[from] RootError),
    /// The daemon could not help.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

/// Saves, unless the key is taken: then nothing is read. `memories` is the folder for what the agent
/// remembers of trees.
pub fn save(
    client: &Client,
    base: &Base,
    save: &Save<'_>,
    memories: &Path,
    watch: &dyn Watch,
) -> Result<Saved, CacheError> {
    let found = client.find_cache(save.key.as_str())?;
    found.warnings.iter().for_each(|warning| watch.warn(warning));
    if let Some(entry) = found.entry {
        return Ok(Saved::Exists(Box::new(entry)));
    }
    let roots = save
        .paths
        .iter()
        .map(|path| base.root(path, save.absolute))
        .collect::<Result<Vec<Root>, RootError>>()?;
    let paths: Vec<PathBuf> = roots.iter().map(|root| root.here.clone()).collect();
    let remembered = memories.join(memory_name(client, &paths));
    let mut memory = Memory::load(&remembered).unwrap_or_default();
    loop {
        let packed =
            tree::pack(roots.clone(), client, &memory, &|done, total| watch.progress(done, total))?;
        match commit(client, save, &packed) {
            Ok(answer) if answer.stored => {
                remember(&packed.memory, &remembered);
                let Packed { sent_bytes, warnings, .. } = packed;
                let entry = Box::new(answer.entry);
                return Ok(Saved::Stored { entry, paths, sent_bytes, warnings });
            }
            Ok(answer) => return Ok(Saved::Exists(Box::new(answer.entry))),
            // What was remembered is gone from the host and the backend: read everything.
            Err(error)
                if error.code() == Some(ProblemCode::Stale) && memory != Memory::default() =>
            {
                memory = Memory::default();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn commit(
    client: &Client,
    save: &Save<'_>,
    packed: &Packed,
) -> Result<v1::SavedCache, ClientError> {
    let manifest = client.store_manifest(&packed.manifest)?;
    client.save_cache(&v1::SaveCache {
        key: save.key.to_string(),
        manifest,
        size_bytes: packed.size_bytes,
        files: packed.files,
        paths: save.paths.to_vec(),
        provenance: save.provenance.clone(),
    })
}

/// Restores the cache that the keys name; nothing when no key matches.
pub fn restore(
    client: &Client,
    base: &Base,
    keys: &[String],
    memories: &Path,
    watch: &dyn Watch,
) -> Result<Option<Restored>, CacheError> {
    let found = client.restore_cache(keys)?;
    found.warnings.iter().for_each(|warning| watch.warn(warning));
    let Some(entry) = found.entry else { return Ok(None) };
    watch.found(&entry);
    let manifest = client.manifest(&entry.manifest)?;
    let placed = tree::place(&manifest, client, base, &|done, total| watch.progress(done, total))?;
    remember(&placed.memory, &memories.join(memory_name(client, &placed.paths)));
    let tree::Placed { files, size_bytes, paths, warnings, .. } = placed;
    Ok(Some(Restored { entry, files, size_bytes, paths, warnings }))
}

/// One file for each project and set of paths.
fn memory_name(client: &Client, paths: &[PathBuf]) -> String {
    let mut paths: Vec<_> = paths.iter().map(|path| path.as_os_str().as_encoded_bytes()).collect();
    paths.sort_unstable();
    let mut text = client.project().as_str().as_bytes().to_vec();
    for path in paths {
        text.push(0);
        text.extend_from_slice(path);
    }
    Digest::of(&text).to_string()
}

/// Forgetting costs time, nothing else.
fn remember(memory: &Memory, path: &Path) {
    if let Err(error) = memory.store(path) {
        tracing::debug!(%error, path = %path.display(), "what the tree looks like could not be remembered");
    }
}
