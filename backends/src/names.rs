//! How a path's long segments are stored where a name may have at most 255 bytes: in a folder, and in
//! S3 servers that keep objects in one (MinIO, JuiceFS).
//!
//! A segment of more than 240 bytes is cut into nested ones. Each cut is after the first 240 bytes (or up
//! to three more, so that no character is torn), is marked by one more character, and followed by
//! `/`. The mark is `!` when the next byte sorts before `/`, else `~`: so stored names sort exactly as
//! the paths do, and a prefix of a path is stored as a prefix of its name.

const CUT_BYTES: usize = 240;

/// The stored form of a path, or of a prefix of one.
pub(crate) fn stored(path: &str) -> String {
    let mut name = String::with_capacity(path.len() + 8);
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            name.push('/');
        }
        let mut rest = segment;
        while let Some((head, tail)) = cut(rest) {
            name.push_str(head);
            name.push_str(if tail.as_bytes()[0] < b'/' { "!/" } else { "~/" });
            rest = tail;
        }
        name.push_str(rest);
    }
    name
}

/// The path whose stored form is `name`; `None` when there is none.
pub(crate) fn original(name: &str) -> Option<String> {
    let mut path = String::with_capacity(name.len());
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        match cut(segment) {
            None => path.push_str(segment),
            Some((head, "!" | "~")) => {
                segments.peek()?;
                path.push_str(head);
                continue;
            }
            Some(_) => return None,
        }
        if segments.peek().is_some() {
            path.push('/');
        }
    }
    (stored(&path) == name).then_some(path)
}

/// The head that is stored by itself and what follows it, if the segment is that long.
fn cut(segment: &str) -> Option<(&str, &str)> {
    let mut at = CUT_BYTES;
    while at < segment.len() && !segment.is_char_boundary(at) {
        at += 1;
    }
    (at < segment.len()).then(|| segment.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<String> {
        let mut samples = vec![String::from("a"), String::from("a/b"), String::from("a!/b~/c")];
        for head in [238, 239, 240, 241, 480, 900] {
            for tail in
                ["", "!", "~", "-", "/", "0", "é", "€", "😀", "-x", "/x", "~/x", "!/x", "€x"]
            {
                samples.push(format!("p/{}{tail}", "a".repeat(head)));
                samples.push(format!("p/{}{tail}z{}", "a".repeat(head), "€".repeat(90)));
            }
        }
        samples.retain(|path| !path.ends_with('/'));
        samples
    }

    #[test]
    fn every_stored_segment_fits_and_can_be_read_back() {
        for path in samples() {
            let name = stored(&path);
            assert!(name.split('/').all(|segment| !segment.is_empty() && segment.len() <= 255));
            assert_eq!(original(&name).as_deref(), Some(path.as_str()));
        }
    }

    #[test]
    fn order_and_prefixes_survive() {
        let samples = samples();
        for a in &samples {
            for b in &samples {
                assert_eq!(a.cmp(b), stored(a).cmp(&stored(b)), "{a} {b}");
                assert_eq!(a.starts_with(b), stored(a).starts_with(&stored(b)), "{a} {b}");
            }
        }
    }

    #[test]
    fn names_that_nothing_is_stored_under_have_no_original() {
        let a240 = "a".repeat(240);
        for name in
            [format!("{a240}!"), format!("{a240}bc"), format!("{a240}!/x"), format!("{a240}x/y")]
        {
            assert_eq!(original(&name), None, "{name}");
        }
    }
}
