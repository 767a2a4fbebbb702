//! The native wire types, shared by the agent and the daemon. Only shapes: no decisions.

mod problem;
pub mod v1;

pub use problem::{Problem, ProblemCode};
