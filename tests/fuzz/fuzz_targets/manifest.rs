//! A manifest from anybody: refused or read, and what is read is written the same.
#![no_main]

use larder::model::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
    }
});
