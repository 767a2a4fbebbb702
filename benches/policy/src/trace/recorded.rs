//! Reads a recorded trace: a line for each access, `<unix seconds> <r|w> <hex digest> <size bytes>`.

use std::collections::HashMap;

use super::{Access, Trace};
use crate::policy::Blob;

/// Faults name their line. A blob has the size that its first line says.
pub fn parse(name: &str, text: &str) -> Result<Trace, String> {
    let mut blobs: HashMap<&str, Blob> = HashMap::new();
    let mut accesses = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (secs, is_write, digest, size_bytes) = fields(line)
            .ok_or_else(|| format!("{name}:{}: not `<secs> <r|w> <digest> <size>`", index + 1))?;
        let id = blobs.len() as u32;
        let blob = *blobs.entry(digest).or_insert(Blob { id, size_bytes });
        accesses.push(Access { secs, is_write, blob });
    }
    Ok(Trace::new(name.to_owned(), accesses))
}

fn fields(line: &str) -> Option<(u64, bool, &str, u64)> {
    let mut words = line.split_ascii_whitespace();
    let secs = words.next()?.parse().ok()?;
    let is_write = match words.next()? {
        "r" => false,
        "w" => true,
        _ => return None,
    };
    let digest = words.next()?;
    let size_bytes = words.next()?.parse().ok()?;
    let is_hex = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && words.next().is_none()).then_some((secs, is_write, digest, size_bytes))
}
