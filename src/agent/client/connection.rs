//! One HTTP/1.1 connection with the runtime that drives it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Address, CONNECT_TIMEOUT, ClientError};
use crate::api::v1::DESCRIPTOR_PROTOCOL;
use crate::api::{Problem, ProblemCode};

/// At most so much is read from the socket at once.
const READ_BYTES: usize = 512 << 10;

/// What a request carries.
pub(super) type Body = Either<Full<Bytes>, Piped>;

/// A body that is at hand.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// A body that another thread writes.
#[derive(Debug)]
pub(super) struct Piped(pub(super) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Piped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    sender: SendRequest<Body>,
}

impl Connection {
    pub(super) fn open(address: &Address) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unreachable)?;
        let sender = runtime.block_on(async {
            let connecting = timeout(CONNECT_TIMEOUT, async {
                match address {
                    Address::Unix(path) => {
                        shake_hands(UnixStream::connect(path).await.map_err(unreachable)?).await
                    }
                    Address::Tcp(host) => {
                        let stream = TcpStream::connect(host).await.map_err(unreachable)?;
                        stream.set_nodelay(true).map_err(unreachable)?;
                        shake_hands(stream).await
                    }
                }
            });
            let late = io::Error::from(io::ErrorKind::TimedOut);
            connecting.await.unwrap_or_else(|_| Err(unreachable(late)))
        })?;
        Ok(Self { runtime, sender })
    }

    /// Whether it can carry one more request.
    pub(super) fn is_open(&mut self) -> bool {
        let sender = &mut self.sender;
        let ready = self.runtime.block_on(async {
            // Lets the runtime notice a close that has happened meanwhile: first it looks at the socket,
            // then the connection does.
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            timeout(Duration::from_secs(1), sender.ready()).await
        });
        matches!(ready, Ok(Ok(())))
    }

    /// Sends, and appends the answer's body to `into`; one that is no success becomes an error.
    pub(super) fn exchange(
        &mut self,
        request: Request<Body>,
        into: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ClientError> {
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let answer = sender.send_request(request).await.map_err(ClientError::Broken)?;
            receive(answer, into, limit).await
        })
    }

    /// Leaves HTTP for the descriptor protocol; `then` gets the bare socket, which must be a unix one.
    pub(super) fn upgrade<T, F: Future<Output = io::Result<T>>>(
        mut self,
        mut request: Request<()>,
        then: impl FnOnce(TokioIo<UnixStream>) -> F,
    ) -> Result<T, ClientError> {
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(DESCRIPTOR_PROTOCOL));
        let broken = |error: io::Error| ClientError::Protocol(error.to_string());
        self.runtime.block_on(async {
            let upgraded = timeout(ANSWER_TIMEOUT, async {
                let request = request.map(|()| full(Bytes::new()));
                let answer = self.sender.send_request(request).await?;
                hyper::upgrade::on(answer).await
            });
            let upgraded =
                upgraded.await.map_err(|_| ClientError::Timeout(ANSWER_TIMEOUT.as_secs()))?;
            let parts = upgraded
                .map_err(ClientError::Broken)?
                .downcast::<TokioIo<UnixStream>>()
                .map_err(|_| ClientError::Protocol("this is no unix socket".to_owned()))?;
            let then = timeout(CONNECT_TIMEOUT, then(parts.io)).await;
            then.map_err(|_| ClientError::Timeout(CONNECT_TIMEOUT.as_secs()))?.map_err(broken)
        })
    }
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Body>, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(READ_BYTES);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the connection to the daemon ended");
        }
    });
    Ok(sender)
}

async fn receive(
    answer: Response<Incoming>,
    into: &mut Vec<u8>,
    limit: usize,
) -> Result<(), ClientError> {
    let status = answer.status();
    let mut body = answer.into_body();
    let mut problem = Vec::new();
    let (target, limit) =
        if status.is_success() { (into, limit) } else { (&mut problem, 64 << 10) };
    loop {
        let frame = timeout(ANSWER_TIMEOUT, body.frame())
            .await
            .map_err(|_| ClientError::Timeout(ANSWER_TIMEOUT.as_secs()))?;
        let Some(frame) = frame else { break };
        if let Ok(data) = frame.map_err(ClientError::Broken)?.into_data() {
            if target.len() + data.len() > limit {
                return Err(ClientError::Protocol(format!(
                    "the answer is longer than {limit} bytes"
                )));
            }
            target.extend_from_slice(&data);
        }
    }
    if status.is_success() {
        return Ok(());
    }
    Err(ClientError::Refused(serde_json::from_slice(&problem).unwrap_or_else(|_| Problem {
        code: ProblemCode::Internal,
        detail: format!("the Larder daemon answered {status}"),
    })))
}
