//! Packs and manifests, to the host and from it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use http_body_util::BodyExt;

use super::error::Refusal;
use super::extract::Named;
use super::range::{Span, requested};
use crate::api::ProblemCode;
use crate::api::v1::{StoredBlob, VerifiedBlob};
use crate::disk::Blob;
use crate::model::{Digest, Manifest, PackRef, Project};
use crate::ops::{BlobKind, Larder, RemoteBlob, Source};

/// A sender that is silent for so long has gone.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// What is read from a file and handed to the socket at once.
const READ_BYTES: u64 = 512 << 10;
/// What is fetched at once from the backend for a blob that the host has no room for.
const THROUGH_BYTES: u64 = 4 << 20;

/// Store a pack.
#[utoipa::path(post, path = "/v1/projects/{project}/packs", params(("project" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = StoredBlob), (status = "default", body = crate::api::Problem)))]
pub(super) async fn store_pack(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    request: Request,
) -> Result<(StatusCode, Json<StoredBlob>), Refusal> {
    store(&state, &project, BlobKind::Pack, request, PackRef::DATA_BYTES_MAX).await
}

/// Store a manifest.
#[utoipa::path(post, path = "/v1/projects/{project}/manifests", params(("project" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = StoredBlob), (status = "default", body = crate::api::Problem)))]
pub(super) async fn store_manifest(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    request: Request,
) -> Result<(StatusCode, Json<StoredBlob>), Refusal> {
    store(&state, &project, BlobKind::Manifest, request, Manifest::BYTES_MAX).await
}

async fn store(
    state: &super::State,
    project: &Project,
    kind: BlobKind,
    request: Request,
    limit_bytes: u64,
) -> Result<(StatusCode, Json<StoredBlob>), Refusal> {
    let mut body = request.into_body();
    let mut storing = state.larder.store(project, kind);
    let mut size_bytes = 0;
    loop {
        let frame = tokio::time::timeout(STALL_TIMEOUT, body.frame()).await.map_err(|_| {
            let detail = format!("no bytes came for {} seconds", STALL_TIMEOUT.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, ProblemCode::Invalid, detail)
        })?;
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size_bytes += data.len() as u64;
        if size_bytes > limit_bytes {
            let detail = format!("the body is longer than {limit_bytes} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::Invalid, detail));
        }
        storing.write(data).await?;
    }
    let (digest, size_bytes) = storing.finish().await?;
    Ok((StatusCode::CREATED, Json(StoredBlob { digest, size_bytes })))
}

/// Read a pack, or a range of it.
#[utoipa::path(get, path = "/v1/projects/{project}/packs/{digest}",
    params(("project" = String, Path), ("digest" = String, Path), ("range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 206, content_type = "application/octet-stream"),
    (status = "default", body = crate::api::Problem)))]
pub(super) async fn read_pack(
    State(state): State<super::State>,
    Named((project, digest)): Named<(Project, Digest)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let source = state.larder.open_blob(&project, BlobKind::Pack, &digest).await?;
    answer(state.larder, source, &digest, &headers)
}

/// Read a manifest, or a range of it.
#[utoipa::path(get, path = "/v1/projects/{project}/manifests/{digest}",
    params(("project" = String, Path), ("digest" = String, Path), ("range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 206, content_type = "application/octet-stream"),
    (status = "default", body = crate::api::Problem)))]
pub(super) async fn read_manifest(
    State(state): State<super::State>,
    Named((project, digest)): Named<(Project, Digest)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let source = state.larder.open_blob(&project, BlobKind::Manifest, &digest).await?;
    answer(state.larder, source, &digest, &headers)
}

/// Have the host read a pack anew that was found wrong, and replace it if it is.
#[utoipa::path(post, path = "/v1/projects/{project}/packs/{digest}/verify",
    params(("project" = String, Path), ("digest" = String, Path)),
    responses((status = 200, body = VerifiedBlob), (status = "default", body = crate::api::Problem)))]
pub(super) async fn verify_pack(
    State(state): State<super::State>,
    Named((project, digest)): Named<(Project, Digest)>,
) -> Result<Json<VerifiedBlob>, Refusal> {
    Ok(Json(VerifiedBlob { intact: state.larder.verify_pack(&project, &digest).await? }))
}

fn answer(
    larder: Larder,
    source: Source,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let size = source.size_bytes();
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, span) = match requested(range, size) {
        Span::Whole => (StatusCode::OK, 0..size),
        Span::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Span::Beyond => {
            let detail = format!("the blob has {size} bytes");
            return Err(Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                ProblemCode::Invalid,
                detail,
            ));
        }
    };
    let length = span.end - span.start;
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_LENGTH, length)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{digest}\""));
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{size}", span.start, span.end - 1);
        response = response.header(header::CONTENT_RANGE, value);
    }
    let body = match source {
        Source::Host(blob) => host_body(Arc::new(blob), span),
        Source::Backend(blob) => backend_body(larder, blob, span),
    };
    Ok(response.body(body).map_err(Refusal::invalid)?.into_response())
}

fn host_body(blob: Arc<Blob>, span: Range<u64>) -> Body {
    Body::from_stream(try_unfold((blob, span), |(blob, span)| async move {
        if span.is_empty() {
            return Ok(None);
        }
        let bytes = read(&blob, &span).await?;
        let rest = span.start + bytes.len() as u64..span.end;
        Ok::<_, io::Error>(Some((bytes, (blob, rest))))
    }))
}

fn backend_body(larder: Larder, blob: Arc<RemoteBlob>, span: Range<u64>) -> Body {
    Body::from_stream(try_unfold((larder, blob, span), |(larder, blob, span)| async move {
        if span.is_empty() {
            return Ok(None);
        }
        let end = span.end.min(span.start + THROUGH_BYTES);
        let bytes = larder.read_remote(&blob, span.start..end).await.map_err(io::Error::other)?;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let rest = span.start + bytes.len() as u64..span.end;
        Ok(Some((bytes, (larder, blob, rest))))
    }))
}

/// The next piece of the span: at once when the kernel has it in memory, else from another thread, so
/// that a slow disk holds up nobody else.
async fn read(blob: &Arc<Blob>, span: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(READ_BYTES.min(span.end - span.start)).expect("it is small");
    let mut buffer = vec![0; length];
    let slices = &mut [io::IoSliceMut::new(&mut buffer)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    let mut read = rustix::io::preadv2(&blob.file, slices, span.start, flags).unwrap_or(0);
    if read == 0 {
        let (blob, start) = (blob.clone(), span.start);
        let reading = tokio::task::spawn_blocking(move || {
            let read = std::os::unix::fs::FileExt::read_at(blob.file.file(), &mut buffer, start);
            read.map(|read| (buffer, read))
        });
        (buffer, read) = reading.await.map_err(io::Error::other)??;
    }
    if read == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the blob became shorter while it was read",
        ));
    }
    buffer.truncate(read);
    Ok(buffer.into())
}
