//! What `list` promises.

use futures_util::StreamExt as _;

use super::Subject;

pub async fn list_is_sorted_and_resumes_after(subject: Subject) {
    // In byte order `-` and `.` come before `/`, and `0` after it, whatever folders are.
    let sorted =
        ["A", "a-b", "a.b/x", "a/b", "a/b-c/d", "a/bc", "a/z", "a0", "aa", "b/1/2/3", "z", "ä"];
    let mut shuffled = sorted.map(str::to_owned);
    fastrand::shuffle(&mut shuffled);
    subject.create_all(shuffled).await;
    assert_eq!(subject.names("").await, sorted);
    for (index, name) in sorted.iter().enumerate() {
        assert_eq!(subject.names_after("", Some(name)).await, sorted[index + 1..], "after {name}");
    }
    // After what does not exist, folders and what would lie under an object among it.
    for after in ["a/c", "a/b/x", "a", "0", "b/1/2", "zz"] {
        let expected: Vec<_> = sorted.iter().copied().filter(|name| *name > after).collect();
        assert_eq!(subject.names_after("", Some(after)).await, expected, "after {after}");
    }
    assert_eq!(subject.names_after("a/", Some("A")).await, ["a/b", "a/b-c/d", "a/bc", "a/z"]);
    assert_eq!(subject.names_after("a/", Some("a/b")).await, ["a/b-c/d", "a/bc", "a/z"]);
    assert_eq!(subject.names_after("a/", Some("a0")).await, Vec::<String>::new());
}

pub async fn list_of_thousands_is_whole(subject: Subject) {
    let names: Vec<String> = (0..2500).map(|i| format!("{}/{i:04}", i / 700)).collect();
    subject.create_all(names.clone()).await;
    assert_eq!(subject.names("").await, names);
    assert_eq!(subject.names_after("", Some(&names[1200])).await, names[1201..]);
    // Who wants only the first does not wait for all.
    let first = subject.backend.list(&subject.root, None).next().await.unwrap().unwrap();
    assert_eq!(first.path, subject.path(&names[0]));
}

pub async fn a_prefix_may_end_anywhere(subject: Subject) {
    let names = ["ab", "abc", "abd/e", "abd/f/g", "b"];
    for name in names {
        subject.create(name, name.to_owned()).await;
    }
    for (prefix, expected) in [
        ("", &names[..]),
        ("a", &names[..4]),
        ("ab", &names[..4]),
        ("abd", &names[2..4]),
        ("abd/", &names[2..4]),
        ("abd/f", &names[3..4]),
        ("abd/f/g", &names[3..4]),
        ("abc", &names[1..2]),
        ("abc/", &[]),
        ("b", &names[4..]),
    ] {
        assert_eq!(subject.names(prefix).await, expected, "prefix `{prefix}`");
    }
    let listed = subject.backend.list(&format!("{}/ab", subject.root), None);
    for meta in listed.collect::<Vec<_>>().await {
        let meta = meta.unwrap();
        assert_eq!(meta, subject.backend.head(&meta.path).await.unwrap());
    }
}

pub async fn list_of_nothing_is_empty(subject: Subject) {
    assert_eq!(subject.names("").await, Vec::<String>::new());
    assert_eq!(subject.names("no/such/folder/").await, Vec::<String>::new());
    subject.create("a", b"x"[..].as_ref()).await;
    assert_eq!(subject.names("a/").await, Vec::<String>::new());
    assert_eq!(subject.names_after("", Some("a")).await, Vec::<String>::new());
}
