//! Past the host's disk, when it has no room: blobs read from the backend by the range, and written to it
//! at once. Slower, and never a failed job.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use larder_backends::{Body, ObjectPath, PutMode};

use super::catalog::blob_path;
use super::frames::{self, Decoder, Tail};
use super::{BlobKind, Error, ErrorKind, Larder, Result};
use crate::model::{Digest, Project};

/// Bytes of an object's end that are read first; most tables are within.
const TAIL_BYTES: u64 = 256 << 10;
/// Objects whose ends are remembered.
const REMEMBERED_MAX: usize = 64;
/// Longer blobs need the disk.
const WHOLE_BYTES_MAX: usize = 160 << 20;
/// Blobs that are held in memory at once.
const WHOLE_MAX: usize = 2;

/// What reading and writing past the disk needs.
#[derive(Debug)]
pub(super) struct Through {
    remembered: Mutex<VecDeque<Arc<RemoteBlob>>>,
    pub(super) whole: Arc<tokio::sync::Semaphore>,
}

impl Default for Through {
    fn default() -> Self {
        let whole = Arc::new(tokio::sync::Semaphore::new(WHOLE_MAX));
        Self { remembered: Mutex::default(), whole }
    }
}

/// A blob in the backend, whose end was read.
#[derive(Debug)]
pub struct RemoteBlob {
    path: ObjectPath,
    /// Of the object.
    stored_bytes: u64,
    tail: Tail,
    /// The last bytes of the object.
    end: Vec<u8>,
}

impl RemoteBlob {
    /// The blob's length.
    pub fn size_bytes(&self) -> u64 {
        self.tail.plain_bytes()
    }
}

impl Larder {
    /// Finds a blob of the project in the backend.
    pub(super) async fn remote_blob(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
    ) -> Result<Arc<RemoteBlob>> {
        let path = blob_path(project, kind, digest)?;
        let remembered = || self.0.through.remembered.lock().expect("no panics while it is held");
        if let Some(known) = remembered().iter().find(|blob| blob.path == path) {
            return Ok(known.clone());
        }
        let stored_bytes = self.0.backend.head(&path).await?.size_bytes;
        let mut end =
            self.fetch_range(&path, stored_bytes.saturating_sub(TAIL_BYTES)..stored_bytes).await?;
        if (end.len() as u64) < Tail::FOOTER {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} is cut short")));
        }
        let tail_bytes = Tail::len(&end)?.min(stored_bytes);
        if tail_bytes > end.len() as u64 {
            end = self.fetch_range(&path, stored_bytes - tail_bytes..stored_bytes).await?;
        }
        let tail = Tail::decode(&end[end.len() - place(tail_bytes)..])?;
        let blob = Arc::new(RemoteBlob { path, stored_bytes, tail, end });
        let mut remembered = remembered();
        remembered.truncate(REMEMBERED_MAX - 1);
        remembered.push_front(blob.clone());
        Ok(blob)
    }

    /// Plain bytes of a blob in the backend; fewer where it ends. Nobody has verified them.
    pub async fn read_remote(&self, blob: &RemoteBlob, range: Range<u64>) -> Result<Bytes> {
        let (stored, skip) = blob.tail.locate(&range);
        let had = blob.stored_bytes - blob.end.len() as u64;
        let compressed = if stored.start >= had && stored.end <= blob.stored_bytes {
            blob.end[place(stored.start - had)..place(stored.end - had)].to_vec()
        } else {
            self.fetch_range(&blob.path, stored).await?
        };
        let length = range.end - range.start;
        let limit = skip.saturating_add(length).saturating_add(frames::FRAME_BYTES_MAX);
        tokio::task::spawn_blocking(move || {
            let decode = || {
                let mut decoder = Decoder::new(Vec::new(), limit)?;
                decoder.write(&compressed)?;
                decoder.finish()
            };
            let plain = decode().map_err(|error| Error::new(ErrorKind::Corrupt, error))?;
            let plain = Bytes::from(plain);
            let start = plain.len().min(place(skip));
            Ok(plain.slice(start..plain.len().min(place(skip.saturating_add(length)))))
        })
        .await?
    }

    /// A whole blob from the backend, verified.
    pub(super) async fn read_through(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
        limit_bytes: u64,
    ) -> Result<Vec<u8>> {
        let blob = self.remote_blob(project, kind, digest).await?;
        if blob.size_bytes() > limit_bytes {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} is too long")));
        }
        let bytes = self.read_remote(&blob, 0..blob.size_bytes()).await?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes.into());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("blob {digest} is damaged in the backend")))
    }

    /// Stores a blob in the backend, for which the host has no room.
    pub(super) async fn write_through(
        &self,
        project: &Project,
        kind: BlobKind,
        bytes: Vec<u8>,
    ) -> Result<(Digest, u64)> {
        let size_bytes = bytes.len() as u64;
        let encoding = tokio::task::spawn_blocking(move || {
            frames::encode(&*bytes, size_bytes, size_bytes)
                .map(|encoded| (Digest::of(&bytes), encoded))
        });
        let (digest, encoded) =
            encoding.await?.map_err(|error| Error::new(ErrorKind::Internal, error))?;
        self.put_blob(project, kind, &digest, encoded).await?;
        tracing::debug!(%digest, size_bytes, "no room on the disk; stored in the backend at once");
        Ok((digest, size_bytes))
    }

    /// Stores what is compressed already.
    pub(super) async fn put_blob(
        &self,
        project: &Project,
        kind: BlobKind,
        digest: &Digest,
        encoded: Vec<u8>,
    ) -> Result<()> {
        let path = blob_path(project, kind, digest)?;
        match self.0.backend.put(&path, Body::from(encoded), PutMode::Create).await {
            Ok(_) => {}
            Err(error) if error.kind() == larder_backends::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        self.0.blobs.note_backend(project, digest);
        Ok(())
    }

    async fn fetch_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Vec<u8>> {
        let mut object = self.0.backend.get(path, range).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = object.body.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }
}

