//! Why the daemon could not help.

use super::Address;
use crate::api::{Problem, ProblemCode};

/// A call to the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach the Larder daemon at {address}: is `larder serve` running?")]
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        source: std::io::Error,
    },
    /// It listens and does not answer in time.
    #[error("the Larder daemon did not answer within {0} seconds")]
    Timeout(u64),
    /// It refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The connection broke.
    #[error("the connection to the Larder daemon broke")]
    Broken(#[source] hyper::Error),
    /// It answered something that makes no sense.
    #[error("the Larder daemon answered unexpectedly: {0}")]
    Protocol(String),
}

impl ClientError {
    /// What the daemon said, if it said anything.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}
