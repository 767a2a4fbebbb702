//! The honest fake: everything in memory, gone with the value, and nothing weaker than the contract.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::{
    Backend, Body, Error, ErrorKind, Features, Object, ObjectMeta, ObjectPath, Operation, PutMode,
    Result,
};

/// How many objects a listing takes under the lock at once.
const PAGE_OBJECTS: usize = 1000;

/// Objects in memory. Clones share them.
#[derive(Clone, Default)]
pub struct Memory {
    objects: Arc<Mutex<Objects>>,
}

type Objects = BTreeMap<ObjectPath, Stored>;

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    created: Timestamp,
}

impl Stored {
    fn meta(&self, path: &ObjectPath) -> ObjectMeta {
        let size_bytes = self.bytes.len() as u64;
        ObjectMeta { path: path.clone(), size_bytes, created: self.created }
    }
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("nobody panics while holding the lock")
    }

    fn find(&self, operation: Operation, path: &ObjectPath) -> Result<Stored> {
        let found = self.objects().get(path).cloned();
        found.ok_or_else(|| Error::bare(ErrorKind::NotFound, operation, path.as_str()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("objects", &self.objects().len()).finish()
    }
}

#[async_trait]
impl Backend for Memory {
    async fn features(&self) -> Result<Features> {
        Ok(Features { conditional_create: true })
    }

    async fn put(&self, path: &ObjectPath, body: Body, mode: PutMode) -> Result<ObjectMeta> {
        let mut parts = body.into_stream(path);
        let mut bytes = BytesMut::new();
        while let Some(part) = parts.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        let mut objects = self.objects();
        if let Some(other) = overlapping(&objects, path) {
            let source = format!("`{other}` exists, and one of the two would have to be a folder");
            return Err(Error::new(ErrorKind::Other, Operation::Put, path.as_str(), source));
        }
        if mode == PutMode::Create && objects.contains_key(path) {
            return Err(Error::bare(ErrorKind::AlreadyExists, Operation::Put, path.as_str()));
        }
        let stored = Stored { bytes: bytes.freeze(), created: Timestamp::now() };
        let meta = stored.meta(path);
        objects.insert(path.clone(), stored);
        Ok(meta)
    }

    async fn get(&self, path: &ObjectPath, range: Range<u64>) -> Result<Object> {
        let stored = self.find(Operation::Get, path)?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(stored.bytes.len());
        let (start, end) = (clamp(range.start), clamp(range.end));
        let bytes = stored.bytes.slice(start..end.max(start));
        let body = stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed();
        Ok(Object { meta: stored.meta(path), body })
    }

    async fn head(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        Ok(self.find(Operation::Head, path)?.meta(path))
    }

    async fn delete(&self, paths: &[ObjectPath]) -> Result<()> {
        let mut objects = self.objects();
        for path in paths {
            objects.remove(path);
        }
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix, after) = (self.clone(), prefix.to_owned(), after.cloned());
        stream::unfold(Some(after), move |after| {
            let page = after.map(|after| page(&this.objects(), &prefix, after.as_ref()));
            async move {
                let page = page?;
                let next =
                    (page.len() == PAGE_OBJECTS).then(|| page.last().map(|meta| meta.path.clone()));
                Some((stream::iter(page.into_iter().map(Ok)), next))
            }
        })
        .flatten()
        .boxed()
    }
}

fn page(objects: &Objects, prefix: &str, after: Option<&ObjectPath>) -> Vec<ObjectMeta> {
    let start = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    };
    objects
        .range::<str, _>((start, Bound::Unbounded))
        .take_while(|(path, _)| path.as_str().starts_with(prefix))
        .take(PAGE_OBJECTS)
        .map(|(path, stored)| stored.meta(path))
        .collect()
}

/// The object that `path` would lie under, or one that would lie under `path`.
fn overlapping(objects: &Objects, path: &ObjectPath) -> Option<ObjectPath> {
    let text = path.as_str();
    let above = text
        .match_indices('/')
        .find_map(|(at, _)| objects.get_key_value(&text[..at]).map(|(other, _)| other.clone()));
    let folder = format!("{text}/");
    let below = || objects.range::<str, _>((Bound::Excluded(folder.as_str()), Bound::Unbounded));
    above.or_else(|| {
        below().next().map(|(other, _)| other).filter(|o| o.as_str().starts_with(&folder)).cloned()
    })
}
