//! Saving: a tree becomes packs and a manifest; chunks that are there already are not sent.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use super::memory::{FileId, Recall, Remembered};
use super::packer::Packer;
use super::plan::{Plan, Step, items};
use super::read::{Batch, Part, read_all};
use super::root::without_nested;
use super::walk::{Scan, Stat, walk};
use super::{Depot, Error, Memory, Result, Root, Warning};
use crate::model::{ChunkRef, Extent, Manifest, Meta, Record, StreamWriter, Xattrs};

/// A tree whose packs lie durably on the host.
#[derive(Debug)]
pub struct Packed {
    /// What describes it.
    pub manifest: Manifest,
    /// Number of entries.
    pub files: u64,
    /// Bytes of the regular files.
    pub size_bytes: u64,
    /// Bytes of the chunks that had to be sent.
    pub sent_bytes: u64,
    /// What was left out or changed meanwhile.
    pub warnings: Vec<Warning>,
    /// For the next save.
    pub memory: Memory,
}

/// Packs the trees under `roots`. `progress` is told the number of bytes dealt with so far, and of
/// how many.
pub fn pack(
    roots: Vec<Root>,
    depot: &dyn Depot,
    memory: &Memory,
    progress: &dyn Fn(u64, u64),
) -> Result<Packed> {
    let paths: Vec<PathBuf> = roots.iter().map(|root| root.here.clone()).collect();
    let scan = walk(without_nested(roots))?;
    if scan.roots.is_empty() {
        return Err(Error::NothingToSave(paths));
    }
    pack_scan(&scan, depot, memory, progress)
}

/// Packs what was found; it may have changed since.
pub(super) fn pack_scan(
    scan: &Scan,
    depot: &dyn Depot,
    memory: &Memory,
    progress: &dyn Fn(u64, u64),
) -> Result<Packed> {
    let plan = Plan::new(scan);
    let mut contents = Contents::new(&plan, depot, memory, progress);
    contents.recall(memory);
    contents.read_missing()?;
    contents.repack()?;
    contents.finish(scan)
}

/// A file's content as far as it is known.
#[derive(Debug, Default)]
struct Content {
    extents: Vec<Extent>,
    /// How it was when it was complete; nothing yet, or never.
    done: Option<(Stat, Xattrs)>,
}

struct Contents<'a> {
    plan: &'a Plan<'a>,
    found: Vec<Content>,
    packer: Packer<'a>,
    depot: &'a dyn Depot,
    warnings: Vec<Warning>,
    progress: &'a dyn Fn(u64, u64),
    done_bytes: u64,
    total_bytes: u64,
}

impl<'a> Contents<'a> {
    fn new(
        plan: &'a Plan<'a>,
        depot: &'a dyn Depot,
        memory: &Memory,
        progress: &'a dyn Fn(u64, u64),
    ) -> Self {
        let mut found = Vec::new();
        found.resize_with(plan.files.len(), Content::default);
        Self {
            plan,
            found,
            packer: Packer::new(depot, &memory.packs),
            depot,
            warnings: Vec::new(),
            progress,
            done_bytes: 0,
            total_bytes: plan.files.iter().map(|file| file.entry.stat.size).sum(),
        }
    }

    /// Takes over what is known of unchanged files.
    fn recall(&mut self, memory: &Memory) {
        let recall = Recall::new(memory);
        for (file, content) in self.plan.files.iter().zip(&mut self.found) {
            let stat = file.entry.stat;
            if let Some(extents) = recall.extents(&stat) {
                content.extents = extents.to_vec();
                content.done = Some((stat, Vec::new()));
                self.done_bytes += stat.size;
            }
        }
    }

    fn read_missing(&mut self) -> Result<()> {
        let missing: Vec<usize> =
            (0..self.found.len()).filter(|&file| self.found[file].done.is_none()).collect();
        self.read(missing)
    }

    fn read(&mut self, files: Vec<usize>) -> Result<()> {
        let items = items(&self.plan.files, files.into_iter());
        let plan = self.plan;
        read_all(&plan.files, &items, self.depot, |batch| self.take(batch))
    }

    fn take(&mut self, batch: Batch) -> Result<()> {
        self.done_bytes += batch.bytes.len() as u64;
        let mut placed = self.packer.add(&batch.bytes, &batch.chunks, &batch.known)?.into_iter();
        for part in batch.parts {
            match part {
                Part::Chunks(file, count) => {
                    let extents = &mut self.found[file].extents;
                    placed.by_ref().take(count).for_each(|at| append(extents, at));
                }
                Part::Hole(file, len) => self.found[file].extents.push(Extent::Hole(len)),
                Part::Done(file, stat, xattrs) => self.found[file].done = Some((stat, xattrs)),
            }
        }
        self.warnings.extend(batch.warnings);
        (self.progress)(self.done_bytes.min(self.total_bytes), self.total_bytes);
        Ok(())
    }

