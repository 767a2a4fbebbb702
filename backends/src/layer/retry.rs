//! Tries again what may succeed later.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

use super::resume::{Listing, Reading};
use crate::body::Repeatable;
use crate::{Backend, Body, Features, Object, ObjectMeta, ObjectPath, PutMode, Result};

/// How often and how long. A call is tried again while none of the limits is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries of one call, the first included; 1 leaves retrying of calls to the backend below.
    pub attempts_max: u32,
    /// How often one object's body, or one listing, is taken up again where it broke.
    pub resumes_max: u32,
    /// The upper bound of the first pause; it doubles each time. Pauses are drawn at random below it.
    pub pause_first: Duration,
    /// The bound of all pauses.
    pub pause_max: Duration,
    /// No new try starts later than this after the call began.
    pub deadline: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            resumes_max: 5,
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(10),
            deadline: Duration::from_mins(1),
        }
    }
}

impl Policy {
    /// For a backend that tries its own calls again: only bodies and listings that break are resumed.
    pub fn resume_only() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    pub(super) async fn pause(&self, done: u32) {
        let bound = self.pause_first.saturating_mul(1 << done.min(16)).min(self.pause_max);
        tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
    }

    async fn run<T, F>(&self, call: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.run_while(|| true, call).await
    }

    async fn run_while<T, F>(
        &self,
        again: impl Fn() -> bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let started = Instant::now();
        let mut done = 0;
        loop {
            let error = match call().await {
                Err(error) if error.is_retryable() => error,
                answer => return answer,
            };
            done += 1;
            let spent = done >= self.attempts_max || started.elapsed() >= self.deadline;
            if spent || !again() {
                return Err(error);
            }
            tracing::debug!(error = error.chain(), done, "trying again");
            self.pause(done - 1).await;
        }
    }
}

/// Tries calls that failed with `Unavailable` again, and resumes what it was reading.
///
/// A `put` is tried again when its body can be had again, or when nothing of it was read.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Backend>,
    policy: Policy,
}

impl Retry {
    /// `inner`, with patience.
    pub fn new(inner: Arc<dyn Backend>, policy: Policy) -> Self {
        Self { inner, policy }
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Retry {
    async fn features(&self) -> Result<Features> {
        self.policy.run(|| self.inner.features()).await
    }

    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
        let body = Repeatable::new(body);
        let put = || self.inner.put(path, body.again(), mode);
        self.policy.run_while(|| body.can_repeat(), put).await
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
        let object = self.policy.run(|| self.inner.get(path, range.clone())).await?;
        let reading = Reading {
            inner: Arc::clone(&self.inner),
            policy: self.policy,
            meta: object.meta.clone(),
            left: range.start..range.end.min(object.meta.size_bytes),
            resumes: 0,
        };
        Ok(Object { meta: object.meta, body: reading.resuming(object.body) })
    }

    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.policy.run(|| self.inner.head(path)).await
    }

    async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
        self.policy.run(|| self.inner.delete(paths)).await
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = Listing {
            inner: Arc::clone(&self.inner),
            policy: self.policy,
            prefix: prefix.to_owned(),
            after: after.cloned(),
            resumes: 0,
        };
        listing.resuming(self.inner.list(prefix, after))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use bytes::Bytes;
    use futures_util::{StreamExt as _, TryStreamExt as _, stream};

    use super::*;
    use crate::memory::Memory;
    use crate::{BackendExt as _, ByteStream, Error, ErrorKind, Operation};

    /// Fails so many calls before it works, and breaks so many bodies after `break_after` bytes.
    #[derive(Debug)]
    struct Flaky {
        inner: Memory,
        calls: AtomicU32,
        failures: AtomicU32,
        kind: ErrorKind,
        read_first: bool,
        breaks: Arc<AtomicU32>,
        before_resume: Mutex<Option<Body>>,
    }

    impl Flaky {
        fn new(failures: u32, kind: ErrorKind) -> Self {
            Self {
                inner: Memory::new(),
                calls: AtomicU32::new(0),
                failures: AtomicU32::new(failures),
                kind,
                read_first: false,
                breaks: Arc::default(),
                before_resume: Mutex::default(),
            }
        }

        fn call(&self, path: &str) -> Result<()> {
            self.calls.fetch_add(1, Relaxed);
            if take(&self.failures) {
                return Err(Error::bare(self.kind, Operation::Head, path));
            }
            Ok(())
        }
    }

    fn take(counter: &AtomicU32) -> bool {
        counter.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    impl fmt::Display for Flaky {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("flaky")
        }
    }

    #[async_trait]
    impl Backend for Flaky {
        async fn features(&self) -> Result<Features> {
            self.call("")?;
            self.inner.features().await
        }

        async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
            let mut stream = body.into_stream(path);
            let first = if self.read_first { stream.try_next().await? } else { None };
            self.call(path.as_str())?;
            let body = stream::iter(first.map(Ok)).chain(stream);
            self.inner.put(path, Body::stream(body, None), mode).await
        }

