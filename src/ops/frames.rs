//! How blobs lie in the backend: the zstd seekable format, which every zstd tool reads. Independent
//! frames, then a skippable frame with their sizes, so that the end of a pack can be had alone.
//!
//! Format: `contrib/seekable_format/zstd_seekable_compression_format.md` in zstd's repository.

use std::io::{self, Read, Write};
use std::ops::Range;

use super::{Error, ErrorKind, Result};

/// Plain bytes in a frame. Longer frames compress better, and make more work for a part of them.
const FRAME_BYTES: u64 = 1 << 20;
/// Plain bytes in the longest frame of another writer that is read by itself.
pub(super) const FRAME_BYTES_MAX: u64 = 8 << 20;
/// zstd's own default: half the time of level 6 for a few per cent more bytes.
const LEVEL: i32 = 3;
/// No frame of ours needs a larger window; a hostile one could ask for gigabytes.
const WINDOW_LOG_MAX: u32 = 23;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER_BYTES: u64 = 9;
const FRAMES_MAX: u32 = 1 << 16;

/// Compresses the `len` bytes of `plain`. A frame ends at `border`, so that what follows can be read by
/// itself.
pub(super) fn encode(mut plain: impl Read, len: u64, border: u64) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut out = Vec::with_capacity(place(len) / 3 + 1024);
    let mut frames = Vec::new();
    let mut frame = vec![0; place(len.min(FRAME_BYTES))];
    let mut compressed = vec![0; zstd::zstd_safe::compress_bound(frame.len())];
    let mut start = 0;
    while start < len {
        let stop = if start < border { border.min(len) } else { len };
        let piece = &mut frame[..place(stop.min(start + FRAME_BYTES) - start)];
        plain.read_exact(piece)?;
        let size = compressor.compress_to_buffer(piece, &mut compressed)?;
        out.extend_from_slice(&compressed[..size]);
        frames.push((size, piece.len()));
        start += piece.len() as u64;
    }
    let mut put = |value: u64| {
        let value = u32::try_from(value)
            .map_err(|_| io::Error::other("the blob is too large for one seek table"))?;
        out.extend_from_slice(&value.to_le_bytes());
        Ok::<(), io::Error>(())
    };
    put(SKIPPABLE_MAGIC.into())?;
    put(frames.len() as u64 * 8 + FOOTER_BYTES)?;
    for (compressed, plain) in &frames {
        put(*compressed as u64)?;
        put(*plain as u64)?;
    }
    put(frames.len() as u64)?;
    out.push(0);
    out.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    Ok(out)
}

/// Decompresses pieces as they arrive and hands the plain bytes on; more than `limit` of them is an
/// error.
pub(super) struct Decoder<W: Write>(zstd::stream::write::Decoder<'static, Limited<W>>);

struct Limited<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it holds more bytes than it should")
        })?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Decoder<W> {
    pub(super) fn new(inner: W, limit: u64) -> io::Result<Self> {
        let mut decoder = zstd::stream::write::Decoder::new(Limited { inner, left: limit })?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self(decoder))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0.into_inner().inner)
    }
}

/// How much of an object's end holds its seek table, as its last bytes tell; they must be at least
/// [`Tail::FOOTER`] many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// Compressed and plain size of each frame.
    frames: Vec<(u32, u32)>,
}

impl Tail {
    pub(super) const FOOTER: u64 = FOOTER_BYTES;

    /// Bytes from the beginning of the seek table's frame to the object's end.
    pub(super) fn len(end: &[u8]) -> Result<u64> {
        let damaged =
            || Error::new(ErrorKind::Corrupt, "the object in the backend has no seek table");
        let footer = end.last_chunk::<9>().ok_or_else(damaged)?;
        let [a, b, c, d, _, magic @ ..] = *footer;
        let frames = u32::from_le_bytes([a, b, c, d]);
        if u32::from_le_bytes(magic) != SEEKABLE_MAGIC || frames > FRAMES_MAX {
            return Err(damaged());
        }
        Ok(8 + u64::from(frames) * 8 + FOOTER_BYTES)
    }

    /// Reads the whole of it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::new(ErrorKind::Corrupt, "the seek table in the backend is damaged");
        if Self::len(bytes)? != bytes.len() as u64 {
            return Err(damaged());
        }
        let table = bytes.get(8..bytes.len() - place(FOOTER_BYTES)).ok_or_else(damaged)?;
        let (pairs, _) = table.as_chunks::<8>();
        let number = |bytes: &[u8]| {
            bytes.iter().rev().fold(0_u32, |value, &byte| value << 8 | u32::from(byte))
        };
        let frames = pairs.iter().map(|pair| (number(&pair[..4]), number(&pair[4..]))).collect();
        Ok(Self { frames })
    }

    /// All plain bytes.
    pub(super) fn plain_bytes(&self) -> u64 {
        self.frames.iter().map(|&(_, plain)| u64::from(plain)).sum()
    }

    /// The compressed bytes that hold the plain bytes in `wanted`, and how many plain bytes come before
    /// these in them.
    pub(super) fn locate(&self, wanted: &Range<u64>) -> (Range<u64>, u64) {
        let (mut compressed, mut plain) = (0, 0);
        let mut from = None;
        for &(frame, holds) in &self.frames {
            if plain >= wanted.end {
                break;
            }
            let end = plain + u64::from(holds);
            if from.is_none() && end > wanted.start {
                from = Some((compressed, wanted.start - plain));
            }
            compressed += u64::from(frame);
            plain = end;
        }
        let (begin, skip) = from.unwrap_or((compressed, 0));
        (begin..compressed, skip)
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).expect("offsets in memory fit")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(Vec::new(), limit)?;
        for piece in bytes.chunks(1000) {
            decoder.write(piece)?;
        }
        decoder.finish()
    }

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn comes_back_and_its_end_alone(len in 0..3_000_000_usize, border in 0..3_000_000_u64) {
            let plain = plain(len);
            let object = encode(&*plain, len as u64, border).unwrap();
            prop_assert_eq!(&decode(&object, len as u64).unwrap(), &plain);
            prop_assert!(len == 0 || decode(&object, len as u64 - 1).is_err(), "the limit holds");
            let tail = Tail::len(&object).unwrap();
            let tail = Tail::decode(&object[object.len() - place(tail)..]).unwrap();
            let start = border.min(len as u64);
            prop_assert_eq!(tail.plain_bytes(), len as u64);
            let end = start + (len as u64 - start) / 3;
            for wanted in [start..len as u64, start..end, 0..end] {
                let (range, skip) = tail.locate(&wanted);
                let part = decode(&object[place(range.start)..place(range.end)], len as u64).unwrap();
                let part = &part[place(skip).min(part.len())..];
                let wanted = &plain[place(wanted.start)..place(wanted.end)];
                prop_assert_eq!(part.get(..wanted.len()), Some(wanted));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), honest: bool, at: usize) {
            if honest {
                bytes = encode(&*plain(5000), 5000, 100).unwrap();
                let at = at % bytes.len();
                bytes[at] ^= 0x55;
            }
            let _ = decode(&bytes, 10_000);
            if let Ok(len) = Tail::len(&bytes)
                && let Some(start) = bytes.len().checked_sub(place(len))
            {
                let _ = Tail::decode(&bytes[start..]).map(|tail| tail.locate(&(77..1000)));
            }
        }
    }
}
