//! Logs and metrics on their way out. Each room owns what it counts; here is only the exporter.

mod log;
#[cfg(feature = "daemon")]
mod metrics;

pub use log::{LogError, init};
#[cfg(feature = "daemon")]
pub use metrics::Exporter;