/// The bytes of a blob for which there is no room on the disk, gathered in memory.
#[derive(Debug)]
pub(super) struct Gathered(Vec<u8>);

impl Gathered {
    pub(super) fn begin(begun: Vec<u8>) -> Self {
        Self(begun)
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<()> {
        if self.0.len() + piece.len() > WHOLE_BYTES_MAX {
            let why = format!(
                "the disk is full, and a blob of more than {WHOLE_BYTES_MAX} bytes needs it"
            );
            return Err(Error::new(ErrorKind::Full, why));
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).expect("offsets in memory fit")
}

#[cfg(test)]
mod tests {
    use crate::ops::tests::{Host, Moody, project};
    use crate::ops::{BlobKind, Source};

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        std::iter::repeat_with(|| random.u8(..)).take(len).collect()
    }

    /// bazel-remote #798: a blob larger than the disk was refused even where storage stood behind it.
    #[tokio::test]
    async fn a_host_without_room_saves_and_restores_past_its_disk() {
        let backend = Moody::new(false);
        let (full, roomy) = (Host::within(&backend, 100_000), Host::new(&backend));
        let content = noise(3_000_000);
        assert!(full.save("k", &content).await);
        full.flushed().await;
        assert!(full.larder.status().disk.bytes <= 100_000);
        for host in [&full, &roomy] {
            let entry = host.found(&["k"]).await.entry.unwrap();
            let pack = host.pack(&entry.manifest).await.unwrap();
            assert!(pack.windows(1000).any(|window| window == &content[1_234_567..1_235_567]));
        }
        assert!(roomy.larder.status().disk.bytes > 3_000_000);
    }

    #[tokio::test]
    async fn ranges_of_what_is_in_the_backend_alone() {
        let backend = Moody::new(false);
        let (roomy, full) = (Host::new(&backend), Host::within(&backend, 100_000));
        roomy.save("k", &noise(5_000_000)).await;
        roomy.flushed().await;
        let entry = full.found(&["k"]).await.entry.unwrap();
        let whole = roomy.pack(&entry.manifest).await.unwrap();
        let digest = crate::model::Digest::of(&whole);
        let source = full.larder.open_blob(&project(), BlobKind::Pack, &digest).await.unwrap();
        let Source::Backend(blob) = source else { panic!("it cannot be on the host") };
        assert_eq!(blob.size_bytes(), whole.len() as u64);
        for (start, end) in
            [(0, 1), (1_048_575, 1_048_577), (2_000_000, 4_999_999), (0, whole.len())]
        {
            let range = start as u64..end as u64;
            let bytes = full.larder.read_remote(&blob, range).await.unwrap();
            assert_eq!(bytes, whole[start..end], "{start}..{end}");
        }
        let end = whole.len() as u64;
        assert_eq!(full.larder.read_remote(&blob, end..end + 10).await.unwrap().len(), 0);
    }
}
