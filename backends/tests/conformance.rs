//! The contract, against everything that says it keeps it.
//!
//! Real servers are named by `LARDER_TEST_S3` and `LARDER_TEST_S3_LIMITED` (a backend's URL;
//! credentials in the environment); `tests/servers run -- cargo test …` starts them.

use std::sync::Arc;

use larder_backends::conformance;
use larder_backends::conformance::Subject;
use larder_backends::fs::Folder;
use larder_backends::layer::{Counted, Counters, Policy, Retry};
use larder_backends::memory::Memory;

conformance!(memory, crate::open_memory);
conformance!(folder, crate::open_folder);
conformance!(counted, crate::open_counted);
conformance!(retry, crate::open_retry);

async fn open_memory() -> Option<Subject> {
    Some(Subject::new(Arc::new(Memory::new())))
}

async fn open_folder() -> Option<Subject> {
    let folder = tempfile::tempdir().unwrap();
    Some(Subject::new(Arc::new(Folder::new(folder.path().join("made/later")))).keeping(folder))
}

async fn open_counted() -> Option<Subject> {
    let counters = Arc::new(Counters::default());
    Some(Subject::new(Arc::new(Counted::new(Arc::new(Memory::new()), counters))))
}

async fn open_retry() -> Option<Subject> {
    Some(Subject::new(Arc::new(Retry::new(Arc::new(Memory::new()), Policy::default()))))
}
