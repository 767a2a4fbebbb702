//! How a body gets into the bucket: small ones in one request, larger ones in parts.
//!
//! Whole parts are held in memory, so that a failed request can be sent again: at most
//! `parts_at_once` and the one being filled.

use std::collections::VecDeque;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::S3;
use super::error::{failed, is_conflict, odd_answer};
use crate::{Body, ByteStream, Error, ErrorKind, ObjectPath, Operation, Result};

/// S3's limit.
const PARTS_MAX: u64 = 10_000;

impl S3 {
    /// Stores the body under `key`, with `condition` only where there is nothing. Its length.
    pub(super) async fn upload(
        &self,
        path: &ObjectPath,
        key: String,
        body: Body,
        condition: bool,
    ) -> Result<u64> {
        let part_bytes = self.part_bytes(body.len_bytes());
        let mut parts = Parts::new(body.into_stream(path), part_bytes);
        let first = parts.next().await?.unwrap_or_default();
        let job = Job { s3: self, path, key, condition };
        if parts.is_last(&first).await? {
            let len = first.len() as u64;
            job.put(first).await?;
            return Ok(len);
        }
        let upload = Multipart::begin(&job).await?;
        let sent = upload.send(&job, first, &mut parts).await;
        let done = match sent {
            Ok((parts, len)) => upload.complete(&job, parts).await.map(|()| len),
            Err(error) => Err(error),
        };
        upload.end(done).await
    }

    fn part_bytes(&self, len_bytes: Option<u64>) -> usize {
        let needed = len_bytes.unwrap_or_default().div_ceil(PARTS_MAX);
        usize::try_from(needed).unwrap_or(usize::MAX).max(self.shared.tuning.part_bytes)
    }

    /// 409: somebody else is creating the same object at this moment. Whether they did is to be seen.
    async fn after_conflict(&self, path: &ObjectPath, error: Error) -> Error {
        match self.exists_already(path).await {
            Ok(true) => Error::bare(ErrorKind::AlreadyExists, Operation::Put, path.as_str()),
            Ok(false) => Error::new(ErrorKind::Unavailable, Operation::Put, path.as_str(), error),
            Err(error) => error,
        }
    }
}

/// One `put`.
struct Job<'a> {
    s3: &'a S3,
    path: &'a ObjectPath,
    key: String,
    condition: bool,
}

impl Job<'_> {
    fn if_none_match(&self) -> Option<String> {
        self.condition.then(|| "*".to_owned())
    }

    fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> Error
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        failed(Operation::Put, self.path.as_str(), self.s3.bucket(), error)
    }

    async fn put(&self, bytes: Bytes) -> Result<()> {
        let request = self.s3.client().await.put_object().bucket(self.s3.bucket()).key(&self.key);
        let request = request.body(SdkBody::from(bytes).into());
        match request.set_if_none_match(self.if_none_match()).send().await {
            Ok(answer) if answer.e_tag().is_some() => Ok(()),
            Ok(_) => Err(odd_answer(Operation::Put, self.path.as_str(), "the answer has no ETag")),
            Err(error) => Err(self.refused(error).await),
        }
    }

    async fn refused(&self, error: SdkError<PutObjectError, HttpResponse>) -> Error {
        let conflict = self.condition && is_conflict(&error);
        let error = self.failed(error);
        if conflict { self.s3.after_conflict(self.path, error).await } else { error }
    }
}

/// A body cut into parts of one size, the last excepted.
struct Parts {
    stream: ByteStream,
    part_bytes: usize,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
}

impl Parts {
    fn new(stream: ByteStream, part_bytes: usize) -> Self {
        Self { stream, part_bytes, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    /// Whether nothing comes after `part`.
    async fn is_last(&mut self, part: &Bytes) -> Result<bool> {
        if part.len() < self.part_bytes {
            return Ok(true);
        }
        while self.waiting_bytes == 0 {
            let Some(bytes) = self.stream.try_next().await? else { return Ok(true) };
            self.wait(bytes);
        }
        Ok(false)
    }

    fn wait(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.waiting_bytes < self.part_bytes {
            match self.stream.try_next().await? {
                Some(bytes) => self.wait(bytes),
                None => break,
            }
        }
        let len = self.waiting_bytes.min(self.part_bytes);
        self.waiting_bytes -= len;
        if len == 0 {
            return Ok(None);
        }
        // Without copying when one piece holds it all.
        match self.waiting.front_mut() {
            Some(front) if front.len() > len => return Ok(Some(front.split_to(len))),
            Some(front) if front.len() == len => return Ok(self.waiting.pop_front()),
            _ => {}
        }
        let mut part = BytesMut::with_capacity(len);
        while part.len() < len {
            let mut front = self.waiting.pop_front().expect("as many bytes wait as were counted");
            let rest = front.split_off(front.len().min(len - part.len()));
            part.extend_from_slice(&front);
            if !rest.is_empty() {
                self.waiting.push_front(rest);
            }
        }
        Ok(Some(part.freeze()))
    }
}

/// An upload under way; dropped before its end, it is aborted.
struct Multipart {
    client: Client,
    bucket: String,
    key: String,
    id: String,
    ended: bool,
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let abandoned = Self {
            client: self.client.clone(),
            bucket: std::mem::take(&mut self.bucket),
            key: std::mem::take(&mut self.key),
            id: std::mem::take(&mut self.id),
            ended: true,
        };
        // Outside a runtime nothing can be sent; the bucket's rule for incomplete uploads has to do.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { abandoned.abort().await });
        }
    }
}

