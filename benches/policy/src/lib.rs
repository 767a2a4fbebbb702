//! Which eviction policy should the daemon have? CI-shaped traces, policies as pure code, and the replay of one against the other.

pub mod policy;
pub mod replay;
pub mod report;
pub mod trace;
