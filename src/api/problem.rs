//! How the daemon says no.

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
pub struct Problem {
    /// For programs.
    pub code: ProblemCode,
    /// For people: what failed, on what, why, and the remedy where there is one.
    pub detail: String,
}

/// Kinds of refusal, stable across versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "daemon", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request itself is wrong.
    Invalid,
    /// Nothing by that name.
    NotFound,
    /// What the request builds on is gone: a save names packs that nobody holds any more.
    Stale,
    /// The caller may not do this.
    Denied,
    /// The host's disk has no room.
    Full,
    /// The bytes did not match their digest, and no right copy could be had.
    Corrupt,
    /// The backend did not answer; later may go better.
    Unavailable,
    /// A fault of the daemon's own.
    Internal,
}
