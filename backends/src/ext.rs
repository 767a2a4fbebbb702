//! Convenience over [`Backend`]; nothing here is ever implemented by hand.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::{Backend, Error, ErrorKind, ObjectPath, Operation, Result};

/// What callers would otherwise write again and again.
#[async_trait]
pub trait BackendExt: Backend {
    /// The whole object. More than `limit_bytes` is `TooLarge`, before more than that was read.
    async fn get_bytes(&self, path: &ObjectPath, limit_bytes: u64) -> Result<Bytes>;

    /// Whether there is an object.
    async fn exists(&self, path: &ObjectPath) -> Result<bool>;
}

/// Why [`BackendExt::get_bytes`] refuses.
#[derive(Debug, thiserror::Error)]
#[error("it has {size_bytes} bytes, at most {limit_bytes} are allowed here")]
struct OverLimit {
    size_bytes: u64,
    limit_bytes: u64,
}

#[async_trait]
impl<B: Backend + ?Sized> BackendExt for B {
    async fn get_bytes(&self, path: &ObjectPath, limit_bytes: u64) -> Result<Bytes> {
        let too_large = |size_bytes| {
            let source = OverLimit { size_bytes, limit_bytes };
            Error::new(ErrorKind::TooLarge, Operation::Get, path.as_str(), source)
        };
        let mut object = self.get(path, 0..limit_bytes).await?;
        if object.meta.size_bytes > limit_bytes {
            return Err(too_large(object.meta.size_bytes));
        }
        let Some(first) = object.body.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        if first.len() as u64 == object.meta.size_bytes {
            return Ok(first);
        }
        let mut whole = BytesMut::from(first);
        while let Some(bytes) = object.body.next().await.transpose()? {
            whole.extend_from_slice(&bytes);
            if whole.len() as u64 > limit_bytes {
                return Err(too_large(whole.len() as u64));
            }
        }
        Ok(whole.freeze())
    }

    async fn exists(&self, path: &ObjectPath) -> Result<bool> {
        match self.head(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
