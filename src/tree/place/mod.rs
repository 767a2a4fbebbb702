//! Restoring: packs and a manifest become a tree. Everything is made and verified beside its place
//! first, and moved there at the end: what was there before stays until all is well.

mod commit;
mod fetch;
mod files;
mod folders;
mod layout;

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use layout::Layout;

use super::{Base, Depot, Memory, Result, Warning};
use crate::model::Manifest;

/// A tree that is in its place.
#[derive(Debug)]
pub struct Placed {
    /// Number of entries.
    pub files: u64,
    /// Bytes of the regular files.
    pub size_bytes: u64,
    /// Where the saved paths went.
    pub paths: Vec<PathBuf>,
    /// Modes, times or attributes that could not be set.
    pub warnings: Vec<Warning>,
    /// For the next save.
    pub memory: Memory,
}

/// Places the tree that `manifest` describes. `progress` is told the number of bytes written so far,
/// and of how many.
pub fn place(
    manifest: &Manifest,
    depot: &dyn Depot,
    base: &Base,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Placed> {
    let begun = Instant::now();
    let tell = |what: &str| tracing::debug!(elapsed = ?begun.elapsed(), "{what}");
    let packs = fetch::packs(manifest, depot)?;
    tell("tables are read");
    let stream = fetch::stream(manifest, &packs, depot)?;
    let layout = Layout::new(&stream, &packs, base)?;
    drop(stream);
    tell("the entry stream is read");
    let stages = commit::Stages::new(&layout.roots)?;
    let mut warnings = folders::make(&layout, &stages)?;
    tell("folders are made");
    let made = files::make(&layout, &packs, depot, &stages, progress)?;
    warnings.extend(made.warnings);
    tell("files are made");
    folders::make_hardlinks(&layout, &stages)?;
    let paths = layout.roots.iter().map(|root| root.here.clone()).collect();
    stages.commit(&layout.roots)?;
    warnings.extend(folders::finish(&layout));
    tell("all is in its place");
    let mut memory = Memory { packs: manifest.packs.clone(), files: made.remembered };
    memory.settle(SystemTime::now());
    Ok(Placed {
        files: layout.entries() as u64,
        size_bytes: layout.size_bytes(),
        paths,
        warnings,
        memory,
    })
}
