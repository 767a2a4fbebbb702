#![doc = include_str!("README.md")]

pub mod agent;
pub mod api;
pub mod model;
pub mod tree;