impl Multipart {
    async fn begin(job: &Job<'_>) -> Result<Self> {
        let client = job.s3.client().await.clone();
        let bucket = job.s3.bucket().to_owned();
        let begin = client.create_multipart_upload().bucket(&bucket).key(&job.key);
        let answer = begin.send().await.map_err(|error| job.failed(error))?;
        let id = answer.upload_id().ok_or_else(|| {
            odd_answer(Operation::Put, job.path.as_str(), "the answer has no upload id")
        })?;
        Ok(Self { id: id.to_owned(), client, bucket, key: job.key.clone(), ended: false })
    }

    /// All parts, several at once, and how many bytes they have.
    async fn send(
        &self,
        job: &Job<'_>,
        first: Bytes,
        parts: &mut Parts,
    ) -> Result<(Vec<CompletedPart>, u64)> {
        let (mut sending, mut sent) = (FuturesUnordered::new(), Vec::new());
        let (mut next, mut len) = (Some(first), 0);
        let mut number = 0;
        while let Some(part) = next {
            number += 1;
            if u64::try_from(number).is_ok_and(|number| number > PARTS_MAX) {
                let source = format!(
                    "S3 takes at most {PARTS_MAX} parts, here of {} bytes: announce the body's length, \
                     and the parts become larger",
                    parts.part_bytes
                );
                return Err(Error::new(ErrorKind::Body, Operation::Put, job.path.as_str(), source));
            }
            len += part.len() as u64;
            sending.push(self.part(job, number, part));
            if sending.len() >= job.s3.shared.tuning.parts_at_once.max(1) {
                sent.extend(sending.next().await.transpose()?);
            }
            // What is under way goes on while the body gives the next part.
            let mut filling = std::pin::pin!(parts.next());
            next = loop {
                tokio::select! {
                    biased;
                    part = &mut filling => break part?,
                    Some(done) = sending.next(), if !sending.is_empty() => sent.push(done?),
                }
            };
        }
        while let Some(done) = sending.next().await {
            sent.push(done?);
        }
        sent.sort_unstable_by_key(CompletedPart::part_number);
        Ok((sent, len))
    }

    async fn part(&self, job: &Job<'_>, number: i32, bytes: Bytes) -> Result<CompletedPart> {
        let request = self.client.upload_part().bucket(&self.bucket).key(&self.key);
        let request = request.upload_id(&self.id).part_number(number);
        let answer = request.body(SdkBody::from(bytes).into()).send().await;
        let answer = answer.map_err(|error| job.failed(error))?;
        // Where the server keeps checksums, it wants to see them again at the end.
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme);
        Ok(part.build())
    }

    async fn complete(&self, job: &Job<'_>, parts: Vec<CompletedPart>) -> Result<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key);
        let request = request.upload_id(&self.id).multipart_upload(parts);
        match request.set_if_none_match(job.if_none_match()).send().await {
            Ok(answer) if answer.e_tag().is_some() => Ok(()),
            Ok(_) => Err(odd_answer(Operation::Put, job.path.as_str(), "the answer has no ETag")),
            Err(error) => {
                let conflict = job.condition && is_conflict(&error);
                let error = job.failed(error);
                Err(if conflict { job.s3.after_conflict(job.path, error).await } else { error })
            }
        }
    }

    /// Aborts what failed before it says so.
    async fn end<T>(mut self, done: Result<T>) -> Result<T> {
        if done.is_err() {
            self.abort().await;
        }
        self.ended = true;
        done
    }

    async fn abort(&self) {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key);
        if let Err(error) = request.upload_id(&self.id).send().await {
            tracing::warn!(key = self.key, %error, "parts of an upload stay in the bucket");
        }
    }
}
