//! The `Range` header (RFC 9110, section 14): one range of bytes; anything else is answered whole, as
//! the RFC allows.

use std::ops::Range;

/// What part of a representation a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    /// All of it.
    Whole,
    /// Not empty, and within.
    Part(Range<u64>),
    /// Nothing that is there.
    Beyond,
}

/// The part of `size` bytes that the header's value asks for.
pub(super) fn requested(value: Option<&str>, size: u64) -> Span {
    let Some(spec) = value.and_then(|value| value.trim().strip_prefix("bytes=")) else {
        return Span::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Span::Whole };
    let part = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(length)) if first.trim().is_empty() => size.saturating_sub(length)..size,
        _ => return Span::Whole,
    };
    if part.start < part.end { Span::Part(part) } else { Span::Beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_and_nonsense_is_ignored() {
        let cases = [
            (None, Span::Whole),
            (Some("bytes=0-0"), Span::Part(0..1)),
            (Some("bytes=5-"), Span::Part(5..10)),
            (Some("bytes=5-99"), Span::Part(5..10)),
            (Some("bytes=-3"), Span::Part(7..10)),
            (Some("bytes=-99"), Span::Part(0..10)),
            (Some("bytes=10-"), Span::Beyond),
            (Some("bytes=-0"), Span::Beyond),
            (Some("bytes=7-3"), Span::Whole),
            (Some("bytes=0-1,3-4"), Span::Whole),
            (Some("lines=1-2"), Span::Whole),
            (Some("bytes=0-18446744073709551615"), Span::Part(0..10)),
        ];
        for (value, span) in cases {
            assert_eq!(requested(value, 10), span, "{value:?}");
        }
        assert_eq!(requested(Some("bytes=0-"), 0), Span::Beyond);
    }
}
