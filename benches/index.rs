//! The index at a million blobs: `cargo bench --bench index -- FOLDER [BLOBS]`. FOLDER should be on a
//! journaled file system with inodes enough; what the bench makes there is removed.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder::disk::{Amount, Config, Disk, Limits, Metrics};
use larder::model::Digest;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        println!("index: skipped; give a folder to make a million files in");
        return Ok(());
    };
    let blobs: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let root = folder.join("larder-bench-index");
    let digests = make(&root, blobs)?;

    let before = resident_mib();
    let (disk, opened) = timed(|| open(&root))?;
    let (reconciled, reconciling) = timed(|| disk.reconcile())?;
    let () = reconciled;
    let (closed, closing) = timed(|| disk.close())?;
    let () = closed;
    drop(disk);
    println!("blobs                         {blobs}");
    println!("open without an index         {opened:?}, files compared in {reconciling:?}");
    println!("write the whole index         {closing:?}");

    let (disk, opened) = timed(|| open(&root))?;
    println!("open with a good index        {opened:?}");
    println!("resident memory               {:.0} MiB more than before", resident_mib() - before);
    println!("on the disk                   {:.1} MiB", folder_mib(&root.join("index-v1"))?);

    let times = look_up(&disk, &digests, &AtomicBool::new(false));
    println!("look-up                       {}", percentiles(times));
    let done = AtomicBool::new(false);
    let (times, checkpoint) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look_up(&disk, &digests, &done));
        for digest in &digests {
            let _gone = disk.open_blob(digest).is_err();
        }
        let checkpoint = timed(|| disk.checkpoint());
        done.store(true, Ordering::Relaxed);
        (looking.join().unwrap_or_default(), checkpoint)
    });
    println!("checkpoint of all             {:?}", checkpoint?.1);
    println!("look-up meanwhile             {}", percentiles(times));
    drop(disk);
    fs_err::remove_dir_all(root)?;
    Ok(())
}

/// Files of one byte; what is in them does not matter here.
fn make(root: &Path, blobs: u64) -> std::io::Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for shard in 0..=255_u8 {
        fs_err::create_dir_all(root.join(format!("blobs-v1/{shard:02x}")))?;
    }
    for at in 0..blobs {
        let digest = Digest::of(&at.to_le_bytes());
        let name = digest.to_string();
        fs_err::write(root.join("blobs-v1").join(&name[..2]).join(&name), b"x")?;
        digests.push(digest);
    }
    Ok(digests)
}

fn open(root: &Path) -> Result<Disk, larder::disk::Error> {
    let limits = Limits { max_size: Some(Amount::Bytes(1 << 40)), min_free: Amount::Bytes(0) };
    Disk::open(&Config { root: root.to_owned(), limits }, Metrics::noop())
}

/// Every blob once, or again and again until `done` where others are at work.
fn look_up(disk: &Disk, digests: &[Digest], done: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    for digest in digests.iter().rev().cycle().take(20_000_000) {
        let begun = Instant::now();
        assert!(disk.contains(digest).is_some(), "every blob is known");
        times.push(begun.elapsed());
        if done.load(Ordering::Relaxed) || times.len() == digests.len() {
            break;
        }
    }
    times
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    format!("p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}", at(500), at(990), at(999), at(1000))
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let begun = Instant::now();
    Ok((work()?, begun.elapsed()))
}

fn resident_mib() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn folder_mib(folder: &Path) -> std::io::Result<f64> {
    let mut bytes = 0;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.path().is_dir() { 0 } else { entry.metadata()?.len() };
    }
    Ok(bytes as f64 / f64::from(1 << 20))
}
