//! Packs read from the host's disk by the job itself: over a unix socket the daemon hands over their
//! files, open. Elsewhere the bytes come through the connection.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::connection::Connection;
use super::{Address, Client, ClientError};
use crate::model::{Digest, PackRef};

/// Files open at once; a job's usual limit is 1,024.
const OPEN_MAX: usize = 256;

/// For each pack asked for, its file, or nothing where the daemon has to be asked for its bytes.
#[derive(Debug, Default)]
pub(super) struct LocalPacks(Mutex<HashMap<Digest, Option<Arc<OwnedFd>>>>);

impl LocalPacks {
    /// The pack's file, if it can be had.
    pub(super) fn file(&self, client: &Client, pack: &PackRef) -> Option<Arc<OwnedFd>> {
        if matches!(client.address(), Address::Tcp(_)) {
            return None;
        }
        if let Some(known) = self.lock().get(&pack.digest) {
            return known.clone();
        }
        let file = match receive(client, pack) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                tracing::debug!(%error, "no descriptor; the pack comes through the socket");
                None
            }
        };
        let mut files = self.lock();
        let file = file.filter(|_| files.len() < OPEN_MAX);
        files.entry(pack.digest).or_insert(file).clone()
    }

    /// From now on the pack's bytes come from the daemon.
    pub(super) fn avoid(&self, digest: &Digest) {
        self.lock().insert(*digest, None);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Option<Arc<OwnedFd>>>> {
        self.0.lock().expect("no panics while files are looked up")
    }
}

/// Asks the daemon for the file, over a connection of its own.
fn receive(client: &Client, pack: &PackRef) -> Result<OwnedFd, ClientError> {
    let path = client.path(&format!("packs/{}/descriptor", pack.digest));
    let request = client.request(hyper::Method::GET, &path, None)?;
    let file = Connection::open(client.address())?.upgrade(request, take)?;
    let stat =
        rustix::fs::fstat(&file).map_err(|error| ClientError::Protocol(error.to_string()))?;
    if u64::try_from(stat.st_size).is_ok_and(|size| size == pack.size_bytes()) {
        return Ok(file);
    }
    Err(ClientError::Protocol(format!("the file of pack {} has another size", pack.digest)))
}

/// Says that the answer was read, and takes the descriptor.
async fn take(io: TokioIo<UnixStream>) -> io::Result<OwnedFd> {
    let mut stream = io.into_inner();
    stream.write_all(&[1]).await?;
    stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut message = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let slices = &mut [io::IoSliceMut::new(&mut byte)];
            recvmsg(&stream, slices, &mut message, RecvFlags::CMSG_CLOEXEC)?;
            message
                .drain()
                .find_map(|part| match part {
                    RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                    _ => None,
                })
                .ok_or_else(|| io::Error::other("no descriptor came"))
        })
        .await
}

/// Replaces the content of `into` by these bytes of the file.
pub(super) fn read(file: &OwnedFd, range: &Range<u64>, into: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    // What is there already is overwritten, not zeroed first.
    into.resize(len, 0);
    let mut read = 0;
    while read < len {
        match rustix::io::pread(file, &mut into[read..], range.start + read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => read += some,
        }
    }
    Ok(())
}
