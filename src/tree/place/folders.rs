//! Folders and links.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::commit::Stages;
use super::layout::{Layout, Parent, STAGED, TargetFolder};
use crate::model::Time;
use crate::tree::{Error, Result, Warning, WarningKind, xattr};

/// Access and modification time, as the kernel takes them. Restored files count as read when they
/// were last written.
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Makes all folders, writable for now, and the symbolic links.
pub(super) fn make(layout: &Layout, stages: &Stages) -> Result<Vec<Warning>> {
    for folder in &layout.folders {
        rustix::fs::mkdirat(stages.folder(folder.root), folder.path.as_slice(), Mode::RWXU)
            .map_err(|error| {
                Error::io("make", stages.path(folder.root, &folder.path))(error.into())
            })?;
    }
    let mut warnings = Vec::new();
    for link in &layout.symlinks {
        let (stage, path) = within(layout, link.parent, &link.name);
        let folder = stages.folder(stage);
        rustix::fs::symlinkat(link.target.as_slice(), folder, path.as_slice())
            .map_err(|error| Error::io("make", stages.path(stage, &path))(error.into()))?;
        let set = rustix::fs::utimensat(
            folder,
            path.as_slice(),
            &timestamps(link.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        if let Err(error) = set {
            let kind = WarningKind::Meta(format!("its time cannot be set ({error})"));
            warnings.push(Warning { path: stages.path(stage, &path), kind });
        }
    }
    Ok(warnings)
}

/// Makes further names of files, which are complete by now.
pub(super) fn make_hardlinks(layout: &Layout, stages: &Stages) -> Result<()> {
    for link in &layout.hardlinks {
        let file = &layout.files[link.file];
        let (from_stage, from) = within(layout, file.parent, &file.name);
        let (stage, path) = within(layout, link.parent, &link.name);
        rustix::fs::linkat(
            stages.folder(from_stage),
            from.as_slice(),
            stages.folder(stage),
            path.as_slice(),
            AtFlags::empty(),
        )
        .map_err(|error| Error::io("link", stages.path(stage, &path))(error.into()))?;
    }
    Ok(())
}

/// The stage and the path from there of something in a folder.
fn within(layout: &Layout, parent: Parent, name: &[u8]) -> (usize, Vec<u8>) {
    match parent {
        Parent::Root(root) => (root, name.to_vec()),
        Parent::Folder(at) => {
            let folder = &layout.folders[at];
            (folder.root, [&folder.path, &b"/"[..], name].concat())
        }
    }
}

/// Gives the folders their modes, times and attributes, innermost first, where they are now.
pub(super) fn finish(layout: &Layout) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for folder in layout.folders.iter().rev() {
        if let Err(error) = finish_one(layout, folder) {
            let kind =
                WarningKind::Meta(format!("its mode, time or attributes cannot be set ({error})"));
            warnings.push(Warning { path: final_path(layout, folder), kind });
        }
    }
    warnings
}

fn finish_one(layout: &Layout, folder: &TargetFolder) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::open(final_path(layout, folder), flags, Mode::empty())?;
    if !folder.meta.xattrs.is_empty() {
        xattr::write(std::os::fd::AsFd::as_fd(&opened), &folder.meta.xattrs)?;
    }
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(folder.meta.mode))?;
    rustix::fs::futimens(&opened, &timestamps(folder.meta.mtime))
}

fn final_path(layout: &Layout, folder: &TargetFolder) -> PathBuf {
    let here = &layout.roots[folder.root].here;
    match folder.path.get(STAGED.len() + 1..) {
        Some(rest) if !rest.is_empty() => here.join(OsStr::from_bytes(rest)),
        _ => here.clone(),
    }
}
