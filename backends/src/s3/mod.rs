//! S3 and what speaks it, over the AWS SDK.
//!
//! Objects lie at `<prefix>/<path>` (long segments cut, see `names.rs`). Whether the server honours
//! `If-None-Match: *` is asked once, when it first matters, by creating an object twice; where it does
//! not, a creation looks first, and racing creators may all succeed.

mod client;
mod error;
mod list;
mod probe;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use self::error::{failed, odd_answer};
use crate::{
    Backend, Body, ByteStream, Error, ErrorKind, Features, Object, ObjectMeta, ObjectPath,
    Operation, PutMode, Result, config, names,
};

/// S3's limit.
const DELETE_BATCH: usize = 1000;
/// Single deletions at once, where the server knows no batches.
const DELETES_AT_ONCE: usize = 16;

/// Servers count in signed numbers, and ignore a range that they cannot read.
const POSITION_MAX: u64 = i64::MAX as u64;

/// What only tests and odd networks change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Tries of one request, the first included.
    pub attempts_max: u32,
    /// The upper bound of the first pause between them; it doubles.
    pub pause_first: Duration,
    /// Larger bodies are uploaded in parts of this size; S3 takes no less than 5 MiB. It grows for bodies that
    /// would need more than 10,000 parts.
    pub part_bytes: usize,
    /// Parts of one body that are under way at once; each is in memory.
    pub parts_at_once: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            pause_first: Duration::from_millis(200),
            part_bytes: 8 << 20,
            parts_at_once: 4,
        }
    }
}

/// A bucket, or what starts with a prefix in it. Clones share everything.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
}

struct Shared {
    config: config::S3,
    tuning: Tuning,
    keys: Option<Credentials>,
    client: OnceCell<Client>,
    features: OnceCell<Features>,
    no_batch_delete: AtomicBool,
}

impl S3 {
    pub(crate) fn new(config: &config::S3, tuning: Tuning, keys: Option<Credentials>) -> Self {
        let shared = Shared {
            config: config.clone(),
            tuning,
            keys,
            client: OnceCell::new(),
            features: OnceCell::new(),
            no_batch_delete: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    async fn client(&self) -> &Client {
        let Shared { config, tuning, keys, .. } = &*self.shared;
        let connect = || client::connect(config, *tuning, keys.clone());
        self.shared.client.get_or_init(connect).await
    }

    fn bucket(&self) -> &str {
        &self.shared.config.bucket
    }

    /// The name of the object at `path`, which with the prefix must still fit.
    fn key(&self, operation: Operation, path: &ObjectPath) -> Result<String> {
        let key = self.stored(path.as_str());
        if key.len() > ObjectPath::LEN_MAX {
            let source = format!(
                "with the bucket's prefix its name has {} bytes; S3 takes at most {}",
                key.len(),
                ObjectPath::LEN_MAX
            );
            return Err(Error::new(ErrorKind::Other, operation, path.as_str(), source));
        }
        Ok(key)
    }

    fn stored(&self, path: &str) -> String {
        match &self.shared.config.prefix {
            Some(prefix) => format!("{prefix}/{}", names::stored(path)),
            None => names::stored(path),
        }
    }

    /// The path of the object named `key`; `None` for what is not ours.
    fn path_of(&self, key: &str) -> Option<ObjectPath> {
        let name = match &self.shared.config.prefix {
            Some(prefix) => key.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            None => key,
        };
        ObjectPath::parse(names::original(name)?).ok()
    }

    async fn delete_batch(&self, paths: &[ObjectPath]) -> Result<()> {
        let mut objects = Vec::with_capacity(paths.len());
        for path in paths {
            let object =
                ObjectIdentifier::builder().key(self.key(Operation::Delete, path)?).build();
            objects.push(object.expect("the key is set"));
        }
        let shown = paths.first().map_or("", ObjectPath::as_str);
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete = delete.expect("the objects are set");
        let request = self.client().await.delete_objects().bucket(self.bucket()).delete(delete);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error::is_unsupported(&error) => {
                tracing::debug!(%error, "the server deletes no batches; one by one then");
                self.shared.no_batch_delete.store(true, Ordering::Relaxed);
                return self.delete_singly(paths).await;
            }
            Err(error) => return Err(failed(Operation::Delete, shown, self.bucket(), error)),
        };
        // An error for one object says nothing that its own deletion would not say better.
        let left: Vec<ObjectPath> = answer
            .errors()
            .iter()
            .filter(|error| error.code() != Some("NoSuchKey"))
            .filter_map(|error| self.path_of(error.key()?))
            .collect();
        self.delete_singly(&left).await
    }

    async fn delete_singly(&self, paths: &[ObjectPath]) -> Result<()> {
        let deletions = paths.iter().map(|path| async move {
            let key = self.key(Operation::Delete, path)?;
            let request = self.client().await.delete_object().bucket(self.bucket()).key(key);
            match request
                .send()
                .await
                .map_err(|e| failed(Operation::Delete, path.as_str(), self.bucket(), e))
            {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            }
        });
        let deletions: Vec<_> = deletions.collect();
        stream::iter(deletions).buffer_unordered(DELETES_AT_ONCE).try_collect().await
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.config.fmt(f)
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("S3");
        shown.field("config", &self.shared.config).field("tuning", &self.shared.tuning);
        shown.finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for S3 {
    async fn features(&self) -> Result<Features> {
        self.shared.features.get_or_try_init(|| self.probe()).await.copied()
    }

    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
        let key = self.key(Operation::Put, path)?;
        let condition = match mode {
            PutMode::Overwrite => false,
            PutMode::Create => {
                let conditional = self.features().await?.conditional_create;
                if !conditional && self.exists_already(path).await? {
                    let kind = ErrorKind::AlreadyExists;
                    return Err(Error::bare(kind, Operation::Put, path.as_str()));
                }
                conditional
            }
        };
        let size_bytes = self.upload(path, key, body, condition).await?;
        // S3 does not tell when it created the object; only asking does.
        let meta = self.head(path).await?;
        if meta.size_bytes != size_bytes && condition {
            let what = format!("of {size_bytes} bytes sent, {} are there", meta.size_bytes);
            return Err(odd_answer(Operation::Put, path.as_str(), &what));
        }
        Ok(meta)
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
        let nothing = |meta| Object { meta, body: stream::empty().boxed() };
        if range.is_empty() || range.start >= POSITION_MAX {
            return self.head_as(Operation::Get, path).await.map(nothing);
        }
        let key = self.key(Operation::Get, path)?;
        let mut request = self.client().await.get_object().bucket(self.bucket()).key(key);
        if range.end < POSITION_MAX {
            request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        } else if range.start > 0 {
            request = request.range(format!("bytes={}-", range.start));
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            // 416: the range starts at the end or beyond, of an empty object even at 0.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => {
                return self.head_as(Operation::Get, path).await.map(nothing);
            }
            Err(error) => return Err(failed(Operation::Get, path.as_str(), self.bucket(), error)),
        };
        let odd = |what: &str| odd_answer(Operation::Get, path.as_str(), what);
        let sent = sent_range(answer.content_range(), answer.content_length())
            .ok_or_else(|| odd("the answer does not tell its length"))?;
        let wanted = range.start..range.end.min(sent.size_bytes);
        if sent.range != wanted {
            let what = format!("bytes {wanted:?} were asked for and {:?} sent", sent.range);
            return Err(odd(&what));
        }
        let created =
            created(answer.last_modified()).ok_or_else(|| odd("it has no Last-Modified"))?;
        let meta = ObjectMeta { path: path.clone(), size_bytes: sent.size_bytes, created };
        Ok(Object { meta, body: whole(answer.body, wanted.end - wanted.start, path.clone()) })
    }

    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.head_as(Operation::Head, path).await
    }

