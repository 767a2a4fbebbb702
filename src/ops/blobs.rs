//! Blobs as a project sees them: only its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::catalog::blob_path;
use super::held::SAVING;
use super::through::{Gathered, RemoteBlob};
use super::{BlobKind, Error, ErrorKind, Larder, Result};
use crate::disk::{Blob, Disk, Ingest, Map};
use crate::model::{Digest, Project};

/// Pieces of a blob under way from the network to the disk.
const QUEUED_MAX: usize = 4;
/// What the backend was seen to have is believed for so long.
const BELIEVED_FOR: Duration = Duration::from_hours(1);

/// Which project has which blob: on the host, as the index remembers, and in the backend, as this process
/// saw it. The latter is never written down: the next daemon may have another backend behind it, or one
/// that was emptied, and a pack that is not uploaded for such a reason makes every later save worthless.
#[derive(Debug)]
pub(super) struct Owners {
    on_host: Map,
    in_backend: Mutex<HashMap<(Project, Digest), Instant>>,
}

impl Owners {
    pub(super) fn new(on_host: Map) -> Self {
        Self { on_host, in_backend: Mutex::default() }
    }

    fn key(project: &Project, digest: &Digest) -> Vec<u8> {
        [project.as_str().as_bytes(), &[0], digest.as_bytes()].concat()
    }

    pub(super) fn note_host(&self, project: &Project, digest: &Digest) {
        if !self.on_host(project, digest)
            && let Err(error) = self.on_host.put(Self::key(project, digest), &[])
        {
            tracing::warn!(%error, "the index did not take a note; it will be found out again");
        }
    }

    fn on_host(&self, project: &Project, digest: &Digest) -> bool {
        self.on_host.get(Self::key(project, digest)).is_ok_and(|note| note.is_some())
    }

    pub(super) fn note_backend(&self, project: &Project, digest: &Digest) {
        self.seen().insert((project.clone(), *digest), Instant::now());
    }

    pub(super) fn in_backend(&self, project: &Project, digest: &Digest) -> bool {
        let mut seen = self.seen();
        let wanted = (project.clone(), *digest);
        let fresh = seen.get(&wanted).is_some_and(|since| since.elapsed() < BELIEVED_FOR);
        if !fresh {
            seen.remove(&wanted);
        }
        fresh
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(Project, Digest), Instant>> {
        self.in_backend.lock().expect("no panics while notes are held")
    }
}

/// A blob being stored, piece by piece.
#[derive(Debug)]
pub struct Storing {
    larder: Larder,
    project: Project,
    kind: BlobKind,
    pieces: mpsc::Sender<Bytes>,
    writing: tokio::task::JoinHandle<Result<Option<Written>>>,
}

/// Where the pieces are.
#[derive(Debug)]
enum Written {
    OnHost(Box<Ingest>),
    Gathered(Gathered, OwnedSemaphorePermit),
}

/// Where a blob's bytes can be had.
#[derive(Debug)]
pub enum Source {
    /// On the host's disk.
    Host(Blob),
    /// In the backend alone: the host has no room.
    Backend(Arc<RemoteBlob>),
}

impl Source {
    /// The blob's length.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Host(blob) => blob.size_bytes,
            Self::Backend(blob) => blob.size_bytes(),
        }
    }
}

impl Larder {
    /// Begins to store a blob of the project. Dropped before it is finished, it never was.
    pub fn store(&self, project: &Project, kind: BlobKind) -> Storing {
        let (pieces, receiver) = mpsc::channel::<Bytes>(QUEUED_MAX);
        let (disk, room) = (self.0.disk.clone(), self.0.through.whole.clone());
        let writing = tokio::task::spawn_blocking(move || write(&disk, room, receiver));
        Storing { larder: self.clone(), project: project.clone(), kind, pieces, writing }
    }

    /// Opens a blob of the project, from the host's disk or, when it is not there, from the backend by
    /// way of the disk.
    pub async fn open_blob(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
    ) -> Result<Source> {
        // Between the fill and the opening somebody may find the blob rotten; once more is enough.
        for _ in 0..3 {
            match self.bring(project, kind, digest).await {
                Err(error) if error.kind() == ErrorKind::Full => {
                    return Ok(Source::Backend(self.remote_blob(project, kind, digest).await?));
                }
                brought => brought?,
            }
            let (disk, wanted) = (self.0.disk.clone(), *digest);
            if let Some(blob) =
                tokio::task::spawn_blocking(move || disk.open_blob(&wanted)).await??
            {
                return Ok(Source::Host(blob));
            }
        }
        Err(Error::new(
            ErrorKind::Internal,
            format!("blob {digest} cannot be kept on the host's disk"),
        ))
    }

    /// Sees to it that a blob of the project is on the host's disk.
    pub(super) async fn bring(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
    ) -> Result<()> {
        if self.0.disk.contains(digest).is_none() {
            return self.fill(project, kind, digest).await;
        }
        // It is there, but perhaps another project's: only the own part of the backend decides.
        if self.0.blobs.on_host(project, digest)
            || self.is_in_backend(project, kind, digest).await?
        {
            return Ok(());
        }
        Err(absent(project, kind, digest))
    }

