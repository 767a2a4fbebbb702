//! Caches: found by key, restored by prefix, saved once.

use larder_backends::BackendExt;

use super::catalog::{self, Listed};
use super::held::RESTORING;
use super::outbox::Record;
use super::{BlobKind, Error, ErrorKind, Larder, Result};
use crate::model::{
    CacheEntry, Digest, Key, KeyPrefix, Manifest, PackRef, Project, Provenance, Scope,
};

/// An entry is small; anything longer is none.
const ENTRY_BYTES_MAX: u64 = 64 << 10;
/// Entries that turn out to be expired or unreadable, before a look-up gives up.
const TRIED_MAX: usize = 16;

/// What a look-up found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Nothing when no key matched.
    pub entry: Option<CacheEntry>,
    /// What makes the answer less sure than it should be.
    pub warnings: Vec<String>,
}

/// A save to be committed: its blobs are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCache {
    /// The whole key.
    pub key: Key,
    /// The manifest of the tree.
    pub manifest: Digest,
    /// Bytes of the files in the tree.
    pub size_bytes: u64,
    /// Number of entries in the tree.
    pub files: u64,
    /// The saved paths as the job gave them.
    pub paths: Vec<String>,
    /// Who saves.
    pub provenance: Provenance,
}

impl Larder {
    /// The cache of exactly this key.
    pub async fn find_cache(&self, project: &Project, scope: &Scope, key: &Key) -> Result<Found> {
        if let Some(entry) =
            self.pending(project, scope, |pending| pending == key).into_iter().next()
        {
            return Ok(Found { entry: Some(entry), warnings: Vec::new() });
        }
        let asked = async {
            match catalog::find(&*self.0.backend, project, scope, key).await? {
                Some(listed) => self.entry(project, scope, &listed).await.map(Some),
                None => Ok(None),
            }
        };
        match asked.await {
            Ok(entry) => Ok(Found {
                entry: entry.filter(|entry| self.is_current(entry)),
                warnings: Vec::new(),
            }),
            Err(error) if matters_not(&error) => {
                let known = self.known_entries(project, scope, key.as_str())?;
                let entry =
                    known.into_iter().find(|entry| entry.key == *key && self.is_current(entry));
                Ok(Found { entry, warnings: vec![offline(&error)] })
            }
            Err(error) => Err(error),
        }
    }

    /// The cache that a restore by these keys gets: of the first key that is a prefix of any, the one
    /// that was created last, even when another matches exactly. Its blobs start on their way to the host.
    pub async fn restore_cache(
        &self,
        project: &Project,
        scope: &Scope,
        keys: &[KeyPrefix],
    ) -> Result<Found> {
        let mut warnings = Vec::new();
        for key in keys {
            let entry = match self.newest(project, scope, key).await {
                Ok(entry) => entry,
                Err(error) if matters_not(&error) => {
                    warnings.push(offline(&error));
                    self.newest_known(project, scope, key)?
                }
                Err(error) => return Err(error),
            };
            if let Some(entry) = entry {
                self.0.metrics.note_restore(true);
                self.start_bringing(project, &entry.manifest);
                return Ok(Found { entry: Some(entry), warnings });
            }
        }
        self.0.metrics.note_restore(false);
        Ok(Found { entry: None, warnings })
    }

