//! What the daemon runs with: flags over `LARDER_*` variables over the file over what works without any.

mod file;
mod resolve;

use std::net::SocketAddr;
use std::path::PathBuf;

use larder_backends as backends;

use crate::disk::Limits;

pub use resolve::{ConfigError, Faults, Typed, resolve};

/// The daemon's configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on, all on loopback.
    pub listen: Vec<SocketAddr>,
    /// The unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// The data folder.
    pub data: PathBuf,
    /// How much room the data folder may take.
    pub limits: Limits,
    /// The storage behind it.
    pub backend: backends::Config,
}
