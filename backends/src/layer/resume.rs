//! Takes a body or a listing up again where it broke, for [`Retry`](super::Retry).

use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::Policy;
use crate::{
    Backend, ByteStream, Error, ErrorKind, Object, ObjectMeta, ObjectPath, Operation, Result,
};

/// An object of which `left` has not yet been read.
pub(super) struct Reading {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) policy: Policy,
    pub(super) meta: ObjectMeta,
    pub(super) left: Range<u64>,
    pub(super) resumes: u32,
}

impl Reading {
    pub(super) fn resuming(self, body: ByteStream) -> ByteStream {
        let pieces = stream::try_unfold((self, body), |(mut this, mut body)| async move {
            loop {
                match body.next().await {
                    None => return Ok(None),
                    Some(Ok(bytes)) => {
                        this.left.start += bytes.len() as u64;
                        return Ok(Some((bytes, (this, body))));
                    }
                    Some(Err(error)) => body = this.resume(error).await?,
                }
            }
        });
        pieces.boxed()
    }

    async fn resume(&mut self, mut error: Error) -> Result<ByteStream> {
        while error.is_retryable() && self.resumes < self.policy.resumes_max {
            tracing::debug!(error = error.chain(), at = self.left.start, "resuming a read");
            self.policy.pause(self.resumes).await;
            self.resumes += 1;
            match self.inner.get(&self.meta.path, self.left.clone()).await {
                Ok(Object { meta, body }) if meta == self.meta => return Ok(body),
                Ok(_) => return Err(self.replaced()),
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    fn replaced(&self) -> Error {
        let source = "the object was replaced while it was being read";
        Error::new(ErrorKind::Other, Operation::Get, self.meta.path.as_str(), source)
    }
}

/// What was asked for, and after which object it goes on.
pub(super) struct Listing {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) policy: Policy,
    pub(super) prefix: String,
    pub(super) after: Option<ObjectPath>,
    pub(super) resumes: u32,
}

type Metas = BoxStream<'static, Result<ObjectMeta>>;

impl Listing {
    pub(super) fn resuming(self, list: Metas) -> Metas {
        let metas = stream::try_unfold((self, list), |(mut this, mut list)| async move {
            loop {
                match list.try_next().await {
                    Ok(None) => return Ok(None),
                    Ok(Some(meta)) => {
                        this.after = Some(meta.path.clone());
                        return Ok(Some((meta, (this, list))));
                    }
                    Err(error) => list = this.resume(error).await?,
                }
            }
        });
        metas.boxed()
    }

    async fn resume(&mut self, error: Error) -> Result<Metas> {
        if !error.is_retryable() || self.resumes >= self.policy.resumes_max {
            return Err(error);
        }
        tracing::debug!(error = error.chain(), prefix = self.prefix, "resuming a listing");
        self.policy.pause(self.resumes).await;
        self.resumes += 1;
        Ok(self.inner.list(&self.prefix, self.after.as_ref()))
    }
}
