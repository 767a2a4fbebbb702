//! The command line in a job. Knows the daemon only by its native API.

pub mod cache;
pub mod client;
