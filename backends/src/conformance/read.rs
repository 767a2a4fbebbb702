//! What `get`, `head` and `delete` promise.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;

use super::{Subject, pattern};
use crate::{BackendExt as _, ErrorKind, ObjectPath};

impl Subject {
    async fn range(&self, name: &str, range: Range<u64>) -> Bytes {
        let object = self.backend.get(&self.path(name), range).await.unwrap();
        let bytes: BytesMut = object.body.try_collect().await.unwrap();
        bytes.freeze()
    }
}

#[expect(clippy::reversed_empty_ranges, reason = "an empty range may be written so as well")]
pub async fn ranges_are_clamped(subject: Subject) {
    let size = subject.create("a", b"0123456789"[..].as_ref()).await.size_bytes;
    for (range, expected) in [
        (0..10, "0123456789"),
        (0..1, "0"),
        (3..7, "3456"),
        (9..10, "9"),
        (8..11, "89"),
        (0..u64::MAX, "0123456789"),
        (5..u64::MAX, "56789"),
        (10..20, ""),
        (11..20, ""),
        (u64::MAX - 1..u64::MAX, ""),
        (0..0, ""),
        (4..4, ""),
        (7..3, ""),
    ] {
        assert_eq!(subject.range("a", range.clone()).await, expected, "{range:?}");
        let meta = subject.backend.get(&subject.path("a"), range).await.unwrap().meta;
        assert_eq!(meta.size_bytes, size);
    }
    subject.create("empty", Bytes::new()).await;
    assert_eq!(subject.range("empty", 0..0).await, "");
    assert_eq!(subject.range("empty", 0..u64::MAX).await, "");
}

pub async fn ranges_reach_across_parts(subject: Subject) {
    let part = subject.part_bytes;
    let whole = pattern(2 * part + 10);
    subject.create("a", whole.clone()).await;
    for (start, end) in
        [(part - 1, part + 1), (0, part), (part, 2 * part), (part / 2, 2 * part + 5)]
    {
        let got = subject.range("a", start as u64..end as u64).await;
        assert!(got == whole.slice(start..end), "{start}..{end} came back otherwise");
    }
}

pub async fn absent_is_not_found(subject: Subject) {
    let backend = &subject.backend;
    subject.create("there", b"x"[..].as_ref()).await;
    for name in ["absent", "there2", "ther", "a/b/c"] {
        let path = subject.path(name);
        assert_eq!(backend.get(&path, 0..1).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(backend.get(&path, 0..0).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(backend.head(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!backend.exists(&path).await.unwrap());
    }
    assert!(backend.exists(&subject.path("there")).await.unwrap());
}

pub async fn a_folder_is_no_object(subject: Subject) {
    subject.create("a/b", b"x"[..].as_ref()).await;
    for name in ["a", "a/b/c"] {
        let path = subject.path(name);
        let get = subject.backend.get(&path, 0..1).await.unwrap_err();
        assert_eq!(get.kind(), ErrorKind::NotFound, "{}", get.chain());
        let head = subject.backend.head(&path).await.unwrap_err();
        assert_eq!(head.kind(), ErrorKind::NotFound, "{}", head.chain());
        subject.backend.delete(&[path]).await.unwrap();
        assert_eq!(subject.names("").await, ["a/b"]);
    }
}

pub async fn get_bytes_keeps_its_limit(subject: Subject) {
    let path = subject.path("a");
    subject.create("a", b"0123456789"[..].as_ref()).await;
    assert_eq!(subject.backend.get_bytes(&path, 10).await.unwrap(), "0123456789");
    let error = subject.backend.get_bytes(&path, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

pub async fn delete_removes_and_does_not_mind_the_absent(subject: Subject) {
    for name in ["a", "b/c", "b/d"] {
        subject.create(name, b"x"[..].as_ref()).await;
    }
    let paths = ["a", "never", "b/c", "b/never", "n/e/v/e/r"].map(|name| subject.path(name));
    subject.backend.delete(&paths).await.unwrap();
    assert_eq!(subject.names("").await, ["b/d"]);
    subject.backend.delete(&paths).await.unwrap();
    subject.backend.delete(&[]).await.unwrap();
    assert_eq!(subject.names("").await, ["b/d"]);
    subject.create("a", b"again"[..].as_ref()).await;
    assert_eq!(subject.bytes("a").await, "again");
}

pub async fn delete_takes_thousands(subject: Subject) {
    // More than any batch holds, most of them absent; some at both ends and in the middle there.
    for index in [0, 999, 1000, 1001, 2499] {
        subject.create(&format!("{index:04}"), Bytes::new()).await;
    }
    subject.create("stays", Bytes::new()).await;
    let paths: Vec<ObjectPath> = (0..2500).map(|i| subject.path(&format!("{i:04}"))).collect();
    subject.backend.delete(&paths).await.unwrap();
    assert_eq!(subject.names("").await, ["stays"]);
}
