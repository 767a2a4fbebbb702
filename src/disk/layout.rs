//! Every path on the disk is made here.
//!
//! ```text
//! <root>/VERSION  LOCK  CACHEDIR.TAG
//!        blobs-v1/ab/<digest>        the blobs, by the first two digits of their digest
//!        tmp-v1/                     blobs being written; emptied at start
//!        quarantine-v1/<digest>      blobs whose bytes were wrong
//!        outbox-v1/                  what must still reach the backend
//!        index-v1/                   sled; may be deleted at any time
//! ```

use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{Error, Result};
use crate::model::Digest;

const VERSION: u32 = 1;

#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// How the names of files in the temporary folder begin.
    pub(super) const TEMPORARY_PREFIX: &str = "ingest-";

    /// Makes the folders that are missing. Nothing is touched in a folder of a newer version.
    pub(super) fn create(root: &Path) -> Result<Self> {
        let layout = Self { root: root.to_owned() };
        make(root)?;
        match fs_err::read_to_string(layout.version()) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(version) if version <= VERSION => {}
                _ => {
                    let found = text.trim().chars().take(40).collect();
                    return Err(Error::NewerLayout {
                        path: root.to_owned(),
                        found,
                        known: VERSION,
                    });
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                super::write_durably(root, "VERSION", format!("{VERSION}\n").as_bytes())?;
            }
            Err(error) => return Err(Error::io(error)),
        }
        for folder in [layout.blobs(), layout.temporary(), layout.quarantine(), layout.outbox()] {
            make(&folder)?;
        }
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# Copies that Larder can fetch again; but see outbox-v1.\n";
        if !root.join("CACHEDIR.TAG").exists() {
            super::write_durably(root, "CACHEDIR.TAG", tag.as_bytes())?;
        }
        super::ingest::sync_folder(root)?;
        Ok(layout)
    }

    /// Takes the folder for this process, until the file is closed.
    pub(super) fn lock(&self) -> Result<fs_err::File> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(self.root.join("LOCK")).map_err(Error::io)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(Error::Locked { path: self.root.clone(), pid });
        }
        let write = file.set_len(0).and_then(|()| file.rewind());
        write.and_then(|()| writeln!(file, "{}", std::process::id())).map_err(Error::io)?;
        Ok(file)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs-v1")
    }

    /// The folder of all blobs whose digest begins with this byte.
    pub(super) fn shard(&self, shard: u8) -> PathBuf {
        self.blobs().join(format!("{shard:02x}"))
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.shard(digest.shard()).join(digest.to_string())
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("tmp-v1")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine-v1")
    }

    pub(super) fn outbox(&self) -> PathBuf {
        self.root.join("outbox-v1")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index-v1")
    }
}

/// Only the daemon reads what jobs of all projects have stored.
fn make(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let text = format!("cannot make `{}`: {error}", folder.display());
        Error::io(std::io::Error::new(error.kind(), text))
    })
}
