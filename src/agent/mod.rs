//! The command line in a job. Knows the daemon only by its native API.

pub mod cache;
pub mod cli;
pub mod client;
pub mod identity;
mod locate;
pub mod report;
pub mod steps;
pub mod template;
