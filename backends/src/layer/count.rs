//! Counts what crosses to the backend and back.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::{
    Backend, Body, ByteStream, Error, Features, Object, ObjectMeta, ObjectPath, PutMode, Result,
};

/// Totals since the start; whoever made them reads them whenever.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of objects that came from the backend and were taken by the caller.
    pub read_bytes: AtomicU64,
    /// Bytes of bodies that the backend took, whether the `put` then succeeded or not.
    pub written_bytes: AtomicU64,
    /// Calls of `put`.
    pub puts: AtomicU64,
    /// Calls of `get`.
    pub gets: AtomicU64,
    /// Calls of `head`.
    pub heads: AtomicU64,
    /// Calls of `delete`, each for any number of paths.
    pub deletes: AtomicU64,
    /// Calls of `list`, each for any number of pages.
    pub lists: AtomicU64,
    /// Calls and streams that ended in an error other than `NotFound` and `AlreadyExists`, which are answers.
    pub errors: AtomicU64,
}

impl Counters {
    /// All calls, by method, under the names that metrics use.
    pub fn calls(&self) -> [(&'static str, u64); 5] {
        [
            ("put", self.puts.load(Relaxed)),
            ("get", self.gets.load(Relaxed)),
            ("head", self.heads.load(Relaxed)),
            ("delete", self.deletes.load(Relaxed)),
            ("list", self.lists.load(Relaxed)),
        ]
    }

    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.note_error(error);
        }
        result
    }

    fn note_error(&self, error: &Error) {
        use crate::ErrorKind::{AlreadyExists, NotFound};
        if !matches!(error.kind(), NotFound | AlreadyExists) {
            self.errors.fetch_add(1, Relaxed);
        }
    }
}

/// Counts into the [`Counters`] it was given.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Backend>,
    counters: Arc<Counters>,
}

impl Counted {
    /// `inner`, counted. Outside a [`Retry`](super::Retry) it counts what was asked for, inside what was tried.
    pub fn new(inner: Arc<dyn Backend>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Counted {
    async fn features(&self) -> Result<Features> {
        self.counters.note(self.inner.features().await)
    }

    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
        self.counters.puts.fetch_add(1, Relaxed);
        let counters = Arc::clone(&self.counters);
        let body = body.map_stream(move |stream| {
            let counters = Arc::clone(&counters);
            count(stream, move |bytes| {
                counters.written_bytes.fetch_add(bytes, Relaxed);
            })
        });
        self.counters.note(self.inner.put(path, body, mode).await)
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
        self.counters.gets.fetch_add(1, Relaxed);
        let Object { meta, body } = self.counters.note(self.inner.get(path, range).await)?;
        let (reads, errors) = (Arc::clone(&self.counters), Arc::clone(&self.counters));
        let body = count(body, move |bytes| {
            reads.read_bytes.fetch_add(bytes, Relaxed);
        });
        let body = body.inspect(move |item| {
            if let Err(error) = item {
                errors.note_error(error);
            }
        });
        Ok(Object { meta, body: body.boxed() })
    }

    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.counters.heads.fetch_add(1, Relaxed);
        self.counters.note(self.inner.head(path).await)
    }

    async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
        self.counters.deletes.fetch_add(1, Relaxed);
        self.counters.note(self.inner.delete(paths).await)
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.lists.fetch_add(1, Relaxed);
        let counters = Arc::clone(&self.counters);
        let noted = self.inner.list(prefix, after).inspect(move |item| {
            if let Err(error) = item {
                counters.note_error(error);
            }
        });
        noted.boxed()
    }
}

fn count(stream: ByteStream, add: impl Fn(u64) + Send + 'static) -> ByteStream {
    let counted = stream.inspect(move |item| {
        if let Ok(bytes) = item {
            add(bytes.len() as u64);
        }
    });
    counted.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackendExt as _;
    use crate::memory::Memory;

    #[tokio::test]
    async fn bytes_and_calls_are_counted_and_absence_is_no_error() {
        let counters = Arc::new(Counters::default());
        let backend = Counted::new(Arc::new(Memory::new()), Arc::clone(&counters));
        let path = ObjectPath::parse("a").unwrap();
        backend.put(&path, vec![0; 10].into(), PutMode::Create).await.unwrap();
        backend.put(&path, vec![0; 10].into(), PutMode::Create).await.unwrap_err();
        backend.get_bytes(&path, 100).await.unwrap();
        backend.get(&path, 0..4).await.unwrap().body.next().await.unwrap().unwrap();
        backend.head(&ObjectPath::parse("b").unwrap()).await.unwrap_err();
        assert_eq!(counters.written_bytes.load(Relaxed), 20);
        assert_eq!(counters.read_bytes.load(Relaxed), 14);
        assert_eq!(counters.errors.load(Relaxed), 0);
        let calls = [("put", 2), ("get", 2), ("head", 1), ("delete", 0), ("list", 0)];
        assert_eq!(counters.calls(), calls);
    }
}
