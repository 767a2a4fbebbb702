//! Packs: many chunks in one blob. The layout is in `README.md`, section "Pack".

use super::wire::{FormatError, Reader};
use super::{Digest, PackRef};

/// Bytes of chunk data at which a writer closes a pack and begins the next.
pub const PACK_DATA_BYTES_TARGET: u64 = 32 << 20;

/// A chunk as a pack's table lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Of the chunk's bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub len: u32,
}

impl Chunk {
    /// No chunk is longer.
    pub const LEN_MAX: u32 = 1 << 20;
}

/// The table at a pack's end: its chunks in the order in which they lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackTable {
    /// The chunks.
    pub chunks: Vec<Chunk>,
}

impl PackTable {
    /// What every pack begins with.
    pub const MAGIC: [u8; 8] = *b"LARDPAK1";
    const END: [u8; 8] = *b"LARDEND1";
    const CHUNK_BYTES: u64 = 36;
    const FOOTER_BYTES: u64 = 24;

    /// Bytes of chunk data that the table accounts for.
    pub fn data_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    /// Bytes from the first of the table to the end of the pack.
    pub fn encoded_bytes(chunks: u32) -> u64 {
        u64::from(chunks) * Self::CHUNK_BYTES + Self::FOOTER_BYTES
    }

    /// Table and footer: everything that follows the chunk data.
    pub fn encode(&self) -> Vec<u8> {
        let count =
            u32::try_from(self.chunks.len()).expect("a pack is closed long before 2^32 chunks");
        let mut out = Vec::with_capacity(self.chunks.len() * 36 + 24);
        for chunk in &self.chunks {
            out.extend_from_slice(chunk.digest.as_bytes());
            out.extend_from_slice(&chunk.len.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.data_bytes().to_le_bytes());
        out.extend_from_slice(&Self::END);
        out
    }

    /// Reads the bytes of [`PackRef::table_range`] of the pack that `pack` names.
    pub fn decode(bytes: &[u8], pack: &PackRef) -> Result<Self, FormatError> {
        if bytes.len() as u64 != Self::encoded_bytes(pack.chunks) {
            return Err(FormatError::Invalid("length of the pack table"));
        }
        let mut reader = Reader::new(bytes, "pack table");
        let mut chunks = Vec::with_capacity(pack.chunks as usize);
        for _ in 0..pack.chunks {
            let digest = Digest::from_bytes(reader.array()?);
            let len = u32::from_le_bytes(reader.array()?);
            if len > Chunk::LEN_MAX {
                let max = u64::from(Chunk::LEN_MAX);
                return Err(FormatError::TooLarge { what: "chunk length", value: len.into(), max });
            }
            chunks.push(Chunk { digest, len });
        }
        let table = Self { chunks };
        let count = u32::from_le_bytes(reader.array()?);
        let reserved: [u8; 4] = reader.array()?;
        let data_bytes = u64::from_le_bytes(reader.array()?);
        if reader.array()? != Self::END {
            return Err(FormatError::Magic("pack"));
        }
        let agrees = count == pack.chunks
            && reserved == [0; 4]
            && data_bytes == pack.data_bytes
            && data_bytes == table.data_bytes();
        if agrees { Ok(table) } else { Err(FormatError::Invalid("pack table")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(lens: &[u32]) -> (PackTable, PackRef) {
        let chunk = |&len| Chunk { digest: Digest::of(&u32::to_le_bytes(len)), len };
        let table = PackTable { chunks: lens.iter().map(chunk).collect() };
        let pack = PackRef {
            digest: Digest::of(b"pack"),
            data_bytes: table.data_bytes(),
            chunks: u32::try_from(lens.len()).expect("small"),
        };
        (table, pack)
    }

    proptest! {
        #[test]
        fn tables_round_trip(lens in proptest::collection::vec(0..=Chunk::LEN_MAX, 0..40)) {
            let (table, pack) = table(&lens);
            let bytes = table.encode();
            prop_assert_eq!(pack.table_range().end - pack.table_range().start, bytes.len() as u64);
            prop_assert_eq!(PackTable::decode(&bytes, &pack), Ok(table));
        }

        #[test]
        fn damage_to_the_numbers_is_refused(lens in proptest::collection::vec(1..1000_u32, 1..9), at: usize, bit in 0..8_u8) {
            let (table, pack) = table(&lens);
            let mut bytes = table.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1_u8 << bit;
            let in_digest = at < lens.len() * 36 && at % 36 < 32;
            prop_assert_eq!(PackTable::decode(&bytes, &pack).is_ok(), in_digest);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), chunks in 0..6_u32, data_bytes: u64) {
            let pack = PackRef { digest: Digest::of(b""), data_bytes: data_bytes >> 20, chunks };
            let _ = PackTable::decode(&bytes, &pack);
        }
    }
}
