//! The one integration binary: the real program, as processes, over real files and sockets.
#![expect(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "daemon")]

/// What the tests stand on: a daemon and an agent as processes, and trees.
mod house;

/// What a job sees of `save-cache` and `restore-cache`: messages, exit codes, files.
mod cache;
/// `kill -9`, restarts, rotten disks.
mod crash;
/// The HTTP API without the agent: documents, limits, refusals.
mod http;
/// Disks that are too small.
mod room;
/// Two hosts over one bucket of a real S3 server.
#[cfg(feature = "cloud")]
mod s3;
