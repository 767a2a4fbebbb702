//! What `put` stores: a stream of bytes, with its length where that is known.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, Stream};

use crate::{Error, ErrorKind, ObjectPath, Operation, Result};

/// Bytes on their way; after an error nothing more comes.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

type Factory = Arc<dyn Fn() -> ByteStream + Send + Sync>;
type Wrap = Arc<dyn Fn(ByteStream) -> ByteStream + Send + Sync>;

/// The bytes of an object to be.
///
/// A body made from bytes or by [`replayable`](Self::replayable) can be read again, so that a failed
/// `put` can be tried again; one made from a [`stream`](Self::stream) cannot.
pub struct Body {
    source: Source,
    len_bytes: Option<u64>,
}

enum Source {
    Again(Replay),
    Stream(ByteStream),
}

/// What can be read any number of times.
#[derive(Clone)]
enum Replay {
    Bytes(Bytes),
    Factory(Factory),
}

impl Body {
    /// Reads `stream` once. When `len_bytes` is given and wrong, the `put` fails with `Body`.
    pub fn stream<S>(stream: S, len_bytes: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self { source: Source::Stream(stream.boxed()), len_bytes }
    }

    /// Asks for the stream when it is needed, and again for every further try.
    pub fn replayable<F>(open: F, len_bytes: Option<u64>) -> Self
    where
        F: Fn() -> ByteStream + Send + Sync + 'static,
    {
        Self { source: Source::Again(Replay::Factory(Arc::new(open))), len_bytes }
    }

    /// How many bytes there will be, if known.
    pub fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    /// The same body once more, where that can be had.
    pub fn try_clone(&self) -> Option<Self> {
        match &self.source {
            Source::Again(replay) => Some(Self::again(replay.clone(), self.len_bytes)),
            Source::Stream(_) => None,
        }
    }

    fn again(replay: Replay, len_bytes: Option<u64>) -> Self {
        Self { source: Source::Again(replay), len_bytes }
    }

    /// Puts `wrap` around the stream; what could be replayed still can.
    #[must_use]
    pub fn map_stream<F>(self, wrap: F) -> Self
    where
        F: Fn(ByteStream) -> ByteStream + Send + Sync + 'static,
    {
        let wrap: Wrap = Arc::new(wrap);
        let open: Factory = match self.source {
            Source::Again(Replay::Bytes(bytes)) => Arc::new(move || wrap(once(bytes.clone()))),
            Source::Again(Replay::Factory(open)) => Arc::new(move || wrap(open())),
            Source::Stream(stream) => return Self::stream(wrap(stream), self.len_bytes),
        };
        Self::again(Replay::Factory(open), self.len_bytes)
    }

    /// The bytes, for the object `path`. A length other than the one announced ends in an error of
    /// kind `Body`, and so does, whatever its kind was, an error of the source.
    pub fn into_stream(self, path: &ObjectPath) -> ByteStream {
        let inner = match self.source {
            Source::Again(Replay::Bytes(bytes)) => return once(bytes),
            Source::Again(Replay::Factory(open)) => open(),
            Source::Stream(stream) => stream,
        };
        Checked { inner, path: path.clone(), announced: self.len_bytes, seen: 0, done: false }
            .boxed()
    }
}

fn once(bytes: Bytes) -> ByteStream {
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let len_bytes = Some(bytes.len() as u64);
        Self::again(Replay::Bytes(bytes), len_bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len_bytes", &self.len_bytes).finish_non_exhaustive()
    }
}

/// Why a body is not what it was said to be.
#[derive(Debug, thiserror::Error)]
enum LengthError {
    #[error("the body ended after {seen} of {announced} bytes")]
    Short { seen: u64, announced: u64 },
    #[error("the body has more than the announced {announced} bytes")]
    Long { announced: u64 },
}

/// A body of which several tries can be made: any number when it can be had again, else until the
/// first byte was read.
pub(crate) struct Repeatable {
    body: Repeat,
    len_bytes: Option<u64>,
}

enum Repeat {
    Again(Replay),
    Once(Arc<Once>),
}

struct Once {
    stream: Mutex<ByteStream>,
    touched: AtomicBool,
}

impl Repeatable {
    pub(crate) fn new(body: Body) -> Self {
        let len_bytes = body.len_bytes;
        let body = match body.source {
            Source::Stream(stream) => {
                let (stream, touched) = (Mutex::new(stream), AtomicBool::new(false));
                Repeat::Once(Arc::new(Once { stream, touched }))
            }
            Source::Again(replay) => Repeat::Again(replay),
        };
        Self { body, len_bytes }
    }

    pub(crate) fn can_repeat(&self) -> bool {
        match &self.body {
            Repeat::Again(_) => true,
            Repeat::Once(once) => !once.touched.load(Ordering::Relaxed),
        }
    }

    /// The body for the next try. A stream that was read goes on where it stood.
    pub(crate) fn again(&self) -> Body {
        match &self.body {
            Repeat::Again(replay) => Body::again(replay.clone(), self.len_bytes),
            Repeat::Once(once) => {
                let once = Arc::clone(once);
                let stream = stream::poll_fn(move |cx| {
                    let mut stream =
                        once.stream.lock().expect("a stream that panics is not polled");
                    let item = stream.poll_next_unpin(cx);
                    once.touched.fetch_or(item.is_ready(), Ordering::Relaxed);
                    item
                });
                Body::stream(stream, self.len_bytes)
            }
        }
    }
}

struct Checked {
    inner: ByteStream,
    path: ObjectPath,
    announced: Option<u64>,
    seen: u64,
    done: bool,
}

impl Checked {
    fn fail(&mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.done = true;
        Error::new(ErrorKind::Body, Operation::Put, self.path.as_str(), source)
    }
}

impl Stream for Checked {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        Poll::Ready(match std::task::ready!(this.inner.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => {
                this.seen += bytes.len() as u64;
                match this.announced {
                    Some(announced) if this.seen > announced => {
                        Some(Err(this.fail(LengthError::Long { announced })))
                    }
                    _ => Some(Ok(bytes)),
                }
            }
            Some(Err(error)) => Some(Err(this.fail(error))),
            None => {
                this.done = true;
                let seen = this.seen;
                match this.announced {
                    Some(announced) if seen < announced => {
                        Some(Err(this.fail(LengthError::Short { seen, announced })))
                    }
                    _ => None,
                }
            }
        })
    }
}
