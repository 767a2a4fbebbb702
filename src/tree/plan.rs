//! A scan, laid out in the order of the entry stream, and cut into work for the readers.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Root;
use super::walk::{Entry, Node, Scan};

/// Bytes of a large file that one reader takes at once. A chunk never crosses such a border, so that
/// readers need not wait for one another.
pub(super) const SEGMENT_BYTES: u64 = 4 << 20;
const ITEM_BYTES: u64 = 1 << 20;
const ITEM_FILES: usize = 256;

#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) files: Vec<PlannedFile<'a>>,
}

/// What becomes a record of the entry stream.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Root(&'a Root),
    /// With its position in [`Scan::folders`].
    Folder(&'a Entry, usize),
    /// Position in [`Plan::files`].
    File(usize),
    Symlink(&'a Entry, &'a [u8]),
    Hardlink {
        entry: &'a Entry,
        file: usize,
        root: u32,
        path: Vec<u8>,
    },
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedFile<'a> {
    /// The folder it lies in; for a saved path that is a file, the file itself.
    pub(super) folder: &'a Path,
    pub(super) entry: &'a Entry,
}

impl PlannedFile<'_> {
    pub(super) fn path(&self) -> PathBuf {
        if self.entry.name.is_empty() {
            self.folder.to_owned()
        } else {
            self.folder.join(OsStr::from_bytes(&self.entry.name))
        }
    }
}

/// One reader's portion. Portions are numbered in tree order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// These files, whole.
    Files(Vec<usize>),
    /// A part of a large file.
    Segment { file: usize, range: Range<u64>, last: bool },
}

impl<'a> Plan<'a> {
    pub(super) fn new(scan: &'a Scan) -> Self {
        let mut layout = Layout {
            scan,
            plan: Self { steps: Vec::new(), files: Vec::new() },
            links: HashMap::new(),
            path: Vec::new(),
            root: 0,
        };
        for (at, root) in scan.roots.iter().enumerate() {
            layout.root = u32::try_from(at).expect("few paths are saved at once");
            layout.plan.steps.push(Step::Root(&root.root));
            layout.entry(&root.entry, &root.root.here);
        }
        layout.plan
    }
}

struct Layout<'a> {
    scan: &'a Scan,
    plan: Plan<'a>,
    /// First name of each file that has several.
    links: HashMap<(u64, u64), (usize, u32, Vec<u8>)>,
    /// From the saved path to the current entry.
    path: Vec<u8>,
    root: u32,
}

impl<'a> Layout<'a> {
    fn entry(&mut self, entry: &'a Entry, folder: &'a Path) {
        match &entry.node {
            Node::Folder(at) => {
                self.plan.steps.push(Step::Folder(entry, *at));
                let inside = &self.scan.folders[*at];
                for child in &inside.entries {
                    let len = self.path.len();
                    if len > 0 {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(&child.name);
                    self.entry(child, &inside.path);
                    self.path.truncate(len);
                }
                self.plan.steps.push(Step::End);
            }
            Node::Symlink(target) => self.plan.steps.push(Step::Symlink(entry, target)),
            Node::File => self.file(entry, folder),
        }
    }

    fn file(&mut self, entry: &'a Entry, folder: &'a Path) {
        let file = self.plan.files.len();
        if entry.stat.nlink > 1 {
            let id = (entry.stat.dev, entry.stat.ino);
            if let Some((file, root, path)) = self.links.get(&id) {
                let (file, root, path) = (*file, *root, path.clone());
                self.plan.steps.push(Step::Hardlink { entry, file, root, path });
                return;
            }
            self.links.insert(id, (file, self.root, self.path.clone()));
        }
        self.plan.files.push(PlannedFile { folder, entry });
        self.plan.steps.push(Step::File(file));
    }
}

/// Cuts the files named by `wanted`, ascending, into portions of about equal work.
pub(super) fn items(files: &[PlannedFile<'_>], wanted: impl Iterator<Item = usize>) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut open_bytes = 0;
    for file in wanted {
        let size = files[file].entry.stat.size;
        if open_bytes + size > ITEM_BYTES || open.len() == ITEM_FILES {
            close(&mut items, &mut open);
            open_bytes = 0;
        }
        if size > SEGMENT_BYTES {
            close(&mut items, &mut open);
            let mut start = 0;
            while start < size {
                let end = size.min(start + SEGMENT_BYTES);
                items.push(Item::Segment { file, range: start..end, last: end == size });
                start = end;
            }
        } else {
            open.push(file);
            open_bytes += size;
        }
    }
    close(&mut items, &mut open);
    items
}

fn close(items: &mut Vec<Item>, open: &mut Vec<usize>) {
    if !open.is_empty() {
        items.push(Item::Files(std::mem::take(open)));
    }
}