    /// Gives a stored tree its key. Says whether it did: when the key was taken, nothing has changed,
    /// and the entry returned is the one that has it. When this returns, the save survives the end of
    /// the daemon.
    pub async fn save_cache(
        &self,
        project: &Project,
        scope: &Scope,
        new: NewCache,
    ) -> Result<(bool, CacheEntry)> {
        let path = catalog::claim_path(project, scope, &new.key, 0)?;
        tracing::debug!(%path, "saving");
        let bytes =
            self.read_blob(project, BlobKind::Manifest, &new.manifest, Manifest::BYTES_MAX).await;
        let bytes = bytes.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(ErrorKind::Stale, error),
            _ => error,
        })?;
        let manifest = Manifest::decode(&bytes)
            .map_err(|error| Error::invalid(format!("manifest {}: {error}", new.manifest)))?;
        self.require_packs(project, &manifest).await?;
        let committing = self.0.committing.lock().await;
        if let Some(entry) =
            self.pending(project, scope, |pending| *pending == new.key).into_iter().next()
        {
            return Ok((false, entry));
        }
        let now = self.0.clock.now();
        let entry = CacheEntry {
            version: CacheEntry::VERSION,
            key: new.key,
            manifest: new.manifest,
            size_bytes: new.size_bytes,
            files: new.files,
            paths: new.paths,
            created: now,
            expires: now.checked_add(self.0.retention).map_err(Error::invalid)?,
            provenance: new.provenance,
        };
        let record = Record {
            version: Record::VERSION,
            project: project.clone(),
            scope: scope.clone(),
            entry: entry.clone(),
            packs: manifest.packs.iter().map(|pack| pack.digest).collect(),
            bytes: manifest.packs.iter().map(PackRef::size_bytes).sum::<u64>() + bytes.len() as u64,
        };
        let larder = self.clone();
        let saved = record.clone();
        match tokio::task::spawn_blocking(move || larder.0.outbox.add(saved)).await? {
            Err(error) if error.kind() == ErrorKind::Full => self.upload(&record).await?,
            added => added?,
        }
        drop(committing);
        self.learn_chunks(project, &manifest).await;
        Ok((true, entry))
    }

    async fn require_packs(&self, project: &Project, manifest: &Manifest) -> Result<()> {
        let mut gone = Vec::new();
        for pack in &manifest.packs {
            if !self.has_pack(project, &pack.digest).await? {
                gone.push(pack.digest);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.forget_packs(project, &gone).await;
        let first = gone[0];
        Err(Error::new(
            ErrorKind::Stale,
            format!("{} packs of the save are gone, {first} among them", gone.len()),
        ))
    }

    /// Entries of this host that the backend does not have yet, newest first.
    fn pending(
        &self,
        project: &Project,
        scope: &Scope,
        matches: impl Fn(&Key) -> bool,
    ) -> Vec<CacheEntry> {
        let records = self.0.outbox.all();
        let mine = records
            .iter()
            .rev()
            .filter(|record| record.project == *project && record.scope == *scope);
        mine.map(|record| &record.entry)
            .filter(|entry| matches(&entry.key) && self.is_current(entry))
            .cloned()
            .collect()
    }

    async fn newest(
        &self,
        project: &Project,
        scope: &Scope,
        prefix: &KeyPrefix,
    ) -> Result<Option<CacheEntry>> {
        let pending = self.pending(project, scope, |key| prefix.matches(key)).into_iter().next();
        let listed = catalog::list(&*self.0.backend, project, scope, Some(prefix)).await?;
        for listed in listed.iter().take(TRIED_MAX) {
            if pending.as_ref().is_some_and(|pending| pending.created >= listed.created) {
                break;
            }
            match self.entry(project, scope, listed).await {
                Ok(entry) if self.is_current(&entry) => return Ok(Some(entry)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(path = %listed.path, error = %error.chain(), "an entry cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(pending)
    }

    fn newest_known(
        &self,
        project: &Project,
        scope: &Scope,
        prefix: &KeyPrefix,
    ) -> Result<Option<CacheEntry>> {
        let mut entries = self.known_entries(project, scope, prefix.as_str())?;
        entries.extend(self.pending(project, scope, |key| prefix.matches(key)));
        entries.retain(|entry| self.is_current(entry) && prefix.matches(&entry.key));
        Ok(entries.into_iter().max_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key))))
    }

    /// An entry's content: remembered, as it never changes, or read from the backend.
    pub(super) async fn entry(
        &self,
        project: &Project,
        scope: &Scope,
        listed: &Listed,
    ) -> Result<CacheEntry> {
        let place = place(project, scope, listed.key.as_str());
        let tag = format!("{} {}\n", listed.created, listed.path);
        if let Ok(Some(known)) = self.0.entries.get(&place)
            && let Some(json) = known.strip_prefix(tag.as_bytes())
            && let Ok(entry) = serde_json::from_slice(json)
        {
            return Ok(entry);
        }
        let bytes = self.0.backend.get_bytes(&listed.path, ENTRY_BYTES_MAX).await?;
        let entry: CacheEntry = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(
                ErrorKind::Corrupt,
                format!("`{}` in the backend is no entry: {error}", listed.path),
            )
        })?;
        if entry.version != CacheEntry::VERSION || entry.key != listed.key {
            let why = format!(
                "`{}` in the backend does not describe the cache it is named for",
                listed.path
            );
            return Err(Error::new(ErrorKind::Corrupt, why));
        }
        if let Err(error) = self.0.entries.put(&place, &[tag.as_bytes(), &bytes].concat()) {
            tracing::debug!(%error, "the index did not take an entry");
        }
        Ok(entry)
    }

    /// Entries that were read before, of keys that begin with `prefix`.
    fn known_entries(
        &self,
        project: &Project,
        scope: &Scope,
        prefix: &str,
    ) -> Result<Vec<CacheEntry>> {
        let place = place(project, scope, prefix);
        let known = self.0.entries.scan_prefix(&place, 10_000)?;
        let json = |value: &[u8]| value.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let entries = known.iter().filter_map(|(_, value)| {
            json(value).and_then(|at| serde_json::from_slice(&value[at..]).ok())
        });
        Ok(entries.collect())
    }

    fn is_current(&self, entry: &CacheEntry) -> bool {
        entry.expires > self.0.clock.now()
    }

    /// Manifest and packs come to the host while the job makes ready to ask for them.
    fn start_bringing(&self, project: &Project, manifest: &Digest) {
        let (larder, project, digest) = (self.clone(), project.clone(), *manifest);
        tokio::spawn(async move {
            let read =
                larder.read_blob(&project, BlobKind::Manifest, &digest, Manifest::BYTES_MAX).await;
            let Ok(Ok(manifest)) = read.map(|bytes| Manifest::decode(&bytes)) else { return };
            let packs: Vec<Digest> = manifest.packs.iter().map(|pack| pack.digest).collect();
            let lease = larder.0.disk.lease(packs.iter().copied().chain([digest]));
            larder.0.held.hold(lease, RESTORING);
            // The last packs hold the entry stream, which the job needs first.
            for pack in packs.into_iter().rev() {
                let (larder, project) = (larder.clone(), project.clone());
                tokio::spawn(async move {
                    if let Err(error) = larder.bring(&project, BlobKind::Pack, &pack).await
                        && error.kind() != ErrorKind::Full
                    {
                        tracing::warn!(%pack, error = %error.chain(), "a pack cannot be brought to the host");
                    }
                });
            }
        });
    }
}

/// Where an entry is remembered.
fn place(project: &Project, scope: &Scope, key: &str) -> Vec<u8> {
    [project.as_str(), "\0", scope.as_str(), "\0", key].concat().into_bytes()
}

/// Failures of the backend with which a look-up can still be answered from what the host has; a bucket
/// that is missing is one of them.
fn matters_not(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Full)
}

fn offline(error: &Error) -> String {
    format!("only what this host knows was looked at: {}", error.chain())
}
