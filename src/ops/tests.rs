//! The operations over real disks in temporary folders and the memory backend, which passes the same
//! suite as the others.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use larder_backends::layer::{Counted, Counters};
use larder_backends::memory::Memory;
use larder_backends::{Backend, Body, Features, Object, ObjectMeta, ObjectPath, PutMode};

use super::*;
use crate::disk;
use crate::model::{
    Chunk, ChunkRef, Digest, Key, KeyPrefix, Manifest, PackRef, PackTable, Project, Provenance,
    Scope,
};

/// A backend that can be switched off, or made one without conditional creation.
#[derive(Debug)]
pub(super) struct Moody {
    inner: Memory,
    down: AtomicBool,
    limited: bool,
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("moody:")
    }
}

impl Moody {
    pub(super) fn new(limited: bool) -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(), down: AtomicBool::new(false), limited })
    }

    fn check(&self, operation: larder_backends::Operation) -> larder_backends::Result<()> {
        if self.down.load(Ordering::SeqCst) {
            let kind = larder_backends::ErrorKind::Unavailable;
            return Err(larder_backends::Error::new(kind, operation, "x", "it is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for Moody {
    async fn features(&self) -> larder_backends::Result<Features> {
        self.check(larder_backends::Operation::Features)?;
        Ok(Features { conditional_create: !self.limited })
    }

    async fn put(
        &self,
        path: &ObjectPath,
        body: Body,
        mode: PutMode,
    ) -> larder_backends::Result<ObjectMeta> {
        self.check(larder_backends::Operation::Put)?;
        let mode = if self.limited { PutMode::Overwrite } else { mode };
        self.inner.put(path, body, mode).await
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> larder_backends::Result<Object> {
        self.check(larder_backends::Operation::Get)?;
        self.inner.get(path, range).await
    }

    async fn head(&self, path: &ObjectPath) -> larder_backends::Result<ObjectMeta> {
        self.check(larder_backends::Operation::Head)?;
        self.inner.head(path).await
    }

    async fn delete(&self, paths: &[ObjectPath]) -> larder_backends::Result<()> {
        self.check(larder_backends::Operation::Delete)?;
        self.inner.delete(paths).await
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, larder_backends::Result<ObjectMeta>> {
        match self.check(larder_backends::Operation::List) {
            Ok(()) => self.inner.list(prefix, after),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }
}

pub(super) struct Host {
    pub(super) larder: Larder,
    counters: Arc<Counters>,
    folder: tempfile::TempDir,
}

const ROOMY: u64 = 1 << 40;

fn disk_config(folder: &tempfile::TempDir, max_bytes: u64) -> disk::Config {
    let max_size = Some(disk::Amount::Bytes(max_bytes));
    let limits = disk::Limits { max_size, min_free: disk::Amount::Bytes(0) };
    disk::Config { root: folder.path().join("data"), limits }
}

impl Host {
    pub(super) fn new(backend: &Arc<Moody>) -> Self {
        Self::within(backend, ROOMY)
    }

    pub(super) fn within(backend: &Arc<Moody>, max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = disk_config(&folder, max_bytes);
        Self::open_with(backend, folder, Clock::system(), &config)
    }

    fn open(backend: &Arc<Moody>, folder: tempfile::TempDir, clock: Clock) -> Self {
        let config = disk_config(&folder, ROOMY);
        Self::open_with(backend, folder, clock, &config)
    }

    fn open_with(
        backend: &Arc<Moody>,
        folder: tempfile::TempDir,
        clock: Clock,
        config: &disk::Config,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let larder = Larder::open(Parts {
            disk: Disk::open(config, disk::Metrics::noop()).unwrap(),
            backend: Arc::new(Counted::new(backend.clone(), counters.clone())),
            counters: counters.clone(),
            clock,
            metrics: Metrics::noop(),
            retention: RETENTION,
        });
        Self { larder: larder.unwrap(), counters, folder }
    }

    /// The next daemon on the same data folder, index and all.
    async fn restart(self, backend: &Arc<Moody>) -> Self {
        let Self { larder, folder, .. } = self;
        larder.checkpoint().unwrap();
        drop(larder);
        // Tasks of the first daemon hold its disk for a moment still; a process that ends does not.
        let config = disk_config(&folder, ROOMY);
        while let Err(error) = Disk::open(&config, disk::Metrics::noop()) {
            assert!(matches!(error, disk::Error::Locked { .. }), "{error}");
            tokio::task::yield_now().await;
        }
        Self::open(backend, folder, Clock::system())
    }

    pub(super) async fn flushed(&self) {
        let larder = self.larder.clone();
        let flusher = tokio::spawn(async move { larder.run_flusher().await });
        let state = self.larder.flush(Duration::from_secs(20)).await;
        flusher.abort();
        assert_eq!(state.entries, 0, "{state:?}");
    }

    /// Stores a pack of one chunk and a manifest that names it.
    pub(super) async fn tree(&self, content: &[u8]) -> Digest {
        let mut pack = PackTable::MAGIC.to_vec();
        pack.extend_from_slice(content);
        let len = u32::try_from(content.len()).unwrap();
        let table = PackTable { chunks: vec![Chunk { digest: Digest::of(content), len }] };
        pack.extend_from_slice(&table.encode());
        let digest = self.store(BlobKind::Pack, &pack).await;
        let pack = PackRef { digest, data_bytes: len.into(), chunks: 1 };
        let manifest = Manifest { packs: vec![pack], stream: vec![ChunkRef { pack: 0, chunk: 0 }] };
        self.store(BlobKind::Manifest, &manifest.encode()).await
    }

    async fn store(&self, kind: BlobKind, bytes: &[u8]) -> Digest {
        let mut storing = self.larder.store(&project(), kind);
        storing.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        storing.finish().await.unwrap().0
    }

    pub(super) async fn save(&self, key: &str, content: &[u8]) -> bool {
        let manifest = self.tree(content).await;
        self.larder.save_cache(&project(), &Scope::shared(), new(key, manifest)).await.unwrap().0
    }

    pub(super) async fn restore(&self, keys: &[&str]) -> Option<String> {
        let found = self.found(keys).await;
        found.entry.map(|entry| entry.key.to_string())
    }

    pub(super) async fn found(&self, keys: &[&str]) -> Found {
        let keys: Vec<KeyPrefix> = keys.iter().map(|key| key.parse().unwrap()).collect();
        self.larder.restore_cache(&project(), &Scope::shared(), &keys).await.unwrap()
    }

    pub(super) async fn pack(&self, manifest: &Digest) -> Result<Vec<u8>> {
        let bytes =
            self.larder.read_blob(&project(), BlobKind::Manifest, manifest, 1 << 20).await?;
        let pack = Manifest::decode(&bytes).unwrap().packs[0];
        self.larder.read_blob(&project(), BlobKind::Pack, &pack.digest, 1 << 30).await
    }

    fn blob_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for shard in fs_err::read_dir(self.folder.path().join("data/blobs-v1")).unwrap() {
            for blob in fs_err::read_dir(shard.unwrap().path()).unwrap() {
                files.push(blob.unwrap().path());
            }
        }
        files
    }
}

pub(super) fn project() -> Project {
    "p".parse().unwrap()
}

fn new(key: &str, manifest: Digest) -> NewCache {
    let key: Key = key.parse().unwrap();
    NewCache {
        key,
        manifest,
        size_bytes: 1,
        files: 1,
        paths: vec![],
        provenance: Provenance::default(),
    }
}

#[tokio::test]
async fn fact_1_the_newest_match_wins_even_over_an_exact_one() {
    for limited in [false, true] {
        let backend = Moody::new(limited);
        let (a, b) = (Host::new(&backend), Host::new(&backend));
        a.save("k", b"first").await;
        a.flushed().await;
        a.save("k-new", b"second").await;
        assert_eq!(a.restore(&["k"]).await.as_deref(), Some("k-new"), "before the flush");
        a.flushed().await;
        assert_eq!(a.restore(&["k"]).await.as_deref(), Some("k-new"));
        assert_eq!(b.restore(&["k"]).await.as_deref(), Some("k-new"), "on another host");
    }
}

#[tokio::test]
async fn fact_2_an_existing_key_stays_as_it_is() {
    let backend = Moody::new(false);
    let (a, b) = (Host::new(&backend), Host::new(&backend));
    assert!(a.save("k", b"first").await);
    assert!(!a.save("k", b"second").await, "pending");
    a.flushed().await;
    let found =
        b.larder.find_cache(&project(), &Scope::shared(), &"k".parse().unwrap()).await.unwrap();
    assert_eq!(found.entry.unwrap().manifest, a.tree(b"first").await);
}

#[tokio::test]
async fn fact_3_racing_saves_have_one_winner() {
    for limited in [false, true] {
        let backend = Moody::new(limited);
        let (a, b) = (Host::new(&backend), Host::new(&backend));
        assert!(a.save("k", b"from a").await && b.save("k", b"from b").await, "both are green");
        tokio::join!(a.flushed(), b.flushed());
        let (on_a, on_b) =
            (a.found(&["k"]).await.entry.unwrap(), b.found(&["k"]).await.entry.unwrap());
        assert_eq!(on_a, on_b);
        assert!(a.pack(&on_a.manifest).await.is_ok() && b.pack(&on_a.manifest).await.is_ok());
    }
}

#[tokio::test]
async fn fact_4_a_save_that_was_not_committed_is_not_there() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    host.tree(b"uploaded, then the agent is killed").await;
    let mut half = host.larder.store(&project(), BlobKind::Pack);
    half.write(Bytes::from_static(b"half")).await.unwrap();
    drop(half);
    assert_eq!(host.restore(&["k"]).await, None);
    assert!(host.save("k", b"later").await);
}

#[tokio::test]
async fn fact_6_the_first_key_that_matches_anything_wins() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    host.save("v1-abc", b"1").await;
    host.save("v2-def", b"2").await;
    host.flushed().await;
    assert_eq!(host.restore(&["v3", "v1-", "v2-def"]).await.as_deref(), Some("v1-abc"));
    assert_eq!(host.restore(&["v3", "v4"]).await, None);
    let status = host.larder.status();
    assert_eq!((status.hits, status.misses), (1, 1));
}

#[tokio::test]
async fn an_expired_cache_is_none() {
    let backend = Moody::new(false);
    let later = Arc::new(AtomicBool::new(false));
    let told = later.clone();
    let day = SignedDuration::from_hours(24);
    let clock = Clock::new(move || {
        Timestamp::now() + if told.load(Ordering::SeqCst) { day * 16 } else { SignedDuration::ZERO }
    });
    let host = Host::open(&backend, tempfile::tempdir().unwrap(), clock);
    host.save("k", b"old").await;
    host.flushed().await;
    assert!(host.restore(&["k"]).await.is_some());
    later.store(true, Ordering::SeqCst);
    assert_eq!(host.restore(&["k"]).await, None);
}

#[tokio::test]
async fn a_cold_pack_is_fetched_once_for_all_who_ask() {
    let backend = Moody::new(false);
    let (a, b) = (Host::new(&backend), Host::new(&backend));
    let content = vec![3; 900_000];
    a.save("k", &content).await;
    a.flushed().await;
    let manifest = b.found(&["k"]).await.entry.unwrap().manifest;
    let asked = (0..16).map(|_| b.pack(&manifest));
    for read in futures_util::future::join_all(asked).await {
        assert!(read.unwrap().len() > content.len());
    }
    let blobs = a.counters.puts.load(Ordering::Relaxed);
    assert_eq!(blobs, 3, "a pack, a manifest, an entry");
    let read = b.counters.read_bytes.load(Ordering::Relaxed);
    let written = a.counters.written_bytes.load(Ordering::Relaxed);
    assert_eq!(read, written, "every byte once");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_restart_and_is_flushed() {
    let backend = Moody::new(false);
    backend.down.store(true, Ordering::SeqCst);
    let host = Host::new(&backend);
    assert!(host.save("k", b"acknowledged").await);
    let found = host.found(&["k"]).await;
    assert!(
        found.entry.is_some() && found.warnings.len() == 1,
        "served from the host, with a warning"
    );
    let host = host.restart(&backend).await;
    assert_eq!(host.restore(&["k"]).await.as_deref(), Some("k"));
    backend.down.store(false, Ordering::SeqCst);
    host.flushed().await;
    let other = Host::new(&backend);
    let manifest = other.found(&["k"]).await.entry.unwrap().manifest;
    assert!(other.pack(&manifest).await.unwrap().windows(12).any(|bytes| bytes == b"acknowledged"));
    backend.down.store(true, Ordering::SeqCst);
    assert_eq!(
        other.restore(&["k"]).await.as_deref(),
        Some("k"),
        "remembered while the backend is down"
    );
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_the_rest_goes_on() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    host.save("k", b"x").await;
    let outbox = host.folder.path().join("data/outbox-v1");
    fs_err::write(outbox.join("00000000000000000009.json"), b"{torn").unwrap();
    let reopened = outbox::Outbox::open(host.larder.0.disk.clone()).unwrap();
    assert_eq!(reopened.state().entries, 1);
    assert!(outbox.join("00000000000000000009.unreadable").exists());
}

#[tokio::test]
async fn a_rotten_blob_is_replaced_from_the_backend() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    host.save("k", &[7; 10_000]).await;
    host.flushed().await;
    let manifest = host.found(&["k"]).await.entry.unwrap().manifest;
    let sound = host.pack(&manifest).await.unwrap();
    let digest = Digest::of(&sound);
    for file in host.blob_files() {
        fs_err::write(&file, b"rotten").unwrap();
    }
    assert!(!host.larder.verify_pack(&project(), &digest).await.unwrap());
    assert!(host.larder.verify_pack(&project(), &digest).await.unwrap());
    assert_eq!(host.pack(&manifest).await.unwrap(), sound);
}

#[tokio::test]
async fn wrong_bytes_from_the_backend_are_never_kept() {
    let backend = Moody::new(false);
    let (a, b) = (Host::new(&backend), Host::new(&backend));
    a.save("k", b"right").await;
    a.flushed().await;
    let manifest = a.found(&["k"]).await.entry.unwrap().manifest;
    let path = catalog::blob_path(&project(), BlobKind::Manifest, &manifest).unwrap();
    for wrong in [frames::encode(&b"wrong"[..], 5, 0).unwrap(), b"not zstd".to_vec()] {
        backend.inner.put(&path, Body::from(wrong), PutMode::Overwrite).await.unwrap();
        let read = b.larder.read_blob(&project(), BlobKind::Manifest, &manifest, 1 << 20).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(b.blob_files().is_empty());
    }
}

#[tokio::test]
async fn projects_do_not_see_each_other() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    host.save("k", b"secret").await;
    host.flushed().await;
    let manifest = host.found(&["k"]).await.entry.unwrap().manifest;
    let other: Project = "other".parse().unwrap();
    let stolen = host.larder.open_blob(&other, BlobKind::Manifest, &manifest).await;
    assert_eq!(stolen.unwrap_err().kind(), ErrorKind::NotFound);
    let chunks =
        host.larder.find_chunks(&other, &Scope::shared(), &[Digest::of(b"secret")]).await.unwrap();
    assert_eq!(chunks, KnownChunks::default());
    let keys = ["k".parse().unwrap()];
    let found = host.larder.restore_cache(&other, &Scope::shared(), &keys).await.unwrap();
    assert_eq!(found.entry, None);
    let save = host.larder.save_cache(&other, &Scope::shared(), new("k", manifest)).await;
    assert_eq!(save.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn saved_chunks_are_known_here_at_once_and_elsewhere_after_the_flush() {
    let backend = Moody::new(false);
    let (a, b) = (Host::new(&backend), Host::new(&backend));
    let (wanted, foreign) = (Digest::of(b"chunk"), Digest::of(b"other"));
    a.save("k", b"chunk").await;
    for host in [&a, &b] {
        let known = host
            .larder
            .find_chunks(&project(), &Scope::shared(), &[foreign, wanted])
            .await
            .unwrap();
        assert_eq!(known.chunks, [KnownChunk { wanted: 1, pack: 0, chunk: 0 }]);
        assert_eq!(known.packs[0].data_bytes, 5);
        a.flushed().await;
    }
    assert_eq!(b.blob_files().len(), 1, "the manifest; of the pack only the table was read");
}

#[tokio::test]
async fn a_save_on_packs_that_are_gone_is_refused() {
    let backend = Moody::new(false);
    let host = Host::new(&backend);
    let pack = PackRef { digest: Digest::of(b"gone"), data_bytes: 1, chunks: 1 };
    let manifest = Manifest { packs: vec![pack], stream: vec![] };
    let manifest = host.store(BlobKind::Manifest, &manifest.encode()).await;
    let save = host.larder.save_cache(&project(), &Scope::shared(), new("k", manifest)).await;
    assert_eq!(save.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn another_backend_gets_everything_that_is_built_on() {
    let (first, second) = (Moody::new(false), Moody::new(false));
    let host = Host::new(&first);
    host.save("k", b"the same tree").await;
    host.flushed().await;
    let host = host.restart(&second).await;
    host.save("k", b"the same tree").await;
    host.flushed().await;
    let cold = Host::new(&second);
    let manifest = cold.found(&["k"]).await.entry.unwrap().manifest;
    assert!(cold.pack(&manifest).await.is_ok(), "the pack went to the new backend too");
}
