//! From the outbox to the backend: in order, again and again until it is there.

use std::io::{self, Read};
use std::time::Duration;

use futures_util::StreamExt;
use larder_backends::{Body, PutMode};
use tokio::time::Instant;

use super::catalog::{self, BlobKind, claim_path, entry_path};
use super::outbox::Record;
use super::{Error, ErrorKind, Larder, OutboxState, Result, frames};
use crate::disk::Disk;
use crate::model::{Digest, Hasher, Manifest, PackRef};

/// Packs on their way at once. Each is in memory, compressed.
const UPLOADS_MAX: usize = 2;
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

impl Larder {
    /// Flushes whatever comes into the outbox, for ever. Dropping it is safe at any time.
    pub async fn run_flusher(&self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let Some((number, record)) = self.0.outbox.first() else {
                self.0.outbox.bell.notified().await;
                continue;
            };
            match self.flush_one(number, &record).await {
                Ok(()) => backoff = BACKOFF_MIN,
                Err(error) => {
                    let reason = error.chain();
                    tracing::warn!(key = %record.entry.key, error = reason, "a save cannot be flushed yet");
                    self.0.outbox.tell(Some(reason));
                    let jitter = backoff.mul_f64(fastrand::f64());
                    // A bell while waiting means that somebody wants it tried now.
                    let bell = self.0.outbox.bell.notified();
                    let _rung = tokio::time::timeout(backoff / 2 + jitter / 2, bell).await.is_ok();
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Waits up to `wait` for the outbox to be empty, and says how it stands.
    pub async fn flush(&self, wait: Duration) -> OutboxState {
        let deadline = Instant::now() + wait;
        let mut state = self.0.outbox.watch();
        if !wait.is_zero() {
            self.0.outbox.bell.notify_one();
            let _in_time =
                tokio::time::timeout_at(deadline, state.wait_for(|state| state.entries == 0))
                    .await
                    .is_ok();
        }
        self.0.outbox.state()
    }

    async fn flush_one(&self, number: u64, record: &Record) -> Result<()> {
        let flushed = self.upload(record).await;
        let larder = self.clone();
        match flushed {
            Ok(()) => Ok(tokio::task::spawn_blocking(move || larder.0.outbox.done(number)).await??),
            // The host has lost the bytes and the backend never had them: nothing can bring them back.
            Err(error) if error.kind() == ErrorKind::NotFound && self.is_lost(record) => {
                tracing::error!(key = %record.entry.key, error = error.chain(), "a save is lost");
                Ok(tokio::task::spawn_blocking(move || larder.0.outbox.give_up(number)).await??)
            }
            Err(error) => Err(error),
        }
    }

    fn is_lost(&self, record: &Record) -> bool {
        let gone = |digest: &Digest| {
            self.0.disk.contains(digest).is_none()
                && !self.0.blobs.in_backend(&record.project, digest)
        };
        record.packs.iter().chain([&record.entry.manifest]).any(gone)
    }

    pub(super) async fn upload(&self, record: &Record) -> Result<()> {
        let project = &record.project;
        let digest = record.entry.manifest;
        let bytes =
            self.read_blob(project, BlobKind::Manifest, &digest, Manifest::BYTES_MAX).await?;
        let manifest =
            Manifest::decode(&bytes).map_err(|error| Error::new(ErrorKind::NotFound, error))?;
        let mut uploads = Vec::new();
        for pack in &manifest.packs {
            uploads.push(self.upload_pack(record, *pack));
        }
        let mut uploads = futures_util::stream::iter(uploads).buffer_unordered(UPLOADS_MAX);
        while let Some(uploaded) = uploads.next().await {
            uploaded?;
        }
        let encoded = frames::encode(&*bytes, bytes.len() as u64, 0)
            .map_err(|error| Error::new(ErrorKind::Internal, error))?;
        self.put_blob(project, BlobKind::Manifest, &digest, encoded).await?;
        self.upload_entry(record).await
    }

    async fn upload_pack(&self, record: &Record, pack: PackRef) -> Result<()> {
        if self.is_in_backend(&record.project, BlobKind::Pack, &pack.digest).await? {
            return Ok(());
        }
        let encoded = self.encode_pack(record, &pack).await?;
        self.put_blob(&record.project, BlobKind::Pack, &pack.digest, encoded).await
    }

    /// The pack as it lies in the backend; read piece by piece, and verified on the way.
    async fn encode_pack(&self, record: &Record, pack: &PackRef) -> Result<Vec<u8>> {
        let (digest, border) = (pack.digest, pack.table_range().start);
        for _ in 0..2 {
            self.bring(&record.project, BlobKind::Pack, &digest).await?;
            let disk = self.0.disk.clone();
            let encoding = tokio::task::spawn_blocking(move || encode(&disk, &digest, border));
            if let Some(encoded) = encoding.await?? {
                return Ok(encoded);
            }
        }
        Err(Error::new(ErrorKind::Corrupt, format!("pack {digest} rots as fast as it is fetched")))
    }

    /// The commit point. When another host was first, its entry stays.
    async fn upload_entry(&self, record: &Record) -> Result<()> {
        let Record { project, scope, entry, .. } = record;
        let backend = &*self.0.backend;
        let json =
            serde_json::to_vec(entry).map_err(|error| Error::new(ErrorKind::Internal, error))?;
        if backend.features().await?.conditional_create {
            let path = entry_path(project, scope, &entry.key)?;
            return match backend.put(&path, Body::from(json), PutMode::Create).await {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == larder_backends::ErrorKind::AlreadyExists => {
                    tracing::info!(key = %entry.key, "another host saved this key first; its cache stays");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
        }
        if catalog::find(backend, project, scope, &entry.key).await?.is_some() {
            tracing::info!(key = %entry.key, "another host saved this key first; its cache stays");
            return Ok(());
        }
        let path = claim_path(project, scope, &entry.key, fastrand::u64(..))?;
        backend.put(&path, Body::from(json), PutMode::Create).await?;
        let winner = catalog::find(backend, project, scope, &entry.key).await?;
        if winner.is_some_and(|winner| winner.path != path) {
            tracing::info!(key = %entry.key, "another host saved this key first; its cache stays");
            backend.delete(&[path]).await?;
        }
        Ok(())
    }
}

/// Nothing when the blob is absent, or was wrong and is quarantined now.
fn encode(disk: &Disk, digest: &Digest, border: u64) -> Result<Option<Vec<u8>>> {
    let Some(blob) = disk.open_blob(digest)? else { return Ok(None) };
    let mut hashing = Hashing { inner: &blob.file, hasher: Hasher::new() };
    let encoded = frames::encode(&mut hashing, blob.size_bytes, border);
    if hashing.hasher.finish() == *digest {
        return encoded.map(Some).map_err(|error| Error::new(ErrorKind::Internal, error));
    }
    disk.verify(digest)?;
    Ok(None)
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
