//! From the backend onto the disk: each blob once, however many ask for it, whether or not the first
//! of them waits to the end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc, watch};

use super::blobs::absent;
use super::catalog::blob_path;
use super::frames::Decoder;
use super::{BlobKind, Error, ErrorKind, Larder, Result};
use crate::disk::Ingest;
use crate::model::{Digest, Manifest, PackRef, PackTable, Project};

/// Fills under way at once. More would share the same link.
const FILLS_MAX: usize = 8;
/// Pieces of one fill between the network and the disk.
const QUEUED_MAX: usize = 2;

/// Fills under way.
#[derive(Debug)]
pub(super) struct Fills {
    running: Mutex<HashMap<Wanted, Outcome>>,
    room: Arc<Semaphore>,
}

type Wanted = (Project, Digest);
type Outcome = watch::Receiver<Option<Result<(), Arc<Error>>>>;

impl Default for Fills {
    fn default() -> Self {
        Self { running: Mutex::default(), room: Arc::new(Semaphore::new(FILLS_MAX)) }
    }
}

impl Larder {
    /// Brings a blob of the project from the backend; joins a fill that is under way.
    pub(super) async fn fill(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
    ) -> Result<()> {
        let mut outcome = self.begin_fill(project, kind, digest);
        let ended = outcome.wait_for(Option::is_some).await.map(|outcome| (*outcome).clone());
        match ended {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => Err(Error::new(error.kind(), error.chain())),
            _ => Err(Error::new(ErrorKind::Internal, "a fill ended without a result")),
        }
    }

    fn begin_fill(&self, project: &Project, kind: BlobKind, digest: &Digest) -> Outcome {
        let wanted = (project.clone(), *digest);
        let mut running = self.0.fills.running.lock().expect("no panics while fills are held");
        if let Some(outcome) = running.get(&wanted) {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        running.insert(wanted.clone(), outcome.clone());
        drop(running);
        let larder = self.clone();
        tokio::spawn(async move {
            let result = larder.fill_now(&wanted.0, kind, &wanted.1).await.map_err(Arc::new);
            larder.0.fills.running.lock().expect("no panics while fills are held").remove(&wanted);
            sender.send_replace(Some(result));
        });
        outcome
    }

    async fn fill_now(&self, project: &Project, kind: BlobKind, digest: &Digest) -> Result<()> {
        let _room = self.0.fills.room.acquire().await.expect("the semaphore is never closed");
        if self.0.disk.contains(digest).is_some() {
            return Ok(());
        }
        let mut result = self.fetch(project, kind, digest).await;
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
            tracing::warn!(%digest, "wrong bytes came from the backend; fetching once more");
            result = self.fetch(project, kind, digest).await;
        }
        result?;
        self.0.blobs.note_backend(project, digest);
        self.0.blobs.note_host(project, digest);
        Ok(())
    }

    async fn fetch(&self, project: &Project, kind: BlobKind, digest: &Digest) -> Result<()> {
        let path = blob_path(project, kind, digest)?;
        // Before the backend is asked: without room its answer would be for nothing.
        let disk = self.0.disk.clone();
        let ingest = tokio::task::spawn_blocking(move || disk.ingest_about(usual(kind))).await??;
        let object = self.0.backend.get(&path, 0..u64::MAX).await.map_err(|error| {
            if error.is_not_found() { absent(project, kind, digest) } else { error.into() }
        })?;
        let (pieces, receiver) = mpsc::channel(QUEUED_MAX);
        let wanted = *digest;
        let writing = tokio::task::spawn_blocking(move || write(ingest, kind, &wanted, receiver));
        let mut body = object.body;
        let mut broken = None;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => {
                    // A writer that has stopped says why below.
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        drop(pieces);
        let written = writing.await?;
        match broken {
            Some(error) => Err(error.into()),
            None => written,
        }
    }
}

/// Bytes that a blob of a kind mostly has.
fn usual(kind: BlobKind) -> u64 {
    match kind {
        BlobKind::Manifest => 64 << 10,
        BlobKind::Pack => 32 << 20,
    }
}

/// Bytes of the longest blob of a kind.
fn limit(kind: BlobKind) -> u64 {
    match kind {
        BlobKind::Manifest => Manifest::BYTES_MAX,
        BlobKind::Pack => {
            PackRef::DATA_START
                + PackRef::DATA_BYTES_MAX
                + PackTable::encoded_bytes(PackRef::CHUNKS_MAX)
        }
    }
}

fn write(
    ingest: Ingest,
    kind: BlobKind,
    digest: &Digest,
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let wrong = |error: io::Error| match error.downcast::<crate::disk::Error>() {
        Ok(error) => Error::from(error),
        Err(error) => {
            Error::new(ErrorKind::Corrupt, format!("{digest} in the backend is damaged: {error}"))
        }
    };
    let mut decoder = Decoder::new(Sink(ingest), limit(kind)).map_err(wrong)?;
    while let Some(piece) = pieces.blocking_recv() {
        decoder.write(&piece).map_err(wrong)?;
    }
    let Sink(ingest) = decoder.finish().map_err(wrong)?;
    ingest.finish_as(digest)?;
    Ok(())
}

/// An ingest as something to write to.
struct Sink(Ingest);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
