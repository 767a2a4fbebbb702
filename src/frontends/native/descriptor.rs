//! A pack's file, handed over open: a job on this host reads it by itself, whoever it runs as, and in a
//! container too, where the socket is mounted. Half of the work of a restore through the socket is copying.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use super::error::Refusal;
use super::extract::Named;
use crate::api::ProblemCode;
use crate::api::v1::DESCRIPTOR_PROTOCOL;
use crate::disk::Blob;
use crate::frontends::serve::Transport;
use crate::frontends::stall::Stall;
use crate::model::{Digest, Project};
use crate::ops::{BlobKind, Source};

/// How long a caller may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Be handed the file of a pack, open for reading, over a unix socket.
///
/// Answered with 101. Then the caller writes one byte, and one byte comes back with the descriptor
/// (`SCM_RIGHTS`); the connection ends. The bytes of the file are to be verified like any others.
#[utoipa::path(get, path = "/v1/projects/{project}/packs/{digest}/descriptor",
    params(("project" = String, Path), ("digest" = String, Path)),
    responses((status = 101), (status = 426, description = "not a unix socket, or no upgrade asked for"),
    (status = "default", body = crate::api::Problem)))]
pub(super) async fn hand_over_pack(
    State(state): State<super::State>,
    Extension(transport): Extension<Transport>,
    Named((project, digest)): Named<(Project, Digest)>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let asked = request.headers().get(header::UPGRADE);
    if transport != Transport::Unix || asked.is_none_or(|asked| asked != DESCRIPTOR_PROTOCOL) {
        let detail =
            format!("a descriptor needs a unix socket and `Upgrade: {DESCRIPTOR_PROTOCOL}`");
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, ProblemCode::Invalid, detail));
    }
    let source = state.larder.open_blob(&project, BlobKind::Pack, &digest).await?;
    let Source::Host(blob) = source else {
        let detail = "the host has no room for the pack: read it through the daemon";
        return Err(Refusal::new(StatusCode::CONFLICT, ProblemCode::Full, detail));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let sent = match upgrade.await {
            Ok(upgraded) => send(upgraded, &blob).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a descriptor was not handed over");
        }
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(DESCRIPTOR_PROTOCOL));
    Ok(response)
}

/// The caller's byte comes first: a descriptor that arrives while it still reads the answer as mere bytes
/// would be lost.
async fn send(upgraded: Upgraded, blob: &Blob) -> io::Result<()> {
    let parts = upgraded
        .downcast::<TokioIo<Stall<UnixStream>>>()
        .map_err(|_| io::Error::other("the connection is of another kind"))?;
    let mut stream = parts.io.into_inner().into_inner();
    if parts.read_buf.is_empty() {
        tokio::time::timeout(READY_TIMEOUT, stream.read_u8()).await??;
    }
    let descriptors = [blob.file.as_fd()];
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            message.push(SendAncillaryMessage::ScmRights(&descriptors));
            let byte = [io::IoSlice::new(&[1])];
            Ok(sendmsg(&stream, &byte, &mut message, SendFlags::NOSIGNAL).map(drop)?)
        })
        .await
}
