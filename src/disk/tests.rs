//! The disk, in temporary folders.

use std::path::PathBuf;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn open(&self) -> Disk {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Disk> {
        Disk::open(&Config { root: self.path() }, Metrics::noop())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.path().join("blobs-v1").join(&name[..2]).join(name)
    }
}

fn store(disk: &Disk, bytes: &[u8]) -> Digest {
    let mut ingest = disk.ingest().unwrap();
    for piece in bytes.chunks(700_000) {
        ingest.write(piece).unwrap();
    }
    ingest.finish().unwrap().digest
}

fn read(disk: &Disk, digest: &Digest) -> Option<Vec<u8>> {
    disk.read_verified(digest, 1 << 30).unwrap()
}

#[test]
fn what_was_stored_is_read_and_survives_a_restart() {
    let folder = Folder::new();
    let bytes = vec![7; 3_000_000];
    let disk = folder.open();
    let digest = store(&disk, &bytes);
    assert_eq!(store(&disk, &bytes), digest, "the same bytes are one blob");
    assert_eq!((disk.stats().blobs, disk.stats().bytes), (1, 3_002_368));
    disk.checkpoint().unwrap();
    drop(disk);
    let disk = folder.open();
    assert_eq!(read(&disk, &digest), Some(bytes));
}

#[test]
fn a_good_index_is_believed_whatever_others_keep_beside_it() {
    let folder = Folder::new();
    let disk = folder.open();
    store(&disk, b"x");
    for name in ["table", "blobs", "meta"] {
        disk.index().map(name).unwrap().put("key", b"value").unwrap();
    }
    disk.checkpoint().unwrap();
    let known = scan::table(&disk.0.layout, &disk.0.index).unwrap().take_changed();
    assert!(known.is_empty(), "nothing had to be found out again");
}

#[test]
fn what_was_not_finished_never_was() {
    let folder = Folder::new();
    let disk = folder.open();
    let mut ingest = disk.ingest().unwrap();
    ingest.write(&vec![1; 2_000_000]).unwrap();
    drop(ingest);
    let mut ingest = disk.ingest().unwrap();
    ingest.write(b"wrong").unwrap();
    let wrong = ingest.finish_as(&Digest::of(b"right"));
    assert!(matches!(wrong, Err(Error::Mismatch { .. })));
    assert_eq!(disk.stats(), Stats::default());
    assert_eq!(fs_err::read_dir(folder.path().join("tmp-v1")).unwrap().count(), 0);
    drop(disk);
    fs_err::write(folder.path().join("tmp-v1/ingest-crashed"), b"half").unwrap();
    folder.open();
    assert_eq!(fs_err::read_dir(folder.path().join("tmp-v1")).unwrap().count(), 0);
}

#[test]
fn the_index_can_be_lost_torn_or_foreign() {
    let folder = Folder::new();
    let disk = folder.open();
    let digests: Vec<Digest> = (0..40_u32).map(|at| store(&disk, &at.to_le_bytes())).collect();
    disk.checkpoint().unwrap();
    drop(disk);
    let spoil: [fn(&std::path::Path); 4] = [
        |index| fs_err::remove_dir_all(index).unwrap(),
        |index| fs_err::write(index.join("db"), b"garbage").unwrap(),
        |index| {
            let file = fs_err::OpenOptions::new().write(true).open(index.join("db")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        },
        |index| {
            let db = sled::open(index).unwrap();
            db.open_tree("meta").unwrap().insert("format", b"99").unwrap();
            db.flush().unwrap();
        },
    ];
    for spoil in spoil {
        spoil(&folder.path().join("index-v1"));
        let disk = folder.open();
        assert_eq!(disk.stats().blobs, 40);
        assert!(digests.iter().all(|digest| read(&disk, digest).is_some()));
        disk.checkpoint().unwrap();
    }
}

#[test]
fn files_that_came_or_went_behind_its_back_are_noticed() {
    let folder = Folder::new();
    let disk = folder.open();
    let (stays, goes) = (store(&disk, b"stays"), store(&disk, b"goes"));
    disk.checkpoint().unwrap();
    drop(disk);
    fs_err::remove_file(folder.blob(&goes)).unwrap();
    let late = Digest::of(b"late");
    fs_err::create_dir_all(folder.blob(&late).parent().unwrap()).unwrap();
    fs_err::write(folder.blob(&late), b"late").unwrap();
    fs_err::write(folder.blob(&late).with_file_name("README"), b"not ours").unwrap();
    let disk = folder.open();
    assert_eq!(disk.stats().blobs, 2);
    assert_eq!(
        (disk.contains(&stays), disk.contains(&goes), disk.contains(&late)),
        (Some(5), None, Some(4))
    );
    fs_err::remove_file(folder.blob(&stays)).unwrap();
    assert!(disk.open_blob(&stays).unwrap().is_none());
    assert_eq!(disk.contains(&stays), None, "healed");
    assert!(folder.blob(&late).with_file_name("README").exists());
}

#[test]
fn rotten_blobs_are_quarantined() {
    let folder = Folder::new();
    let disk = folder.open();
    let checks: [fn(&Disk, &Digest) -> bool; 2] =
        [|disk, digest| disk.verify(digest).unwrap(), |disk, digest| read(disk, digest).is_some()];
    for check in checks {
        let digest = store(&disk, b"sound");
        assert!(check(&disk, &digest));
        fs_err::write(folder.blob(&digest), b"rotten").unwrap();
        assert!(!check(&disk, &digest));
        assert_eq!(disk.contains(&digest), None);
        assert!(folder.path().join("quarantine-v1").join(digest.to_string()).exists());
        assert_eq!(store(&disk, b"sound"), digest, "a right copy takes its place");
        assert!(check(&disk, &digest));
        disk.remove(&digest).unwrap();
    }
}

#[test]
fn a_leased_blob_stays() {
    let folder = Folder::new();
    let disk = folder.open();
    let digest = store(&disk, b"x");
    let (first, second) = (disk.lease([digest]), disk.lease([digest]));
    assert!(matches!(disk.remove(&digest), Err(Error::Leased(_))));
    drop(first);
    assert!(matches!(disk.remove(&digest), Err(Error::Leased(_))));
    drop(second);
    assert!(disk.remove(&digest).unwrap());
    assert!(!disk.remove(&digest).unwrap());
}

#[test]
fn one_daemon_at_a_time_and_none_that_is_too_old() {
    let folder = Folder::new();
    let disk = folder.open();
    let refused = folder.try_open().unwrap_err();
    assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(refused.to_string().contains("--data"));
    drop(disk);
    fs_err::write(folder.path().join("VERSION"), "2\n").unwrap();
    fs_err::write(folder.path().join("tmp-v1/keep"), b"x").unwrap();
    assert!(matches!(folder.try_open(), Err(Error::NewerLayout { .. })));
    assert!(folder.path().join("tmp-v1/keep").exists(), "nothing is touched");
}

#[test]
fn many_writers_of_the_same_bytes_make_one_blob() {
    let folder = Folder::new();
    let disk = folder.open();
    let bytes = vec![9; 1_500_000];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store(&disk, &bytes));
        }
    });
    assert_eq!(disk.stats().blobs, 1);
    assert_eq!(read(&disk, &Digest::of(&bytes)), Some(bytes));
}
