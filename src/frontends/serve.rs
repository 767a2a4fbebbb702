//! Listening: sockets, limits on connections and headers, and an end that lets requests finish.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::stall::Stall;

/// Connections at once; a host has fewer jobs, and each job few threads.
const CONNECTIONS_MAX: u32 = 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEADERS_MAX: usize = 64;
/// A caller that takes no bytes for so long has gone.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes of a request's head; also what is read from a socket at once.
const BUFFER_BYTES: usize = 512 << 10;
/// Who may use the socket besides its owner.
const SOCKET_MODE: u32 = 0o660;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// With its path, which is removed when this is dropped.
    Unix(UnixListener, SocketFile),
    /// On loopback.
    Tcp(TcpListener),
}

/// The file of a unix socket; removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(&self.0) {
            tracing::debug!(%error, "the socket was gone before its daemon");
        }
    }
}

/// A socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Anybody on the network could read and write caches.
    #[error(
        "will not listen on {0}: only loopback addresses are allowed as long as callers are not authenticated; use 127.0.0.1 or a unix socket"
    )]
    NotLoopback(SocketAddr),
    /// Another daemon is alive.
    #[error("another daemon listens on `{}`: stop it, or choose another socket with --socket", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is in the way, and is left alone.
    #[error("`{}` is not a socket and is in the way: move it, or choose another path with --socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on `{address}`")]
    Io {
        /// On what.
        address: String,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Binds a unix socket. One that a dead daemon left is replaced.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let fault = |source| ListenError::Io { address: path.display().to_string(), source };
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent).map_err(fault)?;
        }
        if let Ok(there) = fs_err::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(ListenError::InUse(path.to_owned()));
            }
            fs_err::remove_file(path).map_err(fault)?;
        }
        let listener = UnixListener::bind(path).map_err(fault)?;
        let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
        fs_err::set_permissions(path, mode).map_err(fault)?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    /// Binds a port on loopback.
    pub async fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        if !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback(address));
        }
        let bound = TcpListener::bind(address).await;
        bound
            .map(Self::Tcp)
            .map_err(|source| ListenError::Io { address: address.to_string(), source })
    }

    /// As `LARDER_URL` says it.
    pub fn url(&self) -> String {
        match self {
            Self::Unix(_, SocketFile(path)) => format!("unix:{}", path.display()),
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}"),
                Err(error) => format!("http://? ({error})"),
            },
        }
    }
}

/// Serves until `stop` changes; then takes no more connections, lets requests under way end, and
/// returns when they have, or after `drain`.
pub async fn serve(
    listener: Listener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let transport = match listener {
        Listener::Unix(..) => Transport::Unix,
        Listener::Tcp(_) => Transport::Tcp,
    };
    let router = router.layer(Extension(transport));
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = stopped(&mut stop) => break,
        };
        tokio::select! {
            accepted = accept(&listener) => match accepted {
                Ok(Stream::Unix(stream)) => attend(stream, &router, stop.clone(), permit),
                Ok(Stream::Tcp(stream)) => attend(stream, &router, stop.clone(), permit),
                Err(error) => {
                    // Out of file descriptors, mostly: the connections at hand will give some back.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let all_ended = room.acquire_many(CONNECTIONS_MAX);
    if tokio::time::timeout(drain, all_ended).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

/// Ends when `stop` says so, or nobody is left who could.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _nobody_left = stop.wait_for(|stop| *stop).await.is_err();
}

/// How a request came, for handlers that do more for callers on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Unix,
    Tcp,
}

enum Stream {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Unix(listener, _) => {
            listener.accept().await.map(|(stream, _)| Stream::Unix(stream))
        }
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
    }
}

fn attend<S>(
    stream: S,
    router: &Router,
    mut stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stall::new(stream, STALL_TIMEOUT)), service)
        .with_upgrades();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
        drop(permit);
    });
}
