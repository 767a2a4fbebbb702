//! Protocols: each parses requests, calls `ops` and prints the answers.

pub mod native;
pub mod serve;
mod stall;
