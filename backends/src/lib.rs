//! Durable storage behind one trait: [`Backend`].
//!
//! [`Config`] turns a URL into one of the implementations: memory, a folder (`fs`), S3 (`s3`). Each
//! of them, and each wrapper in [`layer`], passes the cases in `conformance`; the README tells how
//! another joins. With no features on, this is the trait, its values and the memory backend.

mod backend;
mod body;
mod config;
mod error;
mod ext;
mod path;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "fs")]
pub mod fs;
pub mod layer;
pub mod memory;
#[cfg(any(feature = "fs", feature = "s3"))]
mod names;
#[cfg(feature = "s3")]
pub mod s3;

pub use backend::{Backend, Features, Object, ObjectMeta, PutMode};
pub use body::{Body, ByteStream};
pub use config::{Config, ConfigError};
pub use error::{Error, ErrorKind, Operation, Result};
pub use ext::BackendExt;
pub use path::{ObjectPath, PathError};
