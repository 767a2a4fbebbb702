//! The contract, against everything that says it keeps it.
//!
//! Real servers are named by `LARDER_TEST_S3` and `LARDER_TEST_S3_LIMITED` (a backend's URL;
//! credentials in the environment); `tests/servers run -- cargo test …` starts them.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests; they say when they skip")]

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

fn open_memory() -> Subject {
    Subject::new(Arc::new(Memory::new()))
}

fn open_folder() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    Subject::new(Arc::new(Folder::new(folder.path().join("made/later")))).keeping(folder)
}

fn open_counted() -> Subject {
    let counters = Arc::new(Counters::default());
    Subject::new(Arc::new(Counted::new(Arc::new(Memory::new()), counters)))
}

fn open_retry() -> Subject {
    Subject::new(Arc::new(Retry::new(Arc::new(Memory::new()), Policy::default())))
}

#[cfg(feature = "s3")]
mod s3 {
    use std::sync::Arc;

    use larder_backends::conformance::Subject;
    use larder_backends::layer::{Policy, Retry};
    use larder_backends::s3::Tuning;
    use larder_backends::{Backend as _, Config, ErrorKind, ObjectPath, PutMode};

    larder_backends::conformance!(full, crate::s3::open_full);
    larder_backends::conformance!(limited, crate::s3::open_limited);

    /// S3's least, so that bodies of several parts stay small.
    const PART_BYTES: usize = 5 << 20;

    fn open_full() -> Option<Subject> {
        open("LARDER_TEST_S3")
    }

    fn open_limited() -> Option<Subject> {
        open("LARDER_TEST_S3_LIMITED")
    }

    fn open(variable: &str) -> Option<Subject> {
        let url = url(variable)?;
        let tuning = Tuning { part_bytes: PART_BYTES, ..Tuning::default() };
        let s3 = Config::parse(&url).unwrap().open_s3_with(tuning, None).unwrap();
        let backend = Arc::new(Retry::new(Arc::new(s3), Policy::resume_only()));
        Some(Subject::new(backend).with_part_bytes(PART_BYTES))
    }

    fn url(variable: &str) -> Option<String> {
        if let Ok(url) = std::env::var(variable) {
            return Some(url);
        }
        let required = std::env::var("LARDER_TEST_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
        assert!(!required, "{variable} is not set, and LARDER_TEST_REQUIRE_SERVERS=1");
        println!("skipped: {variable} names no server; `tests/servers run -- COMMAND` starts one");
        None
    }

    #[tokio::test]
    async fn features_are_those_of_the_servers() {
        for (subject, conditional) in [("LARDER_TEST_S3", true), ("LARDER_TEST_S3_LIMITED", false)]
        {
            if let Some(url) = url(subject) {
                let backend = Config::parse(&url).unwrap().open().unwrap();
                let features = backend.features().await.unwrap();
                assert_eq!(features.conditional_create, conditional, "{subject}");
            }
        }
    }

    #[tokio::test]
    async fn wrong_credentials_are_denied() {
        for variable in ["LARDER_TEST_S3", "LARDER_TEST_S3_LIMITED"] {
            let Some(url) = url(variable) else { continue };
            let id = std::env::var("AWS_ACCESS_KEY_ID").unwrap();
            for keys in [(id.as_str(), "wrong"), ("nobody", "wrong")] {
                let config = Config::parse(&url).unwrap();
                let s3 = config.open_s3_with(Tuning::default(), Some(keys)).unwrap();
                let path = ObjectPath::parse("a").unwrap();
                let put = s3.put(&path, vec![1].into(), PutMode::Overwrite).await.unwrap_err();
                assert_eq!(put.kind(), ErrorKind::Denied, "{variable}: {}", put.chain());
                assert!(put.chain().contains("AWS_SECRET_ACCESS_KEY"), "{}", put.chain());
                let head = s3.head(&path).await.unwrap_err();
                assert_eq!(head.kind(), ErrorKind::Denied, "{variable}: {}", head.chain());
                let probe = s3.features().await.unwrap_err();
                assert_eq!(probe.kind(), ErrorKind::Denied, "{variable}: {}", probe.chain());
            }
        }
    }
}