    async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
        for batch in paths.chunks(DELETE_BATCH) {
            if batch.len() == 1 || self.shared.no_batch_delete.load(Ordering::Relaxed) {
                self.delete_singly(batch).await?;
            } else {
                self.delete_batch(batch).await?;
            }
        }
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(self.clone(), prefix, after)
    }
}

impl S3 {
    async fn head_as(&self, operation: Operation, path: &ObjectPath) -> Result<ObjectMeta> {
        let key = self.key(operation, path)?;
        let request = self.client().await.head_object().bucket(self.bucket()).key(key);
        let answer = request.send().await.map_err(|error| {
            let error = failed(Operation::Head, path.as_str(), self.bucket(), error);
            error.during(operation)
        })?;
        let odd = |what: &str| odd_answer(operation, path.as_str(), what);
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
        Ok(ObjectMeta {
            path: path.clone(),
            size_bytes: size.ok_or_else(|| odd("it has no Content-Length"))?,
            created: created(answer.last_modified())
                .ok_or_else(|| odd("it has no Last-Modified"))?,
        })
    }

    async fn exists_already(&self, path: &ObjectPath) -> Result<bool> {
        match self.head_as(Operation::Put, path).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn keys(id: &str, secret: &str) -> Credentials {
    Credentials::new(id, secret, None, None, "given to Larder")
}

/// What part of which whole an answer holds.
struct Sent {
    range: Range<u64>,
    size_bytes: u64,
}

/// From `bytes 0-9/100`, or without that from the length of the whole.
fn sent_range(content_range: Option<&str>, length: Option<i64>) -> Option<Sent> {
    let Some(text) = content_range else {
        let size_bytes = u64::try_from(length?).ok()?;
        return Some(Sent { range: 0..size_bytes, size_bytes });
    };
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some(Sent { range: first.parse().ok()?..end, size_bytes: size.parse().ok()? })
}

/// In whole seconds, as HTTP has it: some servers tell more in listings, and would contradict themselves.
fn created(time: Option<&DateTime>) -> Option<Timestamp> {
    Timestamp::from_second(time?.secs()).ok()
}

/// The body, which must have `expected` bytes; the SDK compares checksums where there are any.
fn whole(body: aws_sdk_s3::primitives::ByteStream, expected: u64, path: ObjectPath) -> ByteStream {
    let unavailable = |path: &ObjectPath, source| -> Error {
        let source: Box<dyn std::error::Error + Send + Sync> = source;
        Error::new(ErrorKind::Unavailable, Operation::Get, path.as_str(), source)
    };
    let pieces = stream::try_unfold((body, expected), move |(mut body, left)| {
        let path = path.clone();
        async move {
            match body.next().await {
                Some(Ok(bytes)) if bytes.len() as u64 <= left => {
                    let left = left - bytes.len() as u64;
                    Ok(Some((bytes, (body, left))))
                }
                Some(Ok(_)) => {
                    Err(unavailable(&path, "more bytes came than were announced".into()))
                }
                Some(Err(error)) => Err(unavailable(&path, Box::new(error))),
                None if left == 0 => Ok(None),
                None => {
                    Err(unavailable(&path, format!("the body ended {left} bytes too early").into()))
                }
            }
        }
    });
    pieces.boxed()
}
