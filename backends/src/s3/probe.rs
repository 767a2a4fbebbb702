//! Whether the server honours `If-None-Match: *`, found out by creating an object twice.

use aws_sdk_s3::primitives::ByteStream;

use super::S3;
use super::error::{failed, is_unsupported};
use crate::{ErrorKind, Features, ObjectPath, Operation, Result};

/// Under the prefix, since the credentials may allow nothing else.
const FOLDER: &str = ".larder-probe";

impl S3 {
    pub(super) async fn probe(&self) -> Result<Features> {
        let path = ObjectPath::parse(format!("{FOLDER}/{:016x}", fastrand::u64(..)));
        let path = path.expect("a constant and a number are a path");
        let key = self.key(Operation::Features, &path)?;
        let first = self.create_probe(&path, &key).await?;
        let conditional_create = match first {
            Some(true) => self.create_probe(&path, &key).await? == Some(false),
            // Nothing can be there already, so a refusal means that the header is not understood.
            _ => false,
        };
        self.delete_singly(&[path]).await?;
        tracing::debug!(backend = %self, conditional_create, "probed");
        Ok(Features { conditional_create })
    }

    /// Whether it was created; `None` when the server does not know the condition.
    async fn create_probe(&self, path: &ObjectPath, key: &str) -> Result<Option<bool>> {
        let body = ByteStream::from_static(b"Larder asks what this server can. Safe to delete.\n");
        let put = self.client().await.put_object().bucket(self.bucket()).key(key).body(body);
        match put.if_none_match("*").send().await {
            Ok(_) => Ok(Some(true)),
            Err(error) if is_unsupported(&error) => Ok(None),
            Err(error) => {
                let error = failed(Operation::Features, path.as_str(), self.bucket(), error);
                if error.kind() == ErrorKind::AlreadyExists { Ok(Some(false)) } else { Err(error) }
            }
        }
    }
}
