//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The log cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error("LARDER_LOG=`{filter}` is not a log filter; try `info` or `larder=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// It was set up before.
    #[error("the log is set up twice")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up the log of this process: `filter` as `LARDER_LOG` gives it, or `default`; JSON lines when
/// `json`.
pub fn init(filter: Option<&str>, default: &str, json: bool) -> Result<(), LogError> {
    let text = filter.unwrap_or(default);
    let filter = EnvFilter::try_new(text)
        .map_err(|source| LogError::Filter { filter: text.to_owned(), source })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = if json {
        log.json().try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    set.map_err(LogError::Twice)
}
