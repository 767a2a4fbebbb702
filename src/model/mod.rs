//! Names and shapes: pure, no input or output, no async. The formats are described byte for byte
//! in `README.md` beside this file.

mod digest;
mod entry;
mod key;
mod manifest;
mod names;
mod pack;
mod stream;
mod wire;

pub use digest::{Digest, DigestError, Hasher};
pub use entry::{CacheEntry, Provenance};
pub use key::{Key, KeyError, KeyPrefix};
pub use manifest::{ChunkRef, Manifest, PackRef};
pub use names::{NameError, Project, Scope};
pub use pack::{Chunk, PACK_DATA_BYTES_TARGET, PackTable};
pub use stream::{Anchor, Extent, Meta, Record, StreamReader, StreamWriter, Time, Xattrs};
pub use wire::FormatError;
