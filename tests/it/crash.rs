//! `kill -9`, restarts, rotten disks, a backend that is away.

use larder::agent::client::{Address, Client};

use crate::house::{Daemon, Job, blobs};

#[test]
fn what_was_acknowledged_survives_kill_9_and_reaches_the_backend() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the backend's folder should be: nothing can be flushed.
    let backend = format!("file://{}", folder.path().join("backend").display());
    fs_err::write(folder.path().join("backend"), b"in the way").unwrap();
    let daemon = Daemon::start(folder.path(), &backend);
    let job = Job::new(&daemon.url());
    job.write("x/file", "precious");
    let ended = job.larder(&["save-cache", "--key", "k", "--path", "x"]);
    assert!(ended.told.contains("Stored Cache to k"), "{}", ended.told);
    assert_eq!(job.larder(&["flush", "--wait", "--timeout", "1"]).code, 1, "it cannot be flushed");
    daemon.kill();

    fs_err::write(folder.path().join("data/tmp-v1/ingest-half"), b"half").unwrap();
    fs_err::remove_file(folder.path().join("backend")).unwrap();
    let daemon = Daemon::start(folder.path(), &backend);
    assert!(!folder.path().join("data/tmp-v1/ingest-half").exists());
    job.step(&["flush", "--wait"]);
    let other = tempfile::tempdir().unwrap();
    let elsewhere = Daemon::start(other.path(), &backend);
    let fresh = Job::new(&elsewhere.url());
    fresh.step(&["restore-cache", "--key", "k"]);
    assert_eq!(fresh.read("x/file"), "precious");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn the_index_can_be_deleted_under_a_dead_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let backend = format!("file://{}", folder.path().join("backend").display());
    let daemon = Daemon::start(folder.path(), &backend);
    let job = Job::new(&daemon.url());
    job.write("x/file", "1");
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    daemon.kill();
    fs_err::remove_dir_all(folder.path().join("data/index-v1")).unwrap();
    let daemon = Daemon::start(folder.path(), &backend);
    let fresh = Job::new(&daemon.url());
    fresh.step(&["restore-cache", "--key", "k"]);
    assert_eq!(fresh.read("x/file"), "1");
}

#[test]
fn a_rotten_pack_is_fetched_again_and_the_job_gets_right_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let backend = format!("file://{}", folder.path().join("backend").display());
    let daemon = Daemon::start(folder.path(), &backend);
    let job = Job::new(&daemon.url());
    job.write("x/file", crate::house::noise(300_000, 5));
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    job.step(&["flush", "--wait"]);
    for blob in blobs(folder.path()) {
        let mut bytes = fs_err::read(&blob).unwrap();
        if bytes.len() > 100_000 {
            bytes[50_000] ^= 1;
            fs_err::write(&blob, bytes).unwrap();
        }
    }
    let fresh = Job::new(&daemon.url());
    fresh.step(&["restore-cache", "--key", "k"]);
    assert_eq!(fs_err::read(fresh.path("x/file")).unwrap(), crate::house::noise(300_000, 5));
    assert_eq!(fs_err::read_dir(folder.path().join("data/quarantine-v1")).unwrap().count(), 1);
}

#[test]
fn a_pack_that_is_lost_for_good_is_a_miss_and_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let backend = format!("file://{}", folder.path().join("backend").display());
    let daemon = Daemon::start(folder.path(), &backend);
    let job = Job::new(&daemon.url());
    job.write("x/file", crate::house::noise(300_000, 5));
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    job.step(&["flush", "--wait"]);
    drop(daemon);
    fs_err::remove_dir_all(folder.path().join("backend/v1/local/packs")).unwrap();
    let other = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(other.path(), &backend);
    let fresh = Job::new(&daemon.url());
    fresh.write("x/file", "before");
    let ended = fresh.larder(&["restore-cache", "--key", "k"]);
    assert_eq!(ended.code, 0);
    assert!(ended.told.contains("Warning: restoring the cache failed"), "{}", ended.told);
    assert_eq!(fresh.read("x/file"), "before");
    assert_eq!(fs_err::read_dir(fresh.path("")).unwrap().count(), 1, "nothing half-made is left");
}

#[test]
fn one_daemon_for_a_folder_and_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let log = Daemon::try_start(folder.path(), "memory:", "127.0.0.1:0").err().unwrap();
    assert!(log.contains("in use by another daemon"), "{log}");
    daemon.kill();
    // The socket file of the dead daemon is in nobody's way.
    Daemon::start(folder.path(), "memory:");
}

/// Once a walk of more than ten seconds made every save fail: the daemon had closed the connection that
/// the agent had kept.
#[test]
fn a_connection_that_the_daemon_closed_meanwhile_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let socket = folder.path().join("larder.sock");
    let client = Client::new(Address::Unix(socket), "p".parse().unwrap());
    client.find_cache("k").unwrap();
    daemon.kill();
    let _daemon = Daemon::start(folder.path(), "memory:");
    client.find_cache("k").unwrap();
}
