//! What holds when several do something at once.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Barrier;

use super::{Subject, pattern};
use crate::{Body, ErrorKind, Features, PutMode};

const RACERS: usize = 16;

pub async fn readers_never_see_a_part(subject: Subject) {
    let path = subject.path("a");
    let len = subject.part_bytes * 2;
    let of = move |byte: u8| Bytes::from(vec![byte; len]);
    subject.create("a", of(0)).await;
    let backend = Arc::clone(&subject.backend);
    let writer = {
        let path = path.clone();
        tokio::spawn(async move {
            for byte in 1..=5 {
                backend.put(&path, Body::from(of(byte)), PutMode::Overwrite).await.unwrap();
            }
        })
    };
    let mut last = 0;
    while last < 5 {
        let done = writer.is_finished();
        let bytes = subject.bytes("a").await;
        assert_eq!(bytes.len(), len);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture of two objects");
        assert!(bytes[0] >= last, "an older object came back");
        last = bytes[0];
        assert!(!done || last == 5, "the last object is not visible though `put` returned");
    }
    writer.await.unwrap();
}

pub async fn a_reader_keeps_its_object_while_it_is_replaced(subject: Subject) {
    let path = subject.path("a");
    let old = pattern(2 * subject.part_bytes);
    subject.create("a", old.clone()).await;
    let mut body = subject.backend.get(&path, 0..u64::MAX).await.unwrap().body;
    let first = body.next().await.unwrap().unwrap();
    subject.backend.put(&path, b"new"[..].as_ref().into(), PutMode::Overwrite).await.unwrap();
    // The old object whole, or an error: never a mixture, and never a short one.
    let rest: Result<BytesMut, _> = body.try_collect().await;
    if let Ok(rest) = rest {
        assert!(first.iter().chain(&rest).eq(&old), "not the object that was being read");
    }
    assert_eq!(subject.bytes("a").await, "new");
}

/// As many creators as [`RACERS`] start together; how many won, and which.
async fn race(subject: &Subject, name: &str, len: usize) -> Vec<usize> {
    let start = Arc::new(Barrier::new(RACERS));
    let racers = (0..RACERS).map(|racer| {
        let (backend, path) = (Arc::clone(&subject.backend), subject.path(name));
        let start = Arc::clone(&start);
        tokio::spawn(async move {
            let byte = u8::try_from(racer).unwrap();
            start.wait().await;
            match backend.put(&path, vec![byte; len].into(), PutMode::Create).await {
                Ok(_) => Some(racer),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                Err(error) => panic!("{}", error.chain()),
            }
        })
    });
    let results = join_all(racers).await;
    results.into_iter().filter_map(Result::unwrap).collect()
}

pub async fn features_tell_the_truth(subject: Subject) {
    let asked = join_all((0..8).map(|_| subject.backend.features())).await;
    let features: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
    assert!(features.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(subject.names("").await, Vec::<String>::new());
    if features[0].conditional_create {
        return; // then `one_of_many_creators_wins` holds it to that
    }
    // A backend that says that it cannot is believed, but still refuses what lies there for long.
    subject.create("a", b"x"[..].as_ref()).await;
    let again = subject.backend.put(&subject.path("a"), vec![].into(), PutMode::Create).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

pub async fn one_of_many_creators_wins(subject: Subject) {
    let conditional = subject.backend.features().await.unwrap().conditional_create;
    let promised = usize::try_from(Features::RACE_BYTES_MAX).unwrap();
    let large = subject.part_bytes.max(promised) + 1;
    for (name, len) in [("small", 100), ("again", 100), ("limit", promised), ("large", large)] {
        let winners = race(&subject, name, len).await;
        assert!(!winners.is_empty(), "nobody won");
        let one = conditional && len <= promised;
        assert!(!one || winners.len() == 1, "{winners:?} all won `{name}`");
        let bytes = subject.bytes(name).await;
        assert_eq!(bytes.len(), len);
        assert!(winners.contains(&usize::from(bytes[0])), "a loser's object is there");
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture of two objects");
    }
}
