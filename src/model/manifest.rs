//! Manifests: the root of a saved tree. The layout is in `README.md`, section "Manifest".

use std::ops::Range;

use super::wire::{FormatError, Reader, put_varint};
use super::{Digest, PackTable};

/// The root of a saved tree: the packs its chunks lie in, and where the entry stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The packs; chunk references count into this list.
    pub packs: Vec<PackRef>,
    /// The chunks whose bytes, one after the other, are the entry stream.
    pub stream: Vec<ChunkRef>,
}

/// A pack as others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackRef {
    /// The pack's name.
    pub digest: Digest,
    /// Bytes of chunk data in it.
    pub data_bytes: u64,
    /// Number of chunks in it.
    pub chunks: u32,
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef {
    /// Position in [`Manifest::packs`].
    pub pack: u32,
    /// Position in the pack's table.
    pub chunk: u32,
}

impl PackRef {
    /// A pack with more chunk data is refused.
    pub const DATA_BYTES_MAX: u64 = 1 << 30;
    /// A pack with more chunks is refused.
    pub const CHUNKS_MAX: u32 = 1 << 22;

    /// Length of the whole pack, uncompressed.
    pub fn size_bytes(&self) -> u64 {
        self.table_range().end
    }

    /// Where the chunk data begins.
    pub const DATA_START: u64 = PackTable::MAGIC.len() as u64;

    /// Where table and footer lie in the pack: from the end of the chunk data to the pack's end.
    pub fn table_range(&self) -> Range<u64> {
        let start = Self::DATA_START + self.data_bytes;
        start..start + PackTable::encoded_bytes(self.chunks)
    }
}

impl Manifest {
    const MAGIC: [u8; 8] = *b"LARDMAN1";
    /// More packs in one manifest are refused: 2 TB at the usual size of a pack.
    pub const PACKS_MAX: u64 = 1 << 16;
    /// A longer entry stream is refused.
    pub const STREAM_CHUNKS_MAX: u64 = 1 << 18;
    /// A longer manifest is refused unread.
    pub const BYTES_MAX: u64 = 16 << 20;

    /// The manifest as bytes; equal manifests have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.packs.len() * 40 + self.stream.len() * 3);
        out.extend_from_slice(&Self::MAGIC);
        put_varint(&mut out, self.packs.len() as u64);
        for pack in &self.packs {
            out.extend_from_slice(pack.digest.as_bytes());
            put_varint(&mut out, pack.data_bytes);
            put_varint(&mut out, pack.chunks.into());
        }
        put_varint(&mut out, self.stream.len() as u64);
        for at in &self.stream {
            put_varint(&mut out, at.pack.into());
            put_varint(&mut out, at.chunk.into());
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote, or somebody hostile.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "manifest");
        if reader.array()? != Self::MAGIC {
            return Err(FormatError::Magic("manifest"));
        }
        let count = reader.bounded("number of packs", Self::PACKS_MAX)?;
        let mut packs = Vec::with_capacity(bounded_capacity(count, reader.remaining(), 34));
        for _ in 0..count {
            let digest = Digest::from_bytes(reader.array()?);
            let data_bytes = reader.bounded("pack size", PackRef::DATA_BYTES_MAX)?;
            let chunks = reader.bounded("number of chunks", PackRef::CHUNKS_MAX.into())?;
            packs.push(PackRef { digest, data_bytes, chunks: narrow(chunks)? });
        }
        let count = reader.bounded("length of the entry stream", Self::STREAM_CHUNKS_MAX)?;
        let mut stream = Vec::with_capacity(bounded_capacity(count, reader.remaining(), 2));
        for _ in 0..count {
            let at = ChunkRef { pack: narrow(reader.varint()?)?, chunk: narrow(reader.varint()?)? };
            if packs.get(at.pack as usize).is_none_or(|pack| at.chunk >= pack.chunks) {
                return Err(FormatError::Invalid("reference of the entry stream"));
            }
            stream.push(at);
        }
        if reader.is_empty() {
            Ok(Self { packs, stream })
        } else {
            Err(FormatError::Invalid("end of the manifest"))
        }
    }
}

/// As many elements as are promised, but no more than the bytes that are there can hold.
pub(super) fn bounded_capacity(count: u64, remaining: usize, bytes_each: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(remaining / bytes_each)
}

pub(super) fn narrow(value: u64) -> Result<u32, FormatError> {
    u32::try_from(value).map_err(|_| FormatError::Invalid("number"))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_manifest()(
            packs in proptest::collection::vec((any::<[u8; 32]>(), 0..PackRef::DATA_BYTES_MAX, 1..PackRef::CHUNKS_MAX), 1..6),
            stream in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..20),
        ) -> Manifest {
            let packs: Vec<PackRef> = packs
                .into_iter()
                .map(|(digest, data_bytes, chunks)| PackRef { digest: Digest::from_bytes(digest), data_bytes, chunks })
                .collect();
            let place = |(pack, chunk): (u32, u32)| {
                let pack = pack % u32::try_from(packs.len()).expect("few");
                ChunkRef { pack, chunk: chunk % packs[pack as usize].chunks }
            };
            let stream = stream.into_iter().map(place).collect();
            Manifest { packs, stream }
        }
    }

    proptest! {
        #[test]
        fn manifests_round_trip(manifest in any_manifest()) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn damaged_manifests_never_panic(manifest in any_manifest(), at: usize, byte: u8, cut: usize) {
            let mut bytes = manifest.encode();
            let part = &bytes[..cut % bytes.len()];
            prop_assert!(Manifest::decode(part).is_err(), "a part is never a whole");
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Manifest::decode(&bytes);
        }
    }

    #[test]
    fn a_promise_of_many_packs_allocates_nothing() {
        let mut bytes = b"LARDMAN1".to_vec();
        put_varint(&mut bytes, Manifest::PACKS_MAX);
        assert_eq!(Manifest::decode(&bytes), Err(FormatError::Short("manifest")));
    }
}
