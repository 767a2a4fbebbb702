//! Which chunks a project has saved lately, so that they are not sent again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;

use super::catalog::{self, BlobKind};
use super::{Error, ErrorKind, Larder, Result};
use crate::model::{Digest, Manifest, PackRef, PackTable, Project, Scope};

/// Manifests whose chunks are taken over when a project is asked about for the first time.
const RECENT_MAX: usize = 16;
/// Chunks known of one project; 40 bytes each.
const CHUNKS_MAX: usize = 2_000_000;
/// A distant backend must not hold up a save for long: what is not known by then is sent again.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
const LOADED_AT_ONCE: usize = 8;

/// What is known, by project.
#[derive(Debug, Default)]
pub(super) struct Chunks(Mutex<HashMap<Project, Arc<tokio::sync::RwLock<ProjectChunks>>>>);

#[derive(Debug, Default)]
struct ProjectChunks {
    loaded: bool,
    packs: Vec<PackRef>,
    numbers: HashMap<Digest, u32>,
    places: HashMap<Digest, (u32, u32)>,
}

/// Where chunks lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownChunks {
    /// The packs that `chunks` points into.
    pub packs: Vec<PackRef>,
    /// Those that are known.
    pub chunks: Vec<KnownChunk>,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownChunk {
    /// Position in the question.
    pub wanted: u32,
    /// Position in [`KnownChunks::packs`].
    pub pack: u32,
    /// Position in the pack's table.
    pub chunk: u32,
}

impl ProjectChunks {
    fn add(&mut self, pack: PackRef, table: &PackTable) {
        if self.numbers.contains_key(&pack.digest)
            || self.places.len() + table.chunks.len() > CHUNKS_MAX
        {
            return;
        }
        let number = u32::try_from(self.packs.len()).expect("chunks are limited, so packs are");
        self.packs.push(pack);
        self.numbers.insert(pack.digest, number);
        for (at, chunk) in (0..).zip(&table.chunks) {
            self.places.insert(chunk.digest, (number, at));
        }
    }

    fn find(&self, digests: &[Digest]) -> KnownChunks {
        let mut known = KnownChunks::default();
        let mut positions = HashMap::new();
        for (wanted, digest) in (0..).zip(digests) {
            if let Some(&(number, chunk)) = self.places.get(digest) {
                let next = u32::try_from(positions.len()).expect("as few as the question");
                let pack = *positions.entry(number).or_insert(next);
                if pack == next && known.packs.len() < positions.len() {
                    known.packs.push(self.packs[number as usize]);
                }
                known.chunks.push(KnownChunk { wanted, pack, chunk });
            }
        }
        known
    }

    /// Forgets packs that are gone.
    fn forget(&mut self, gone: &[Digest]) {
        let gone: Vec<u32> = gone.iter().filter_map(|digest| self.numbers.remove(digest)).collect();
        if !gone.is_empty() {
            self.places.retain(|_, (number, _)| !gone.contains(number));
        }
    }
}

impl Larder {
    fn project_chunks(&self, project: &Project) -> Arc<tokio::sync::RwLock<ProjectChunks>> {
        let mut projects = self.0.chunks.0.lock().expect("no panics while projects are held");
        projects.entry(project.clone()).or_default().clone()
    }

    /// Which of these chunks the project has saved lately.
    pub async fn find_chunks(
        &self,
        project: &Project,
        scope: &Scope,
        digests: &[Digest],
    ) -> Result<KnownChunks> {
        let chunks = self.project_chunks(project);
        if !chunks.read().await.loaded {
            let mut chunks = chunks.write().await;
            if !chunks.loaded {
                self.load_recent(project, scope, &mut chunks).await;
                chunks.loaded = true;
            }
        }
        Ok(chunks.read().await.find(digests))
    }

