//! Logs and metrics on their way out. Each room owns what it counts; here is only the exporter.

mod log;
mod metrics;

pub use log::{LogError, init};
pub use metrics::Exporter;
