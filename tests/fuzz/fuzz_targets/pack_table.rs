//! The end of a pack from anybody, read as that of a pack of the size and number of chunks that the
//! first twelve bytes say.
#![no_main]

use larder::model::{Digest, PackRef, PackTable};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((data_bytes, rest)) = bytes.split_first_chunk() else { return };
    let Some((chunks, table)) = rest.split_first_chunk() else { return };
    let pack = PackRef {
        digest: Digest::of(b""),
        data_bytes: u64::from_le_bytes(*data_bytes) % (PackRef::DATA_BYTES_MAX + 1),
        chunks: u32::from_le_bytes(*chunks) % (PackRef::CHUNKS_MAX + 1),
    };
    if let Ok(read) = PackTable::decode(table, &pack) {
        assert_eq!(read.encode(), table);
    }
});
