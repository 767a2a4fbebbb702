//! A directory tree to a manifest and packs, and back. Knows the file system and [`Depot`], nothing
//! of HTTP.

mod depot;
mod error;
mod memory;
mod pack;
mod packer;
mod place;
mod plan;
mod read;
mod root;
mod walk;
mod xattr;

pub use depot::{Depot, DepotError, Known, Upload};
pub use error::{Error, Result, Warning, WarningKind};
pub use memory::Memory;
pub use pack::{Packed, pack};
pub use place::{Placed, place};
pub use root::{Base, Root, RootError};

#[cfg(test)]
mod tests;
