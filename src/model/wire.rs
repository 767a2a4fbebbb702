//! Reading and writing the primitives of the binary formats, with every bound checked.

/// Why bytes are not what they should be. Formats err on the side of refusing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end in the middle of something.
    #[error("the {0} is cut short")]
    Short(&'static str),
    /// It does not begin or end as that format does.
    #[error("this is not a {0}, or one of a version that this Larder does not know")]
    Magic(&'static str),
    /// A number is larger than any honest writer would make it.
    #[error("the {what} says {value}; at most {max} is allowed")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The number found.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// A value contradicts another, or the rules of the format.
    #[error("the {0} is not valid")]
    Invalid(&'static str),
}

/// A cursor over foreign bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Names the format in errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(FormatError::Short(self.what))?;
        self.bytes = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, tail) = self.bytes.split_first_chunk().ok_or(FormatError::Short(self.what))?;
        self.bytes = tail;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// LEB128, at most ten bytes, and only the shortest spelling.
    pub(super) fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || byte == 0 && shift > 0 {
                return Err(FormatError::Invalid("number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FormatError::Invalid("number"))
    }

    /// A [`varint`](Self::varint) of at most `max`.
    pub(super) fn bounded(&mut self, what: &'static str, max: u64) -> Result<u64, FormatError> {
        let value = self.varint()?;
        if value > max {
            return Err(FormatError::TooLarge { what, value, max });
        }
        Ok(value)
    }

    /// Zig-zag coded signed number.
    pub(super) fn signed(&mut self) -> Result<i64, FormatError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Length and bytes, of at most `max`.
    pub(super) fn bytes(&mut self, what: &'static str, max: u64) -> Result<&'a [u8], FormatError> {
        let len = self.bounded(what, max)?;
        self.take(usize::try_from(len).map_err(|_| FormatError::Short(self.what))?)
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_signed(&mut out, signed);
            let mut reader = Reader::new(&out, "number");
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn a_number_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes, "number");
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(out.len(), bytes.len() - reader.remaining());
            }
        }
    }
}