    /// Takes over the chunks of a save that was just committed.
    pub(super) async fn learn_chunks(&self, project: &Project, manifest: &Manifest) {
        let chunks = self.project_chunks(project);
        for pack in &manifest.packs {
            if chunks.read().await.numbers.contains_key(&pack.digest) {
                continue;
            }
            match self.pack_table(project, pack).await {
                Ok(table) => chunks.write().await.add(*pack, &table),
                Err(error) => {
                    tracing::warn!(pack = %pack.digest, error = %error.chain(), "a pack's table cannot be read; its chunks will be sent again");
                }
            }
        }
    }

    /// Packs that turned out to be gone are not to be built on any more.
    pub(super) async fn forget_packs(&self, project: &Project, gone: &[Digest]) {
        self.project_chunks(project).write().await.forget(gone);
    }

    async fn load_recent(&self, project: &Project, scope: &Scope, chunks: &mut ProjectChunks) {
        let load = async {
            let manifests = self.recent_manifests(project, scope).await;
            let packs: Vec<PackRef> =
                manifests.into_iter().flat_map(|manifest| manifest.packs).collect();
            let mut tables = Vec::new();
            for pack in packs {
                tables.push(async move { (pack, self.pack_table(project, &pack).await) });
            }
            let mut tables = futures_util::stream::iter(tables).buffered(LOADED_AT_ONCE);
            while let Some((pack, table)) = tables.next().await {
                if let Ok(table) = table {
                    chunks.add(pack, &table);
                }
            }
        };
        if tokio::time::timeout(LOAD_TIMEOUT, load).await.is_err() {
            tracing::warn!(%project, "the project's recent saves could not be read in time; some chunks may be sent again");
        }
    }

    async fn recent_manifests(&self, project: &Project, scope: &Scope) -> Vec<Manifest> {
        let mut digests: Vec<Digest> = self
            .0
            .outbox
            .all()
            .iter()
            .rev()
            .filter(|record| record.project == *project)
            .map(|record| record.entry.manifest)
            .collect();
        match catalog::list(&*self.0.backend, project, scope, None).await {
            Ok(listed) => {
                for listed in listed.iter().take(RECENT_MAX) {
                    match self.entry(project, scope, listed).await {
                        Ok(entry) => digests.push(entry.manifest),
                        Err(error) => {
                            tracing::debug!(error = %error.chain(), "an entry cannot be read");
                        }
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the project's recent saves cannot be listed");
            }
        }
        let mut manifests = Vec::new();
        for digest in digests.into_iter().take(RECENT_MAX) {
            let read =
                self.read_blob(project, BlobKind::Manifest, &digest, Manifest::BYTES_MAX).await;
            // One that cannot be read has nothing to build on.
            manifests.extend(read.ok().and_then(|bytes| Manifest::decode(&bytes).ok()));
        }
        manifests
    }

    /// A pack's table, from the disk or from the end of the object in the backend.
    async fn pack_table(&self, project: &Project, pack: &PackRef) -> Result<PackTable> {
        let damaged = |error| {
            Error::new(ErrorKind::Corrupt, format!("the table of pack {}: {error}", pack.digest))
        };
        let range = pack.table_range();
        let (disk, wanted, start) = (self.0.disk.clone(), pack.digest, range.start);
        let len = usize::try_from(range.end - range.start)
            .map_err(|_| Error::invalid("a table is too long"))?;
        let on_disk = tokio::task::spawn_blocking(move || -> Result<Option<Vec<u8>>> {
            let Some(blob) = disk.open_blob(&wanted)? else { return Ok(None) };
            let mut bytes = vec![0; len];
            let read =
                std::os::unix::fs::FileExt::read_exact_at(blob.file.file(), &mut bytes, start);
            Ok(read.is_ok().then_some(bytes))
        });
        let bytes = if let Some(bytes) = on_disk.await?? {
            bytes
        } else {
            let blob = self.remote_blob(project, BlobKind::Pack, &pack.digest).await?;
            self.read_remote(&blob, range).await?.into()
        };
        PackTable::decode(&bytes, pack).map_err(damaged)
    }
}
