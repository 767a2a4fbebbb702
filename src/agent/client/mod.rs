//! The daemon's native API, for threads: every call blocks. Connections are kept and used by one
//! caller at a time, each with its own small runtime, so that bytes never change threads on their way.

mod connection;
mod depot;
mod error;
mod local;
mod upload;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::v1;
use crate::model::{Digest, Manifest, Project};
use connection::{Body, Connection, full};
pub use error::ClientError;
use local::LocalPacks;

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "http://{host}"),
        }
    }
}

/// How long a connection may take to come about; the daemon is on this host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The daemon closes connections that were idle for longer (10 seconds); walking a tree may take minutes.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take to begin or to go on. The daemon may have to ask a distant backend.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// Longer answers that are not packs are refused.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A daemon, as one project sees it.
#[derive(Debug)]
pub struct Client {
    address: Address,
    project: Project,
    /// Since when.
    idle: Mutex<Vec<(Instant, Connection)>>,
    local: LocalPacks,
}

impl Client {
    /// Does not connect yet.
    pub fn new(address: Address, project: Project) -> Self {
        Self { address, project, idle: Mutex::default(), local: LocalPacks::default() }
    }

    /// Where the daemon is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The project that it is asked about.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Is there a cache by exactly this key?
    pub fn find_cache(&self, key: &str) -> Result<v1::FoundCache, ClientError> {
        self.post(&self.path("caches/find"), &v1::FindCache { key: key.to_owned() })
    }

    /// Which cache do these keys name?
    pub fn restore_cache(&self, keys: &[String]) -> Result<v1::FoundCache, ClientError> {
        self.post(&self.path("caches/restore"), &v1::RestoreCache { keys: keys.to_vec() })
    }

    /// Gives a manifest a key.
    pub fn save_cache(&self, save: &v1::SaveCache) -> Result<v1::SavedCache, ClientError> {
        self.post(&self.path("caches/save"), save)
    }

    /// Stores a manifest.
    pub fn store_manifest(&self, manifest: &Manifest) -> Result<Digest, ClientError> {
        let body = full(manifest.encode());
        let stored: v1::StoredBlob =
            self.json(Method::POST, &self.path("manifests"), "application/octet-stream", body)?;
        Ok(stored.digest)
    }

    /// Reads a manifest and checks it against its digest.
    pub fn manifest(&self, digest: &Digest) -> Result<Manifest, ClientError> {
        let path = self.path(&format!("manifests/{digest}"));
        let limit = usize::try_from(Manifest::BYTES_MAX).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        self.call(&self.request(Method::GET, &path, None)?, full(Vec::new()), &mut bytes, limit)?;
        if Digest::of(&bytes) != *digest {
            return Err(ClientError::Protocol(format!(
                "the manifest {digest} arrived with wrong bytes"
            )));
        }
        Manifest::decode(&bytes)
            .map_err(|error| ClientError::Protocol(format!("manifest {digest}: {error}")))
    }

    /// How the daemon is.
    pub fn status(&self) -> Result<v1::Status, ClientError> {
        self.json(Method::GET, "/v1/status", "application/json", full(Vec::new()))
    }

    /// Waits up to so many seconds for the outbox to be empty, and says how it stands.
    pub fn flush(&self, wait_secs: u64) -> Result<v1::Outbox, ClientError> {
        self.post("/v1/flush", &v1::Flush { wait_secs })
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/projects/{}/{rest}", self.project)
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("wire types are plain data");
        self.json(Method::POST, path, "application/json", full(body))
    }

    fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Body,
    ) -> Result<T, ClientError> {
        let mut request = self.request(method, path, None)?;
        let value = content_type.parse().expect("a content type is a header value");
        request.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
        let mut bytes = Vec::new();
        self.call(&request, body, &mut bytes, ANSWER_BYTES_MAX)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Protocol(format!("{path}: {error}")))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Request<()>, ClientError> {
        let host = match &self.address {
            Address::Unix(_) => "localhost",
            Address::Tcp(host) => host,
        };
        let mut request =
            Request::builder().method(method).uri(path).header(hyper::header::HOST, host);
        if let Some(range) = range {
            let value = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request = request.header(hyper::header::RANGE, value);
        }
        request.body(()).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// Sends and reads the whole answer into `into`.
    fn call(
        &self,
        request: &Request<()>,
        body: Body,
        into: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ClientError> {
        let mut connection = self.connect()?;
        let request = request.clone().map(|()| body);
        connection.exchange(request, into, limit)?;
        if connection.is_open() {
            let mut idle = self.idle.lock().expect("no panics while held");
            idle.push((Instant::now(), connection));
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection, ClientError> {
        let next = || self.idle.lock().expect("no panics while held").pop();
        while let Some((since, mut connection)) = next() {
            if since.elapsed() < IDLE_MAX && connection.is_open() {
                return Ok(connection);
            }
        }
        Connection::open(&self.address)
    }

    fn read_range(
        &self,
        path: &str,
        range: &Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), ClientError> {
        let len = usize::try_from(range.end - range.start)
            .map_err(|_| ClientError::Protocol("the range is too long".to_owned()))?;
        into.clear();
        if len == 0 {
            return Ok(());
        }
        into.reserve(len);
        let request = self.request(Method::GET, path, Some(range))?;
        self.call(&request, full(Bytes::new()), into, len)?;
        if into.len() == len {
            Ok(())
        } else {
            Err(ClientError::Protocol(format!("{} bytes came instead of {len}", into.len())))
        }
    }
}
