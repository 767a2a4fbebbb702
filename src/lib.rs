#![doc = include_str!("README.md")]

pub mod agent;
pub mod api;
#[cfg(feature = "daemon")]
pub mod disk;
#[cfg(feature = "daemon")]
pub mod frontends;
pub mod model;
#[cfg(feature = "daemon")]
pub mod ops;
pub mod paths;
#[cfg(feature = "daemon")]
pub mod telemetry;
pub mod tree;
