//! CircleCI's key templates: the part of Go's `text/template` that keys are made of, with Go's own
//! results and error texts. Pure: files, environment and clock come in with a [`Context`].
//!
//! Understood: text, white-space trimming (`{{-` and `-}}`), comments, the functions `checksum`,
//! `epoch`, `arch` and `os_arch`, the fields `.Branch`, `.Revision`, `.BuildNum`, `.CheckoutKey` and
//! `.Environment.X`, strings in double quotes and in backticks, parentheses and pipes. The rest of Go's
//! language (variables, `if`, `range`, `printf`, numbers and so on) is refused by name, since
//! a key that came out a little different would silently be another cache.

pub mod arch;
mod eval;
mod lex;
mod parse;
mod unquote;

use std::io::{self, Read};
use std::path::Path;

use base64::Engine;

pub use parse::{Template, parse};

/// What a template may look at.
pub struct Context<'a> {
    /// `.Branch`
    pub branch: &'a str,
    /// `.Revision`
    pub revision: &'a str,
    /// `.BuildNum`
    pub build_num: &'a str,
    /// `.CheckoutKey`
    pub checkout_key: &'a str,
    /// `.Environment.X`; nothing when X is not set.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Opens a file for `checksum`, by its absolute path.
    pub open: &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>,
    /// What relative paths are relative to.
    pub working_dir: &'a Path,
    /// What `~` stands for.
    pub home: Option<&'a Path>,
    /// `epoch`
    pub epoch_secs: u64,
    /// `arch`
    pub arch: &'a str,
    /// `os_arch`
    pub os_arch: &'a str,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("working_dir", &self.working_dir).finish_non_exhaustive()
    }
}

/// Why a template gives no key, in Go's words. CircleCI puts `error computing cache key: ` before them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no template, or one that Larder does not understand.
    #[error("template: cacheKey:{line}: {reason}")]
    Parse {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be computed here and now.
    #[error("template: cacheKey:{line}:{column}: executing \"cacheKey\" at <{at}>: {reason}")]
    Execute {
        /// From 1.
        line: usize,
        /// Bytes before it in its line.
        column: usize,
        /// The part of the template.
        at: String,
        /// What is wrong.
        reason: String,
    },
}

/// Computes the text that `template` stands for.
pub fn render(template: &str, context: &Context<'_>) -> Result<String, Error> {
    parse(template)?.render(context)
}

/// A SHA-256 digest as `checksum` prints it: padded standard base64 with `_` for `/`, so that it can
/// stand in a name.
pub fn base64_of_digest(digest: &[u8; 32]) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest).replace('/', "_")
}

#[cfg(test)]
mod tests;