        async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
            self.call(path.as_str())?;
            let replacement = self.before_resume.lock().unwrap().take();
            if let Some(body) = replacement.filter(|_| range.start > 0) {
                self.inner.put(path, body, PutMode::Overwrite).await?;
            }
            let Object { meta, body } = self.inner.get(path, range).await?;
            Ok(Object { meta, body: breaking(body, Arc::clone(&self.breaks), path.clone()) })
        }

        async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
            self.call(path.as_str())?;
            self.inner.head(path).await
        }

        async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
            self.call("")?;
            self.inner.delete(paths).await
        }

        fn list(
            &self,
            prefix: &str,
            after: Option<&ObjectPath>,
        ) -> BoxStream<'static, Result<ObjectMeta>> {
            let breaks = Arc::clone(&self.breaks);
            let list = self.inner.list(prefix, after).enumerate().map(move |(index, item)| {
                if index == 1 && take(&breaks) {
                    return Err(Error::bare(ErrorKind::Unavailable, Operation::List, ""));
                }
                item
            });
            list.boxed()
        }
    }

    /// Two bytes at a time; before the second piece it may break.
    fn breaking(body: ByteStream, breaks: Arc<AtomicU32>, path: ObjectPath) -> ByteStream {
        let pieces = body.map_ok(|bytes| {
            let pieces: Vec<Result<Bytes>> =
                bytes.chunks(2).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            stream::iter(pieces)
        });
        let broken = pieces.try_flatten().enumerate().map(move |(index, item)| {
            if index == 1 && take(&breaks) {
                return Err(Error::bare(ErrorKind::Unavailable, Operation::Get, path.as_str()));
            }
            item
        });
        broken.boxed()
    }

    fn quick() -> Policy {
        Policy { pause_first: Duration::ZERO, ..Policy::default() }
    }

    fn path() -> ObjectPath {
        ObjectPath::parse("a").unwrap()
    }

    fn around(flaky: Flaky) -> (Arc<Flaky>, Retry) {
        let flaky = Arc::new(flaky);
        (Arc::clone(&flaky), Retry::new(flaky, quick()))
    }

    fn one_time_body() -> Body {
        Body::stream(stream::iter([Ok(Bytes::from_static(b"once"))]), Some(4))
    }

    #[tokio::test]
    async fn unavailable_is_tried_again_up_to_the_limit() {
        let (flaky, retry) = around(Flaky::new(4, ErrorKind::Unavailable));
        retry.put(&path(), vec![1].into(), PutMode::Create).await.unwrap();
        assert_eq!(flaky.calls.load(Relaxed), 5);
        let (flaky, retry) = around(Flaky::new(5, ErrorKind::Unavailable));
        assert_eq!(retry.head(&path()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(flaky.calls.load(Relaxed), 5);
    }

    #[tokio::test]
    async fn what_will_not_change_is_not_tried_again() {
        for kind in [ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Other] {
            let (flaky, retry) = around(Flaky::new(1, kind));
            assert_eq!(retry.head(&path()).await.unwrap_err().kind(), kind);
            assert_eq!(flaky.calls.load(Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn no_try_starts_after_the_deadline() {
        let flaky = Arc::new(Flaky::new(1, ErrorKind::Unavailable));
        let policy = Policy { deadline: Duration::ZERO, ..quick() };
        let retry = Retry::new(Arc::clone(&flaky) as _, policy);
        assert_eq!(retry.head(&path()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(flaky.calls.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_body_that_was_read_and_cannot_be_had_again_is_not_put_again() {
        let (flaky, retry) = around(Flaky::new(1, ErrorKind::Unavailable));
        retry.put(&path(), one_time_body(), PutMode::Create).await.unwrap();
        assert_eq!(flaky.calls.load(Relaxed), 2);
        assert_eq!(flaky.inner.get_bytes(&path(), 9).await.unwrap(), "once");

        let read_first = Flaky { read_first: true, ..Flaky::new(1, ErrorKind::Unavailable) };
        let (flaky, retry) = around(read_first);
        let error = retry.put(&path(), one_time_body(), PutMode::Create).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(flaky.calls.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_broken_body_is_resumed_where_it_broke() {
        let (flaky, retry) = around(Flaky::new(0, ErrorKind::Other));
        flaky.inner.put(&path(), b"0123456789"[..].into(), PutMode::Create).await.unwrap();
        flaky.breaks.store(3, Relaxed);
        assert_eq!(retry.get_bytes(&path(), 10).await.unwrap(), "0123456789");
        assert_eq!(flaky.calls.load(Relaxed), 4);
        flaky.breaks.store(u32::MAX, Relaxed);
        let error = retry.get_bytes(&path(), 10).await;
        assert!(error.is_ok(), "each resume brings two bytes, so five are enough: {error:?}");
    }

    #[tokio::test]
    async fn a_resumed_body_is_never_of_two_objects() {
        let (flaky, retry) = around(Flaky::new(0, ErrorKind::Other));
        flaky.inner.put(&path(), b"0123456789"[..].into(), PutMode::Create).await.unwrap();
        let object = retry.get(&path(), 0..10).await.unwrap();
        *flaky.before_resume.lock().unwrap() = Some(b"9876543210"[..].into());
        flaky.breaks.store(1, Relaxed);
        let object_bytes: Result<Vec<Bytes>> = object.body.try_collect().await;
        assert_eq!(object_bytes.unwrap_err().kind(), ErrorKind::Other);
    }

    #[tokio::test]
    async fn a_broken_listing_is_resumed_after_the_last_object() {
        let (flaky, retry) = around(Flaky::new(0, ErrorKind::Other));
        for name in ["a", "b", "c", "d"] {
            let path = ObjectPath::parse(name).unwrap();
            flaky.inner.put(&path, vec![].into(), PutMode::Create).await.unwrap();
        }
        flaky.breaks.store(2, Relaxed);
        let all: Vec<ObjectMeta> = retry.list("", None).try_collect().await.unwrap();
        let names: Vec<&str> = all.iter().map(|meta| meta.path.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }
}
