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
        self.open_within(1 << 40)
    }

    fn open_within(&self, max_bytes: u64) -> Result<Disk> {
        let max_size = Some(Amount::Bytes(max_bytes));
        let limits = Limits { max_size, min_free: Amount::Bytes(0) };
        Disk::open(&Config { root: self.path(), limits }, Metrics::noop())
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
    assert_eq!(scan::table(&disk.0.index).unwrap().len(), 1);
    disk.reconcile().unwrap();
    disk.close().unwrap();
    drop(disk);
    let disk = folder.open();
    assert!(disk.0.reconciled.load(Ordering::Relaxed), "nothing has to be found out again");
    drop(disk);
    let disk = folder.open();
    assert!(!disk.0.reconciled.load(Ordering::Relaxed), "the last end was not clean");
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
    assert_eq!((disk.stats().blobs, disk.stats().bytes, disk.stats().reserved_bytes), (0, 0, 0));
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
        assert!(disk.contains(&digests[3]).is_some(), "before it is rebuilt");
        disk.reconcile().unwrap();
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
    disk.reconcile().unwrap();
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
    assert_eq!(disk.remove(&digest).unwrap(), Some(1));
    assert_eq!(disk.remove(&digest).unwrap(), None);
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

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn it_stays_within_its_budget_and_keeps_what_is_used() {
    let folder = Folder::new();
    let disk = folder.open_within(10_000_000).unwrap();
    let hot = store(&disk, &noise(999, 1_000_000));
    for seed in 0..40 {
        store(&disk, &noise(seed, 700_000));
        assert!(read(&disk, &hot).is_some(), "used after {seed}");
        let stats = disk.stats();
        assert!(stats.bytes + stats.reserved_bytes <= 10_000_000, "{stats:?}");
    }
    let files = (0..=255_u8).filter_map(|shard| fs_err::read_dir(disk.0.layout.shard(shard)).ok());
    assert_eq!(files.flatten().count() as u64, disk.stats().blobs, "what was evicted is gone");
    disk.evict().unwrap();
    assert!(disk.stats().bytes <= 9_500_000);
}

#[test]
fn what_is_leased_stays_and_then_there_is_no_room() {
    let folder = Folder::new();
    let disk = folder.open_within(4_000_000).unwrap();
    let digests: Vec<Digest> = (0..3).map(|seed| store(&disk, &noise(seed, 1_000_000))).collect();
    let lease = disk.lease(digests.iter().copied());
    let mut ingest = disk.ingest().unwrap();
    ingest.write(&noise(7, 600_000)).unwrap();
    let refused = ingest.write(&noise(8, 600_000)).unwrap_err();
    assert!(matches!(refused, Error::NoRoom { .. }), "{refused}");
    assert_eq!(ingest.take_back().unwrap(), noise(7, 600_000), "what came can go elsewhere");
    assert_eq!(disk.stats().reserved_bytes, 0);
    assert!(digests.iter().all(|digest| disk.contains(digest).is_some()));
    drop(lease);
    store(&disk, &noise(9, 2_000_000));
    assert!(disk.stats().bytes <= 4_000_000);
    let too_large = disk.ingest().unwrap().write(&vec![0; 5_000_000]).unwrap_err();
    assert!(matches!(too_large, Error::NoRoom { .. }));
    assert!(disk.stats().blobs > 0, "nothing goes for what would not fit anyway");
}

/// `NativeLink` #2762: a late eviction removed the file of a newer upload of the same bytes.
#[test]
fn an_eviction_never_takes_a_newer_copy() {
    let folder = Folder::new();
    let disk = folder.open();
    let bytes = noise(1, 50_000);
    let digest = Digest::of(&bytes);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| drop(disk.remove(&digest))));
        scope.spawn(|| {
            for _ in 0..200 {
                let mut ingest = disk.ingest().unwrap();
                ingest.write(&bytes).unwrap();
                let stored = ingest.finish().unwrap();
                assert!(folder.blob(&digest).exists(), "it is leased");
                drop(stored.lease);
            }
        });
    });
    assert_eq!(disk.contains(&digest).is_some(), folder.blob(&digest).exists());
}

#[test]
fn the_order_of_use_survives_a_restart() {
    let folder = Folder::new();
    let disk = folder.open();
    let digests: Vec<Digest> = (0..6).map(|seed| store(&disk, &noise(seed, 100_000))).collect();
    for (seconds, digest) in (100..).zip(digests.iter().rev()) {
        disk.table().touch(digest, seconds);
    }
    disk.checkpoint().unwrap();
    drop(disk);
    let disk = folder.open();
    let victims = disk.table().victims(250_000, 1 << 40, 1000, |_| false);
    assert_eq!(victims, [digests[5], digests[4], digests[3]]);
}
