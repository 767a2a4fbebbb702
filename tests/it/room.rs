//! Disks that are too small.

use crate::house::{Daemon, Job, blobs, noise};

fn backend(folder: &tempfile::TempDir) -> String {
    format!("file://{}", folder.path().join("backend").display())
}

/// bazel-remote #712, sccache #629, falcondev #74 and others: the home-made cache fills the disk.
#[test]
fn many_saves_stay_within_the_budget_and_all_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_within(folder.path(), &backend(&folder), "8MB");
    let keys: Vec<String> = (0..8).map(|at| format!("k{at}")).collect();
    for (seed, key) in (0..).zip(&keys) {
        let job = Job::new(&daemon.url());
        job.write("x/file", noise(2_500_000, seed));
        job.step(&["save-cache", "--key", key, "--path", "x"]);
        job.step(&["flush", "--wait"]);
    }
    let used: u64 = blobs(folder.path()).iter().map(|blob| blob.metadata().unwrap().len()).sum();
    assert!(used <= 8_000_000, "{used}");
    for (seed, key) in (0..).zip(&keys) {
        let job = Job::new(&daemon.url());
        job.step(&["restore-cache", "--key", key]);
        assert_eq!(fs_err::read(job.path("x/file")).unwrap(), noise(2_500_000, seed), "{key}");
    }
}

/// bazel-remote #798: 507 for a blob larger than the disk, although storage stood behind it.
#[test]
fn a_tree_larger_than_the_disk_goes_past_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_within(folder.path(), &backend(&folder), "1MB");
    let job = Job::new(&daemon.url());
    job.write("x/file", noise(6_000_000, 1));
    job.write("x/small", "small");
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    job.step(&["flush", "--wait"]);
    let fresh = Job::new(&daemon.url());
    fresh.step(&["restore-cache", "--key", "k"]);
    assert_eq!(fs_err::read(fresh.path("x/file")).unwrap(), noise(6_000_000, 1));
    assert_eq!(fresh.read("x/small"), "small");
}

/// Without a flusher's chance: what the backend does not have is never evicted.
#[test]
fn what_the_backend_does_not_have_stays_and_the_next_saves_go_past_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_within(folder.path(), &backend(&folder), "4MB");
    for seed in 0..4 {
        let job = Job::new(&daemon.url());
        job.write("x/file", noise(1_500_000, seed));
        job.step(&["save-cache", "--key", &format!("k{seed}"), "--path", "x"]);
    }
    daemon.kill();
    let daemon = Daemon::start_within(folder.path(), &backend(&folder), "4MB");
    for seed in 0..4 {
        let job = Job::new(&daemon.url());
        job.step(&["restore-cache", "--key", &format!("k{seed}")]);
        assert_eq!(fs_err::read(job.path("x/file")).unwrap(), noise(1_500_000, seed));
    }
}