    /// A whole blob of the project, verified.
    pub(super) async fn read_blob(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
        limit_bytes: u64,
    ) -> Result<Vec<u8>> {
        for _ in 0..2 {
            match self.bring(project, kind, digest).await {
                Err(error) if error.kind() == ErrorKind::Full => {
                    return self.read_through(project, kind, digest, limit_bytes).await;
                }
                brought => brought?,
            }
            let (disk, wanted) = (self.0.disk.clone(), *digest);
            let read =
                tokio::task::spawn_blocking(move || disk.read_verified(&wanted, limit_bytes));
            if let Some(bytes) = read.await?? {
                return Ok(bytes);
            }
        }
        Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} rots as fast as it is fetched")))
    }

    /// Reads a pack anew that a job found wrong. Says whether it was right; when it was not, it is right
    /// now, or this fails.
    pub async fn verify_pack(&self, project: &Project, digest: &Digest) -> Result<bool> {
        self.bring(project, BlobKind::Pack, digest).await?;
        let (disk, wanted) = (self.0.disk.clone(), *digest);
        let intact = tokio::task::spawn_blocking(move || disk.verify(&wanted)).await??;
        if !intact {
            self.fill(project, BlobKind::Pack, digest).await?;
        }
        Ok(intact)
    }

    /// Whether a save may build on this pack.
    pub(super) async fn has_pack(&self, project: &Project, digest: &Digest) -> Result<bool> {
        let on_host =
            self.0.disk.contains(digest).is_some() && self.0.blobs.on_host(project, digest);
        Ok(on_host || self.is_in_backend(project, BlobKind::Pack, digest).await?)
    }

    /// Whether the backend has a blob of the project; asked only when it was not seen there lately.
    pub(super) async fn is_in_backend(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
    ) -> Result<bool> {
        if self.0.blobs.in_backend(project, digest) {
            return Ok(true);
        }
        match self.0.backend.head(&blob_path(project, kind, digest)?).await {
            Ok(_) => {
                self.0.blobs.note_backend(project, digest);
                Ok(true)
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn absent(project: &Project, kind: BlobKind, digest: &Digest) -> Error {
    let kind = match kind {
        BlobKind::Pack => "pack",
        BlobKind::Manifest => "manifest",
    };
    Error::new(ErrorKind::NotFound, format!("project `{project}` has no {kind} {digest}"))
}

impl Storing {
    /// Appends a piece; waits while the disk is slower.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        if piece.is_empty() || self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // The writer has stopped: it knows why.
        let stopped = || Error::new(ErrorKind::Internal, "the disk stopped to take the blob");
        Err((&mut self.writing).await?.err().unwrap_or_else(stopped))
    }

    /// Makes it a blob; when this returns it lies durably on the host, or in the backend when the host has
    /// no room for it. Returns digest and size in bytes.
    pub async fn finish(self) -> Result<(Digest, u64)> {
        let Self { larder, project, kind, pieces, writing } = self;
        // A writer that is gone says why below.
        let _gone = pieces.send(Bytes::new()).await.is_err();
        let written = writing.await??;
        match written.ok_or_else(|| Error::new(ErrorKind::Internal, "the blob was given up"))? {
            Written::OnHost(ingest) => {
                let stored = tokio::task::spawn_blocking(move || ingest.finish()).await??;
                larder.0.blobs.note_host(&project, &stored.digest);
                larder.0.held.hold(stored.lease, SAVING);
                Ok((stored.digest, stored.size_bytes))
            }
            Written::Gathered(gathered, _room) => {
                larder.write_through(&project, kind, gathered.into_bytes()).await
            }
        }
    }
}

/// Writes pieces to the disk, or gathers them when it turns out to have no room. An empty piece says that
/// all have come; without it the sender gave up.
fn write(
    disk: &Disk,
    room: Arc<Semaphore>,
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<Option<Written>> {
    let mut ingest = disk.ingest()?;
    let full = loop {
        let Some(piece) = pieces.blocking_recv() else { return Ok(None) };
        if piece.is_empty() {
            return Ok(Some(Written::OnHost(Box::new(ingest))));
        }
        match ingest.write(&piece).map_err(Error::from) {
            Err(error) if error.kind() == ErrorKind::Full => break piece,
            written => written?,
        }
    };
    let permit = tokio::runtime::Handle::current().block_on(room.acquire_owned());
    let permit = permit.expect("the semaphore is never closed");
    let mut gathered = Gathered::begin(ingest.take_back()?);
    gathered.push(&full)?;
    loop {
        let Some(piece) = pieces.blocking_recv() else { return Ok(None) };
        if piece.is_empty() {
            return Ok(Some(Written::Gathered(gathered, permit)));
        }
        gathered.push(&piece)?;
    }
}
