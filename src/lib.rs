#![doc = include_str!("README.md")]

pub mod agent;
pub mod api;
#[cfg(feature = "daemon")]
pub mod disk;
pub mod model;
#[cfg(feature = "daemon")]
pub mod ops;
pub mod tree;
