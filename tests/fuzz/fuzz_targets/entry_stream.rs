//! An entry stream from anybody: whatever is read keeps the rules that placing it relies on.
#![no_main]

use larder::model::{Record, StreamReader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut reader = StreamReader::new(bytes);
    let mut depth = 0_usize;
    while let Ok(Some(record)) = reader.next() {
        match record {
            Record::Folder { name, .. } => {
                depth += 1;
                harmless(name);
            }
            Record::File { name, .. }
            | Record::Symlink { name, .. }
            | Record::Hardlink { name, .. } => harmless(name),
            Record::Root { path, .. } => {
                assert!(path.first() != Some(&b'/'));
                assert!(!path.split(|&byte| byte == b'/').any(|part| part == b".."));
            }
            Record::End => depth -= 1,
        }
        assert!(depth <= StreamReader::DEPTH_MAX);
    }
});

fn harmless(name: &[u8]) {
    assert!(name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0));
}
