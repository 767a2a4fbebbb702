//! The entry stream, turned into what has to be made on this host.

use std::collections::HashMap;
use std::path::PathBuf;

use super::fetch::Pack;
use crate::model::{Extent, Meta, Record, StreamReader, Time};
use crate::tree::{Base, Error, Result};

/// Everything to make. Folders come before what is in them; positions count into these lists.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) roots: Vec<TargetRoot>,
    pub(super) folders: Vec<TargetFolder>,
    pub(super) files: Vec<TargetFile>,
    pub(super) symlinks: Vec<TargetSymlink>,
    pub(super) hardlinks: Vec<TargetHardlink>,
}

#[derive(Debug)]
pub(super) struct TargetRoot {
    /// Where it goes in the end.
    pub(super) here: PathBuf,
    pub(super) is_folder: bool,
}

/// The folder an entry is made in: one of [`Layout::folders`], or, for a saved path itself, the
/// staging folder of that root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    Root(usize),
    Folder(usize),
}

#[derive(Debug)]
pub(super) struct TargetFolder {
    pub(super) root: usize,
    /// From the staging folder of its root.
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
}

#[derive(Debug)]
pub(super) struct TargetFile {
    pub(super) parent: Parent,
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) extents: Vec<Extent>,
    pub(super) size: u64,
}

#[derive(Debug)]
pub(super) struct TargetSymlink {
    pub(super) parent: Parent,
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) mtime: Time,
}

#[derive(Debug)]
pub(super) struct TargetHardlink {
    pub(super) parent: Parent,
    pub(super) name: Vec<u8>,
    /// Position in [`Layout::files`].
    pub(super) file: usize,
}

/// The name of a saved path within its staging folder.
pub(super) const STAGED: &[u8] = b"r";

impl Layout {
    pub(super) fn new(stream: &[u8], packs: &[Pack], base: &Base) -> Result<Self> {
        let mut builder = Builder { layout: Self::default(), packs, open: Vec::new(), names: None };
        let mut reader = StreamReader::new(stream);
        while let Some(record) = reader.next()? {
            builder.take(record, base)?;
        }
        let layout = builder.layout;
        layout.refuse_nested()?;
        Ok(layout)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub(super) fn entries(&self) -> usize {
        self.folders.len() + self.files.len() + self.symlinks.len() + self.hardlinks.len()
    }

    fn refuse_nested(&self) -> Result<()> {
        for (at, outer) in self.roots.iter().enumerate() {
            for (other, inner) in self.roots.iter().enumerate() {
                if at != other && inner.here.starts_with(&outer.here) {
                    let (inner, outer) = (inner.here.clone(), outer.here.clone());
                    return Err(Error::Nested { inner, outer });
                }
            }
        }
        Ok(())
    }
}

/// All files made so far, by root and path within its stage.
fn names(layout: &Layout) -> HashMap<(usize, Vec<u8>), usize> {
    let place = |file: &TargetFile| match file.parent {
        Parent::Root(root) => (root, file.name.clone()),
        Parent::Folder(at) => {
            let folder = &layout.folders[at];
            (folder.root, [&folder.path, &b"/"[..], &file.name].concat())
        }
    };
    layout.files.iter().enumerate().map(|(at, file)| (place(file), at)).collect()
}

struct Builder<'a> {
    layout: Layout,
    packs: &'a [Pack],
    /// The folders around the current record.
    open: Vec<usize>,
    /// Files by root and path within its stage; made when the first hard link comes, as most trees
    /// have none.
    names: Option<HashMap<(usize, Vec<u8>), usize>>,
}

impl Builder<'_> {
    fn take(&mut self, record: Record<'_>, base: &Base) -> Result<()> {
        match record {
            Record::Root { anchor, path } => {
                let here = base.here(anchor, path);
                self.layout.roots.push(TargetRoot { here, is_folder: false });
            }
            Record::Folder { name, meta } => self.folder(name, meta),
            Record::File { name, meta, extents } => {
                let size = self.size(&extents)?;
                if self.names.is_some() {
                    let key = (self.root(), self.path(name));
                    let at = self.layout.files.len();
                    self.names.get_or_insert_default().insert(key, at);
                }
                let (parent, name) = (self.parent(), self.name(name));
                self.layout.files.push(TargetFile { parent, name, meta, extents, size });
            }
            Record::Symlink { name, target, mtime } => {
                let (parent, name, target) = (self.parent(), self.name(name), target.to_vec());
                self.layout.symlinks.push(TargetSymlink { parent, name, target, mtime });
            }
            Record::Hardlink { name, root, path } => {
                let mut full = STAGED.to_vec();
                if !path.is_empty() {
                    full.push(b'/');
                    full.extend_from_slice(path);
                }
                let layout = &self.layout;
                let names = self.names.get_or_insert_with(|| names(layout));
                let file = names.get(&(root as usize, full)).copied();
                let file = file.ok_or(Error::Inconsistent(
                    "a hard link to a file that did not come before it",
                ))?;
                let (parent, name) = (self.parent(), self.name(name));
                self.layout.hardlinks.push(TargetHardlink { parent, name, file });
            }
            Record::End => {
                self.open.pop();
            }
        }
        Ok(())
    }

    fn folder(&mut self, name: &[u8], meta: Meta) {
        let (root, path) = (self.root(), self.path(name));
        if self.open.is_empty() {
            self.layout.roots[root].is_folder = true;
        }
        self.open.push(self.layout.folders.len());
        self.layout.folders.push(TargetFolder { root, path, meta });
    }

    fn root(&self) -> usize {
        self.layout.roots.len() - 1
    }

    fn parent(&self) -> Parent {
        self.open.last().map_or_else(|| Parent::Root(self.root()), |&at| Parent::Folder(at))
    }

    fn name(&self, name: &[u8]) -> Vec<u8> {
        if self.open.is_empty() { STAGED.to_vec() } else { name.to_vec() }
    }

    fn path(&self, name: &[u8]) -> Vec<u8> {
        match self.open.last() {
            Some(&at) => [&self.layout.folders[at].path, &b"/"[..], name].concat(),
            None => STAGED.to_vec(),
        }
    }

    fn size(&self, extents: &[Extent]) -> Result<u64> {
        let mut size = 0_u64;
        for extent in extents {
            let len = match extent {
                Extent::Hole(len) => Some(*len),
                Extent::Chunks { first, count } => {
                    self.packs.get(first.pack as usize).and_then(|pack| {
                        let end = first.chunk.checked_add(*count)?;
                        (end <= pack.named.chunks).then(|| {
                            let range = pack.range(&(first.chunk..end));
                            range.end - range.start
                        })
                    })
                }
            };
            let total = len
                .and_then(|len| size.checked_add(len))
                .filter(|&size| size <= i64::MAX.cast_unsigned());
            size =
                total.ok_or(Error::Inconsistent("a file refers to a chunk that is not there"))?;
        }
        Ok(size)
    }
}