    /// Sends chunks once more that lie in packs of which little is used, until a restore moves at
    /// most twice the bytes it needs.
    fn repack(&mut self) -> Result<()> {
        let files = self.found.iter().zip(&self.plan.files);
        let wasteful: HashSet<u32> = self
            .packer
            .wasteful(files.map(|(content, file)| (&content.extents[..], file.entry.stat.size)));
        if wasteful.is_empty() {
            return Ok(());
        }
        let uses = |content: &Content| {
            content.extents.iter().any(|extent| {
                matches!(extent, Extent::Chunks { first, .. } if wasteful.contains(&first.pack))
            })
        };
        let files: Vec<usize> =
            (0..self.found.len()).filter(|&file| uses(&self.found[file])).collect();
        self.packer.avoid(&wasteful);
        let before: Vec<Content> =
            files.iter().map(|&file| std::mem::take(&mut self.found[file])).collect();
        self.read(files.clone())?;
        for (file, before) in files.into_iter().zip(before) {
            // A file that is gone by now is still whole where it was.
            if self.found[file].done.is_none() {
                self.found[file] = before;
            }
        }
        Ok(())
    }

    fn finish(mut self, scan: &Scan) -> Result<Packed> {
        let saved = self.found.iter_mut().filter(|content| content.done.is_some());
        self.packer.finish_data(saved.flat_map(|content| &mut content.extents))?;
        let stream = self.stream(scan);
        let refs = self.packer.add_stream(&stream)?;
        let (packs, sent_bytes) = self.packer.finish()?;
        let manifest = Manifest { packs, stream: refs };
        let mut memory = Memory { packs: manifest.packs.clone(), files: Vec::new() };
        let mut size_bytes = 0;
        for content in self.found {
            let Some((stat, xattrs)) = content.done else { continue };
            size_bytes += stat.size;
            // Attributes are not remembered, so a file that has some is read every time.
            if xattrs.is_empty() {
                memory.files.push(Remembered { id: FileId::new(&stat), extents: content.extents });
            }
        }
        memory.settle(SystemTime::now());
        let files =
            self.plan.steps.iter().filter(|step| !matches!(step, Step::Root(_) | Step::End));
        let files = files.count() as u64;
        let mut warnings = scan.warnings.clone();
        warnings.append(&mut self.warnings);
        Ok(Packed { manifest, files, size_bytes, sent_bytes, warnings, memory })
    }

    fn stream(&self, scan: &Scan) -> Vec<u8> {
        let mut writer = StreamWriter::new();
        let mut gone_roots = Vec::new();
        let mut roots = 0;
        for (at, step) in self.plan.steps.iter().enumerate() {
            match step {
                Step::Root(root) => {
                    let gone = matches!(self.plan.steps[at + 1], Step::File(file) if self.found[file].done.is_none());
                    if gone {
                        gone_roots.push(roots);
                    } else {
                        writer.write(&Record::Root { anchor: root.anchor, path: &root.path });
                    }
                    roots += 1;
                }
                Step::Folder(entry, at) => {
                    let xattrs = scan.folders[*at].xattrs.clone();
                    writer.write(&Record::Folder {
                        name: &entry.name,
                        meta: meta(&entry.stat, xattrs),
                    });
                }
                Step::File(file) => {
                    let Content { extents, done } = &self.found[*file];
                    if let Some((stat, xattrs)) = done {
                        let name = &self.plan.files[*file].entry.name;
                        let meta = meta(stat, xattrs.clone());
                        writer.write(&Record::File { name, meta, extents: extents.clone() });
                    }
                }
                Step::Symlink(entry, target) => {
                    let mtime = entry.stat.mtime;
                    writer.write(&Record::Symlink { name: &entry.name, target, mtime });
                }
                Step::Hardlink { entry, file, root, path } => {
                    if self.found[*file].done.is_some() {
                        let gone = gone_roots.iter().filter(|&gone| gone < root).count();
                        let root = root - u32::try_from(gone).expect("few roots");
                        writer.write(&Record::Hardlink { name: &entry.name, root, path });
                    }
                }
                Step::End => writer.write(&Record::End),
            }
        }
        writer.finish()
    }
}

fn meta(stat: &Stat, xattrs: Xattrs) -> Meta {
    Meta { mode: stat.mode, mtime: stat.mtime, xattrs }
}

/// Adds a chunk to a file's content, joining it to the last run where it continues that.
fn append(extents: &mut Vec<Extent>, at: ChunkRef) {
    if let Some(Extent::Chunks { first, count }) = extents.last_mut()
        && first.pack == at.pack
        && first.chunk + *count == at.chunk
    {
        *count += 1;
        return;
    }
    extents.push(Extent::Chunks { first: at, count: 1 });
}
