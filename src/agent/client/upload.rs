//! Storing a pack while it is being made.

use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::Either;
use hyper::{Method, Request};
use tokio::sync::mpsc;

use super::connection::{Connection, Piped};
use super::{ANSWER_BYTES_MAX, Client, ClientError};
use crate::api::v1::StoredBlob;
use crate::model::Digest;
use crate::tree::{DepotError, Upload};

/// Pieces under way between the packer and the connection.
const QUEUED_MAX: usize = 4;

/// A request whose body is written piece by piece; a thread of its own sends it.
pub(super) struct PackUpload {
    pieces: Option<mpsc::Sender<Bytes>>,
    sending: Option<JoinHandle<Result<Digest, ClientError>>>,
}

impl PackUpload {
    pub(super) fn begin(client: &Client) -> Result<Self, ClientError> {
        let mut request = client.request(Method::POST, &client.path("packs"), None)?;
        let content_type = "application/octet-stream".parse().expect("a header value");
        request.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
        let connection = Connection::open(client.address())?;
        let (pieces, receiver) = mpsc::channel(QUEUED_MAX);
        let sending = std::thread::spawn(move || send(connection, request, receiver));
        Ok(Self { pieces: Some(pieces), sending: Some(sending) })
    }

    fn join(&mut self) -> Result<Digest, DepotError> {
        self.pieces = None;
        let sending = self.sending.take().ok_or("the upload has failed before")?;
        Ok(sending.join().map_err(|_| "the uploading thread panicked")??)
    }
}

fn send(
    mut connection: Connection,
    request: Request<()>,
    pieces: mpsc::Receiver<Bytes>,
) -> Result<Digest, ClientError> {
    let mut answer = Vec::new();
    let request = request.map(|()| Either::Right(Piped(pieces)));
    connection.exchange(request, &mut answer, ANSWER_BYTES_MAX)?;
    let stored: StoredBlob = serde_json::from_slice(&answer)
        .map_err(|error| ClientError::Protocol(format!("packs: {error}")))?;
    Ok(stored.digest)
}

impl Upload for PackUpload {
    fn write(&mut self, bytes: Bytes) -> Result<(), DepotError> {
        let sender = self.pieces.as_ref().ok_or("the upload has ended")?;
        if sender.blocking_send(bytes).is_ok() {
            return Ok(());
        }
        // The other side gave up: its reason is worth more than "the channel is closed".
        match self.join() {
            Ok(_) => Err("the daemon answered before it had the whole pack".into()),
            Err(error) => Err(error),
        }
    }

    fn end(&mut self) {
        self.pieces = None;
    }

    fn wait(mut self: Box<Self>) -> Result<Digest, DepotError> {
        self.join()
    }
}
