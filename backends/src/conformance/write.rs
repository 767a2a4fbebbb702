//! What `put` promises.

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::oneshot;

use super::{Subject, pattern};
use crate::{Body, Error, ErrorKind, ObjectPath, Operation, PutMode, Result};

pub async fn sizes_around_a_part_survive(subject: Subject) {
    let part = subject.part_bytes;
    for len in [0, 1, part - 1, part, part + 1, 3 * part] {
        let name = format!("of-{len}");
        let meta = subject.create(&name, pattern(len)).await;
        assert_eq!(meta.size_bytes, len as u64);
        assert!(subject.bytes(&name).await == pattern(len), "{len} bytes came back otherwise");
    }
}

pub async fn a_body_of_unknown_length_survives(subject: Subject) {
    let part = subject.part_bytes;
    for len in [0, 1, part, 2 * part + part / 2] {
        let name = format!("of-{len}");
        // Pieces that do not fit the parts.
        let bytes = pattern(len);
        let pieces: Vec<_> =
            bytes.chunks(part / 3 + 1).map(Bytes::copy_from_slice).map(Ok).collect();
        let meta = subject.create(&name, Body::stream(stream::iter(pieces), None)).await;
        assert_eq!(meta.size_bytes, len as u64);
        assert!(subject.bytes(&name).await == bytes, "{len} bytes came back otherwise");
    }
}

pub async fn create_refuses_what_exists(subject: Subject) {
    subject.create("a", "first".to_owned()).await;
    let part = subject.part_bytes;
    for body in [Body::from(b"second"[..].as_ref()), Body::from(pattern(2 * part))] {
        let error =
            subject.backend.put(&subject.path("a"), body, PutMode::Create).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", error.chain());
    }
    assert_eq!(subject.bytes("a").await, "first");
}

pub async fn overwrite_is_visible_at_once(subject: Subject) {
    let path = subject.path("a/b");
    for round in 0..10 {
        let text = format!("round {round}");
        subject.backend.put(&path, text.clone().into(), PutMode::Overwrite).await.unwrap();
        assert_eq!(subject.bytes("a/b").await, text);
    }
    assert_eq!(subject.names("").await, ["a/b"]);
}

fn broken(path: &ObjectPath) -> Result<Bytes> {
    Err(Error::bare(ErrorKind::Unavailable, Operation::Get, path.as_str()))
}

pub async fn a_failing_body_stores_nothing(subject: Subject) {
    let path = subject.path("a");
    for good in [0, 1, 2 * subject.part_bytes + 1] {
        let pieces = [Ok(pattern(good)), broken(&path)];
        for mode in [PutMode::Create, PutMode::Overwrite] {
            let body = Body::stream(stream::iter(pieces.clone_all()), None);
            let error = subject.backend.put(&path, body, mode).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Body, "{}", error.chain());
            subject.assert_absent("a").await;
        }
    }
}

/// Errors cannot be cloned, so the pieces are made again.
trait CloneAll {
    fn clone_all(&self) -> Vec<Result<Bytes>>;
}

impl CloneAll for [Result<Bytes>; 2] {
    fn clone_all(&self) -> Vec<Result<Bytes>> {
        let again = |piece: &Result<Bytes>| match piece {
            Ok(bytes) => Ok(bytes.clone()),
            Err(error) => Err(Error::bare(error.kind(), error.operation(), error.path())),
        };
        self.iter().map(again).collect()
    }
}

pub async fn a_body_of_another_length_than_announced_stores_nothing(subject: Subject) {
    let part = subject.part_bytes;
    for (len, announced) in [(10, 11), (10, 9), (2 * part, 2 * part + 1), (2 * part, 2 * part - 1)]
    {
        let body = stream::iter([Ok(pattern(len))]);
        let body = Body::stream(body, Some(announced as u64));
        let put = subject.backend.put(&subject.path("a"), body, PutMode::Create).await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Body);
        subject.assert_absent("a").await;
    }
}

