//! A backend around a backend. Each passes the conformance suite, and each denies
//! `clippy::missing_trait_methods`, so that none can inherit what it ought to forward.

mod count;
mod resume;
mod retry;

pub use count::{Counted, Counters};
pub use retry::{Policy, Retry};
