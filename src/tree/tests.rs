//! Trees through a depot in memory and back: everything that a file system can hold.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{Digest, Manifest, PackRef, PackTable};

/// The other implementation of [`Depot`]: packs in memory.
#[derive(Default, Clone)]
struct Shelf(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    packs: HashMap<Digest, Vec<u8>>,
    known: HashMap<Digest, Known>,
    reports: usize,
    /// Put in the place of a wrong pack when that is reported.
    repair: Option<(Digest, Vec<u8>)>,
}

impl Shelf {
    /// Makes the chunks of what was saved known, as the daemon does when a save is committed.
    fn learn(&self, manifest: &Manifest) {
        let mut inner = self.0.lock().unwrap();
        for pack in &manifest.packs {
            let range = pack.table_range();
            let table = &inner.packs[&pack.digest][place(range.start)..place(range.end)];
            let table = PackTable::decode(table, pack).unwrap();
            for (at, chunk) in table.chunks.iter().enumerate() {
                inner
                    .known
                    .insert(chunk.digest, Known { pack: *pack, chunk: u32::try_from(at).unwrap() });
            }
        }
    }

    fn bytes(&self) -> usize {
        self.0.lock().unwrap().packs.values().map(Vec::len).sum()
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

struct Writing {
    shelf: Shelf,
    bytes: Vec<u8>,
}

impl Upload for Writing {
    fn write(&mut self, bytes: Bytes) -> Result<(), DepotError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn end(&mut self) {}

    fn wait(self: Box<Self>) -> Result<Digest, DepotError> {
        let digest = Digest::of(&self.bytes);
        self.shelf.0.lock().unwrap().packs.insert(digest, self.bytes);
        Ok(digest)
    }
}

impl Depot for Shelf {
    fn find_chunks(&self, digests: &[Digest]) -> Result<Vec<Option<Known>>, DepotError> {
        let inner = self.0.lock().unwrap();
        Ok(digests.iter().map(|digest| inner.known.get(digest).copied()).collect())
    }

    fn begin_pack(&self) -> Result<Box<dyn Upload>, DepotError> {
        Ok(Box::new(Writing { shelf: self.clone(), bytes: Vec::new() }))
    }

    fn read_pack(
        &self,
        pack: &PackRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), DepotError> {
        let inner = self.0.lock().unwrap();
        let bytes = inner.packs.get(&pack.digest).ok_or("no such pack")?;
        into.clear();
        into.extend_from_slice(&bytes[place(range.start)..place(range.end)]);
        Ok(())
    }

    fn report_wrong(&self, pack: &PackRef) -> Result<(), DepotError> {
        let mut inner = self.0.lock().unwrap();
        inner.reports += 1;
        match inner.repair.take() {
            Some((digest, bytes)) if digest == pack.digest => {
                inner.packs.insert(digest, bytes);
                Ok(())
            }
            _ => Err("no right copy".into()),
        }
    }
}

struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn base(&self) -> Base {
        Base { working_directory: self.folder.path().to_owned(), home: "/nonexistent".into() }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    fn save(&self, paths: &[&str], depot: &Shelf, known: &Memory) -> Packed {
        let roots = paths.iter().map(|path| self.base().root(path, false).unwrap()).collect();
        pack(roots, depot, known, &|_, _| ()).unwrap()
    }

    fn restore(&self, manifest: &Manifest, from: &Shelf) -> Result<Placed> {
        super::place(manifest, from, &self.base(), &|_, _| ())
    }
}

/// Everything observable of a tree, by path; hard links share a number.
fn picture(top: &Path) -> BTreeMap<Vec<u8>, String> {
    fn add(path: &Path, top: &Path, inodes: &mut Vec<u64>, seen: &mut BTreeMap<Vec<u8>, String>) {
        let stat = fs_err::symlink_metadata(path).unwrap();
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        let mtime = (stat.mtime(), stat.mtime_nsec());
        let mut line = format!("{:o} {mtime:?}", stat.mode());
        if stat.is_dir() {
            for entry in fs_err::read_dir(path).unwrap() {
                add(&entry.unwrap().path(), top, inodes, seen);
            }
        } else if stat.is_symlink() {
            write!(line, " -> {:?}", fs_err::read_link(path).unwrap()).unwrap();
        } else {
            write!(line, " {} {}", stat.len(), Digest::of(&fs_err::read(path).unwrap())).unwrap();
            if stat.nlink() > 1 {
                let at = inodes.iter().position(|&ino| ino == stat.ino());
                let at = at.unwrap_or_else(|| {
                    inodes.push(stat.ino());
                    inodes.len() - 1
                });
                write!(line, " link {at}").unwrap();
            }
        }
        seen.insert(name, line);
    }
    let mut inodes = Vec::new();
    let mut picture = BTreeMap::new();
    add(top, top, &mut inodes, &mut picture);
    // Which of several names is met first depends on the order of the folder.
    for line in picture.values_mut() {
        if let Some(at) = line.find(" link ") {
            line.truncate(at + 5);
        }
    }
    picture
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

fn nasty(job: &Job) {
    job.write("t/empty", b"");
    job.write("t/small", b"hello");
    job.write("t/a/b/c/deep", b"deep");
    job.write("t/twin", b"hello");
    job.write("t/large", &noise(9_000_000, 1));
    job.write("t/name with\nnewline and 'quotes'", b"x");
    fs_err::create_dir_all(job.path("t/empty folder")).unwrap();
    let odd = job.path("t").join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\xfe"));
    fs_err::write(&odd, b"odd").unwrap();
    symlink("/etc/passwd", job.path("t/absolute link")).unwrap();
    symlink("missing", job.path("t/dangling")).unwrap();
    fs_err::hard_link(job.path("t/large"), job.path("t/a/large too")).unwrap();
    job.write("t/run.sh", b"#!/bin/sh\n");
    fs_err::set_permissions(job.path("t/run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    job.write("t/secret", b"key");
    fs_err::set_permissions(job.path("t/secret"), PermissionsExt::from_mode(0o400)).unwrap();
    let sparse = fs_err::File::create(job.path("t/sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(sparse.file(), b"middle", 20 << 20).unwrap();
    job.write("t/read-only/inside", b"x");
    fs_err::set_permissions(job.path("t/read-only"), PermissionsExt::from_mode(0o555)).unwrap();
}

#[test]
fn everything_comes_back_as_it_was() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    nasty(&from);
    let packed = from.save(&["t"], &shelf, &Memory::default());
    assert_eq!(packed.warnings, []);
    let placed = to.restore(&packed.manifest, &shelf).unwrap();
    assert_eq!(placed.warnings, []);
    assert_eq!((placed.files, placed.size_bytes), (packed.files, packed.size_bytes));
    assert_eq!(picture(&to.path("t")), picture(&from.path("t")));
    let sparse = fs_err::metadata(to.path("t/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 1 << 20, "holes stay holes: {} blocks", sparse.blocks());
    let left: Vec<_> = fs_err::read_dir(to.folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no staging folder is left");
}

#[test]
fn a_tree_is_saved_the_same_twice_and_unread_the_second_time() {
    let (job, shelf) = (Job::new(), Shelf::default());
    nasty(&job);
    let first = job.save(&["t"], &shelf, &Memory::default());
    shelf.learn(&first.manifest);
    let before = shelf.bytes();
    let again = job.save(&["t"], &shelf, &first.memory);
    assert_eq!((again.manifest, again.sent_bytes), (first.manifest.clone(), 0));
    let unremembered = job.save(&["t"], &shelf, &Memory::default());
    assert_eq!((unremembered.manifest, unremembered.sent_bytes), (first.manifest, 0));
    assert_eq!(shelf.bytes(), before);
}

#[test]
fn what_was_restored_is_remembered() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    from.write("t/x/large", &noise(9_000_000, 2));
    from.write("t/x/small", b"small");
    let packed = from.save(&["t"], &shelf, &Memory::default());
    shelf.learn(&packed.manifest);
    let mut placed = to.restore(&packed.manifest, &shelf).unwrap();
    // As if the clock had gone on: nothing is racy any more.
    placed.memory.files = remember(&to, &placed, &["t/x/large", "t/x/small"]);
    fs_err::write(to.path("t/x/large"), b"changed").unwrap();
    let again = to.save(&["t"], &shelf, &placed.memory);
    assert!(again.sent_bytes > 0 && again.sent_bytes < 1000, "{} bytes", again.sent_bytes);
    let third = Job::new();
    third.restore(&again.manifest, &shelf).unwrap();
    assert_eq!(picture(&third.path("t")), picture(&to.path("t")));
}

/// The files as the memory would have them if none had been racy.
fn remember(job: &Job, placed: &Placed, paths: &[&str]) -> Vec<memory::Remembered> {
    let shelf_files = &placed.memory.files;
    paths
        .iter()
        .filter_map(|path| {
            let stat = rustix::fs::stat(job.path(path)).unwrap();
            let id = memory::FileId::new(&walk::Stat::new(&stat));
            shelf_files.iter().find(|file| file.id.ino == id.ino).cloned()
        })
        .collect()
}

#[test]
fn a_small_change_sends_little() {
    let (job, shelf) = (Job::new(), Shelf::default());
    let mut large = noise(9_000_000, 3);
    job.write("t/large", &large);
    let first = job.save(&["t"], &shelf, &Memory::default());
    shelf.learn(&first.manifest);
    large.splice(1_000_000..1_000_000, *b"inserted");
    job.write("t/large", &large);
    let second = job.save(&["t"], &shelf, &first.memory);
    assert!(second.sent_bytes < 1_500_000, "{} bytes", second.sent_bytes);
    let to = Job::new();
    to.restore(&second.manifest, &shelf).unwrap();
    assert_eq!(fs_err::read(to.path("t/large")).unwrap(), large);
}

#[test]
fn a_manifest_never_drags_along_packs_that_are_mostly_dead() {
    let (job, shelf) = (Job::new(), Shelf::default());
    for at in 0..40 {
        job.write(&format!("t/{at}"), &noise(100_000, at));
    }
    let first = job.save(&["t"], &shelf, &Memory::default());
    shelf.learn(&first.manifest);
    for at in 3..40 {
        job.write(&format!("t/{at}"), &noise(10, at + 100));
    }
    let second = job.save(&["t"], &shelf, &first.memory);
    let moved: u64 = second.manifest.packs.iter().map(PackRef::size_bytes).sum();
    assert!(moved < 2 * 300_000 + 50_000, "{moved} bytes for 300,000");
    let to = Job::new();
    to.restore(&second.manifest, &shelf).unwrap();
    assert_eq!(picture(&to.path("t")), picture(&job.path("t")));
}

#[test]
fn restoring_merges_folders_and_replaces_files_but_follows_no_link() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    from.write("t/a/new", b"new");
    from.write("t/b/x", b"x");
    let packed = from.save(&["t"], &shelf, &Memory::default());
    to.write("t/a/new", b"old and longer");
    to.write("t/a/own", b"own");
    to.write("outside/x", b"untouched");
    symlink("../outside", to.path("t/b")).unwrap();
    to.restore(&packed.manifest, &shelf).unwrap();
    assert_eq!(fs_err::read(to.path("t/a/new")).unwrap(), b"new");
    assert_eq!(fs_err::read(to.path("t/a/own")).unwrap(), b"own");
    assert_eq!(fs_err::read(to.path("outside/x")).unwrap(), b"untouched");
    assert_eq!(fs_err::read(to.path("t/b/x")).unwrap(), b"x");
}

#[test]
fn a_restore_that_fails_leaves_what_was_there() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    from.write("t/a", &noise(3_000_000, 4));
    from.write("t/b", b"b");
    let packed = from.save(&["t"], &shelf, &Memory::default());
    to.write("t/b", b"before");
    let before = picture(to.folder.path());
    let victim = packed.manifest.packs[0];
    let right = shelf.0.lock().unwrap().packs[&victim.digest].clone();
    shelf.0.lock().unwrap().packs.get_mut(&victim.digest).unwrap()[1000] ^= 1;
    assert!(to.restore(&packed.manifest, &shelf).is_err());
    assert_eq!(picture(to.folder.path()).len(), before.len());
    assert_eq!(fs_err::read(to.path("t/b")).unwrap(), b"before");
    assert_eq!(shelf.0.lock().unwrap().reports, 1, "asked for a right copy once");
    shelf.0.lock().unwrap().repair = Some((victim.digest, right));
    to.restore(&packed.manifest, &shelf).unwrap();
    assert_eq!(picture(&to.path("t")), picture(&from.path("t")));
}

#[test]
fn a_folder_is_never_lost_to_a_file() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    from.write("t/a", b"first");
    from.write("t/thing", b"file");
    let packed = from.save(&["t"], &shelf, &Memory::default());
    to.write("t/thing/precious", b"p");
    let error = to.restore(&packed.manifest, &shelf).unwrap_err();
    assert!(format!("{error}: {:?}", std::error::Error::source(&error)).contains("thing"));
    assert!(!to.path("t/a").exists() && to.path("t/thing/precious").exists());
}

#[test]
fn files_that_vanish_or_change_meanwhile_are_named_and_the_rest_is_saved() {
    let (job, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    for name in ["stays", "goes", "grows", "first name"] {
        job.write(&format!("t/{name}"), name.as_bytes());
    }
    job.write("t/large shrinks", &noise(9_000_000, 5));
    fs_err::hard_link(job.path("t/first name"), job.path("t/second name")).unwrap();
    job.write("single", b"s");
    let roots = ["single", "t"].map(|path| job.base().root(path, false).unwrap());
    let scan = walk::walk(roots.to_vec()).unwrap();
    for gone in ["t/goes", "t/first name", "single"] {
        fs_err::remove_file(job.path(gone)).unwrap();
    }
    job.write("t/grows", b"grown since it was listed");
    let large = fs_err::OpenOptions::new().write(true).open(job.path("t/large shrinks")).unwrap();
    large.set_len(5_000_000).unwrap();
    let packed = super::pack::pack_scan(&scan, &shelf, &Memory::default(), &|_, _| ()).unwrap();
    let mut kinds: Vec<(String, WarningKind)> = packed
        .warnings
        .iter()
        .map(|warning| {
            let name = warning.path.file_name().unwrap().to_string_lossy().into_owned();
            (name, warning.kind.clone())
        })
        .collect();
    kinds.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["first name", "goes", "large shrinks", "single"]);
    assert_eq!((&kinds[1].1, &kinds[2].1), (&WarningKind::Vanished, &WarningKind::Changed));
    to.restore(&packed.manifest, &shelf).unwrap();
    assert_eq!(fs_err::read(to.path("t/grows")).unwrap(), b"grown since it was listed");
    assert_eq!(fs_err::read(to.path("t/stays")).unwrap(), b"stays");
    let large = fs_err::read(to.path("t/large shrinks")).unwrap();
    assert_eq!(large[..5_000_000], noise(9_000_000, 5)[..5_000_000]);
    assert!(!to.path("t/goes").exists() && !to.path("single").exists());
}

#[test]
fn several_paths_files_and_links_among_them() {
    let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
    from.write("a/x", b"x");
    from.write("single", b"s");
    fs_err::hard_link(from.path("single"), from.path("a/also")).unwrap();
    symlink("single", from.path("link")).unwrap();
    let packed = from.save(&["single", "a", "link", "absent", "a/x"], &shelf, &Memory::default());
    assert_eq!(packed.warnings.len(), 1);
    to.write("single", b"before");
    to.restore(&packed.manifest, &shelf).unwrap();
    assert_eq!(picture(to.folder.path()).len(), picture(from.folder.path()).len());
    assert_eq!(fs_err::read(to.path("a/also")).unwrap(), b"s");
    assert_eq!(fs_err::metadata(to.path("single")).unwrap().nlink(), 2);
}

#[test]
fn nothing_to_save_is_an_error_that_names_the_paths() {
    let job = Job::new();
    let roots = vec![job.base().root("absent", false).unwrap()];
    let error = pack(roots, &Shelf::default(), &Memory::default(), &|_, _| ()).unwrap_err();
    assert!(error.to_string().contains("absent"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_tree_round_trips(
        entries in proptest::collection::vec(("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0..5_u8, 0..400_000_usize, 0..0o1000_u32), 1..14)
    ) {
        let (from, to, shelf) = (Job::new(), Job::new(), Shelf::default());
        fs_err::create_dir(from.path("t")).unwrap();
        for (path, kind, len, mode) in entries {
            let path = from.path("t").join(path);
            // A name that is taken, or below a file, is left out.
            let Some(parent) = path.parent() else { continue };
            if fs_err::create_dir_all(parent).is_err() || path.symlink_metadata().is_ok() {
                continue;
            }
            match kind {
                0 => fs_err::create_dir(&path).unwrap(),
                1 => symlink("x", &path).unwrap(),
                _ => {
                    fs_err::write(&path, noise(if kind == 2 { 0 } else { len }, mode.into())).unwrap();
                    fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                }
            }
        }
        let packed = from.save(&["t"], &shelf, &Memory::default());
        to.restore(&packed.manifest, &shelf).unwrap();
        prop_assert_eq!(picture(&to.path("t")), picture(&from.path("t")));
    }
}