pub async fn a_dropped_put_stores_nothing(subject: Subject) {
    for good in [1, 2 * subject.part_bytes + 1] {
        // The body tells when its first piece was taken and the next is asked for.
        let (asked, waiting) = oneshot::channel();
        let end = async move {
            asked.send(()).unwrap();
            std::future::pending::<Result<Bytes>>().await
        };
        let body = Body::stream(stream::iter([Ok(pattern(good))]).chain(end.into_stream()), None);
        let path = subject.path("a");
        let put = subject.backend.put(&path, body, PutMode::Create);
        tokio::select! {
            put = put => panic!("the body never ends, but: {put:?}"),
            _ = waiting => {}
        }
        subject.assert_absent("a").await;
    }
    subject.create("a", "later".to_owned()).await;
    assert_eq!(subject.bytes("a").await, "later");
}

pub async fn a_failed_overwrite_leaves_the_old(subject: Subject) {
    let path = subject.path("a");
    subject.create("a", "old".to_owned()).await;
    let pieces = [Ok(pattern(2 * subject.part_bytes)), broken(&path)];
    let body = Body::stream(stream::iter(pieces), None);
    subject.backend.put(&path, body, PutMode::Overwrite).await.unwrap_err();
    assert_eq!(subject.bytes("a").await, "old");
}

pub async fn odd_characters_survive(subject: Subject) {
    let mut names: Vec<String> = [
        " space ",
        "a+b",
        "100%",
        "%2F",
        "a&b=c;d",
        "quote\"'`",
        "a#b?c",
        "<a>",
        "ünïcödé",
        "日本語",
        "😀",
        "...",
        ".hidden",
        "-dash",
        "a:b",
        "star*",
        "@40",
        "a@.b",
        "~",
        "{}[]|^$",
        "deep/er/and/deep er",
    ]
    .map(str::to_owned)
    .into();
    for name in &names {
        subject.create(name, name.clone()).await;
    }
    for name in &names {
        assert_eq!(subject.bytes(name).await, *name);
        assert_eq!(subject.names(name).await.first(), Some(name));
    }
    names.sort_unstable();
    assert_eq!(subject.names("").await, names);
    let paths: Vec<_> = names.iter().map(|name| subject.path(name)).collect();
    subject.backend.delete(&paths).await.unwrap();
    assert_eq!(subject.names("").await, Vec::<String>::new());
}

pub async fn long_segments_survive(subject: Subject) {
    let long = "k".repeat(300);
    let mut names: Vec<String> = ["", "-x", "/x", "é€", "~"]
        .iter()
        .flat_map(|tail| {
            let cut = format!("{}{tail}", &long[..240]);
            [cut, format!("long/{long}{tail}"), format!("{}{tail}", "ü€".repeat(180))]
        })
        .collect();
    names.retain(|name| name.len() <= 900 && !name.ends_with('/'));
    // What lies under another object is against the contract.
    let (folders, files): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.ends_with("/x"));
    for (index, mut names) in [folders, files].into_iter().enumerate() {
        names = names.into_iter().map(|name| format!("{index}/{name}")).collect();
        for name in &names {
            subject.create(name, name.clone()).await;
            assert_eq!(subject.bytes(name).await, *name);
        }
        names.sort_unstable();
        assert_eq!(subject.names(&format!("{index}/")).await, names);
        let after = &names[names.len() / 2];
        let rest = &names[names.len() / 2 + 1..];
        assert_eq!(subject.names_after(&format!("{index}/"), Some(after)).await, rest);
        let cut = format!("{index}/long/{}", "k".repeat(250));
        let matching: Vec<_> = names.iter().filter(|name| name.starts_with(&cut)).collect();
        assert_eq!(subject.names(&cut).await.iter().collect::<Vec<_>>(), matching);
    }
}

pub async fn put_tells_what_head_tells(subject: Subject) {
    for len in [3, 2 * subject.part_bytes] {
        let name = format!("of-{len}");
        let put = subject.create(&name, pattern(len)).await;
        let head = subject.backend.head(&subject.path(&name)).await.unwrap();
        assert_eq!(put, head);
        let get = subject.backend.get(&subject.path(&name), 0..1).await.unwrap();
        assert_eq!(get.meta, head);
        let now = jiff::Timestamp::now().as_second();
        assert!((now - head.created.as_second()).abs() < 300, "created is {}", head.created);
    }
}
