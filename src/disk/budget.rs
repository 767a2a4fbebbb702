//! How much room the blobs may take: what the operator set, and what others leave on the file system.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Error, Result, write_durably};

/// Of what is free at the first start, when nothing is set.
const DEFAULT_SHARE_PERCENT: u64 = 80;
const DEFAULT_BYTES_MAX: u64 = 100 << 30;
/// Eviction in the background goes on until so much of the budget is used.
const LOW_WATERMARK_PERCENT: u64 = 90;
/// And begins when more than this is.
const HIGH_WATERMARK_PERCENT: u64 = 95;
/// Where the default is kept, so that later starts have the same.
const DEFAULT_FILE: &str = "MAX_SIZE";

/// Bytes, or a share of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// Of the size of the file system, 0 to 100.
    Percent(u8),
}

/// What an operator decides about room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What the blobs may take; without it, 80 % of what is free at the first start, at most 100 GiB.
    pub max_size: Option<Amount>,
    /// What is left to others on the file system.
    pub min_free: Amount,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: None, min_free: Amount::Percent(10) }
    }
}

impl Amount {
    fn bytes(self, of: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => of / 100 * u64::from(percent.min(100)),
        }
    }
}

/// The text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount: give bytes such as 500MB or 80GiB, or a share such as 50%")]
pub struct AmountError(String);

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> std::result::Result<Self, AmountError> {
        let wrong = || AmountError(text.to_owned());
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim_start();
        if unit == "%" {
            let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
            return percent.map(Self::Percent).ok_or_else(wrong);
        }
        let unit = unit.strip_suffix(['B', 'b']).unwrap_or(unit);
        let (letter, base) = match unit.strip_suffix('i') {
            Some(letter) => (letter, 1024_u64),
            None => (unit, 1000),
        };
        let power = match letter {
            "" if base == 1000 => 0,
            "k" | "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err(wrong()),
        };
        number.checked_mul(base.pow(power)).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The file system under the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) total: u64,
    pub(super) free: u64,
}

impl Space {
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let stat = rustix::fs::statvfs(folder).map_err(|error| Error::io(error.into()))?;
        Ok(Self {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// The limits in bytes, and what of them is promised to blobs that are being written.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: u64,
    min_free_bytes: u64,
    reserved: AtomicU64,
}

impl Budget {
    pub(super) fn new(limits: &Limits, root: &Path) -> Result<Self> {
        let space = Space::of(root)?;
        let max_bytes = match limits.max_size {
            Some(amount) => amount.bytes(space.total),
            None => default_max_bytes(root, space)?,
        };
        let min_free_bytes = limits.min_free.bytes(space.total);
        Ok(Self { max_bytes, min_free_bytes, reserved: AtomicU64::new(0) })
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(super) fn min_free_bytes(&self) -> u64 {
        self.min_free_bytes
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that may be written now beside `used`. What is promised and written already counts twice
    /// against the file system's free bytes; so it errs on the safe side, by what is being written.
    pub(super) fn room(&self, used: u64, space: Space) -> u64 {
        let reserved = self.reserved();
        let of_budget = self.max_bytes.saturating_sub(used + reserved);
        let of_disk = space.free.saturating_sub(self.min_free_bytes + reserved);
        of_budget.min(of_disk)
    }

    /// Whether so little is left that eviction should begin.
    pub(super) fn is_tight(&self, used: u64, space: Space) -> bool {
        used + self.reserved() > share(self.max_bytes, HIGH_WATERMARK_PERCENT)
            || space.free < self.min_free_bytes
    }

    /// Bytes to evict, so that a while passes before it is needed again.
    pub(super) fn excess(&self, used: u64, space: Space) -> u64 {
        let low = share(self.max_bytes, LOW_WATERMARK_PERCENT);
        let over_budget = (used + self.reserved()).saturating_sub(low);
        let over_disk = self.min_free_bytes.saturating_sub(space.free);
        over_budget.max(over_disk)
    }
}

fn share(of: u64, percent: u64) -> u64 {
    of / 100 * percent
}

fn default_max_bytes(root: &Path, space: Space) -> Result<u64> {
    match fs_err::read_to_string(root.join(DEFAULT_FILE)) {
        Ok(text) => {
            if let Ok(bytes) = text.trim().parse() {
                return Ok(bytes);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(error)),
    }
    let bytes = share(space.free, DEFAULT_SHARE_PERCENT).min(DEFAULT_BYTES_MAX);
    write_durably(root, DEFAULT_FILE, format!("{bytes}\n").as_bytes())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let cases = [
            ("0", Amount::Bytes(0)),
            ("1500", Amount::Bytes(1500)),
            ("20GB", Amount::Bytes(20_000_000_000)),
            ("20 GiB", Amount::Bytes(20 << 30)),
            ("3Ki", Amount::Bytes(3072)),
            ("1T", Amount::Bytes(1_000_000_000_000)),
            ("50%", Amount::Percent(50)),
        ];
        for (text, amount) in cases {
            assert_eq!(text.parse(), Ok(amount), "{text}");
        }
        for text in
            ["", "GB", "-1", "101%", "1.5G", "1X", "1iB", "99999999999999999999", "20000000T"]
        {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_tighter_limit_counts() {
        let budget = Budget { max_bytes: 1000, min_free_bytes: 100, reserved: AtomicU64::new(50) };
        let space = |free| Space { total: 10_000, free };
        assert_eq!(budget.room(200, space(5000)), 750);
        assert_eq!(budget.room(200, space(300)), 150);
        assert_eq!(budget.room(2000, space(5000)), 0);
        assert_eq!(budget.excess(200, space(5000)), 0);
        assert_eq!(budget.excess(950, space(5000)), 100);
        assert_eq!(budget.excess(200, space(40)), 60);
        assert!(budget.is_tight(920, space(5000)) && budget.is_tight(0, space(99)));
        assert!(!budget.is_tight(900, space(5000)));
    }

    #[test]
    fn the_default_stays_as_it_was_at_the_first_start() {
        let folder = tempfile::tempdir().unwrap();
        let space = |free| Space { total: 1 << 40, free };
        assert_eq!(default_max_bytes(folder.path(), space(1000)).unwrap(), 800);
        assert_eq!(default_max_bytes(folder.path(), space(5)).unwrap(), 800);
        fs_err::remove_file(folder.path().join(DEFAULT_FILE)).unwrap();
        assert_eq!(default_max_bytes(folder.path(), space(1 << 39)).unwrap(), 100 << 30);
    }
}
