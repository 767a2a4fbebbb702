//! `larder try`: the whole product on one tree, nothing configured. Two daemons in this process, each
//! with a disk of its own, over one temporary folder as backend; the agent's own code talks to them over
//! their sockets.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder_backends as backends;
use tokio::runtime::Runtime;

use crate::agent::cache::{self, CacheError, Save, Saved, Watch};
use crate::agent::client::{Address, Client, ClientError};
use crate::agent::report::{Report, Size, out};
use crate::daemon::{Running, StartError, private_config};
use crate::model::{CacheEntry, Digest, Key, Project, Provenance};
use crate::tree::Base;

/// Every file of a tree this long is changed for the second save.
const CHANGED_EVERY: usize = 1000;
const FLUSH_SECS: u64 = 600;

/// The trial did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The folder given.
    #[error("`{}` is not a folder: give one with many files, such as node_modules", .0.display())]
    NotAFolder(PathBuf),
    /// A file that could not be read or written.
    #[error("the trial cannot work with its files")]
    Io(#[from] io::Error),
    /// A daemon did not start.
    #[error("a daemon of the trial does not start")]
    Start(#[from] StartError),
    /// A step failed.
    #[error("a step of the trial failed")]
    Step(#[from] CacheError),
    /// A daemon did not answer.
    #[error("a daemon of the trial does not answer")]
    Client(#[from] ClientError),
    /// What was restored is not what was saved.
    #[error("the restored tree differs: {0}")]
    Differs(String),
}

/// One of the two hosts.
struct Host {
    daemon: Running,
    client: Client,
    folder: PathBuf,
}

struct Trial<'a> {
    runtime: &'a Runtime,
    folder: PathBuf,
    report: Report,
}

/// Runs it on `path` and prints what it measured. With `keep`, what it made stays.
pub fn run(path: &Path, keep: bool) -> Result<(), TrialError> {
    let tree = fs_err::canonicalize(path).ok().filter(|tree| tree.is_dir());
    let tree = tree.ok_or_else(|| TrialError::NotAFolder(path.to_owned()))?;
    let mut folder = tempfile::Builder::new().prefix("larder-try-").tempdir()?;
    folder.disable_cleanup(keep);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let trial =
        Trial { runtime: &runtime, folder: folder.path().to_owned(), report: Report::new() };
    let end = trial.run(&tree);
    if keep {
        trial.report.line(format_args!("Everything is left in {}", folder.path().display()));
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    end
}

impl Trial<'_> {
    fn run(&self, tree: &Path) -> Result<(), TrialError> {
        let (here, there) = (self.host("here")?, self.host("there")?);
        let name = tree
            .file_name()
            .map_or_else(|| "tree".into(), |name| name.to_string_lossy().into_owned());
        let base = |folder: &Path| Base {
            working_directory: folder.to_owned(),
            home: "/nonexistent".into(),
        };
        let from = base(tree.parent().unwrap_or(tree));
        self.report.line(format_args!("Trying Larder on {}", tree.display()));

        let (first, saving) = timed(|| self.save(&here, &from, &name, "try-1"))?;
        let ((), flushing) = timed(|| flush(&here))?;
        let first_bytes = here.client.status()?.backend_written_bytes;

        let work = self.folder.join("work");
        fs_err::create_dir(&work)?;
        let ((), restoring) = timed(|| self.restore(&there, &base(&work), "try-1"))?;
        let (files, verifying) = timed(|| compare(tree, &work.join(&name)))?;

        let changed = change_some(&work.join(&name))?;
        let (second, again) = timed(|| self.save(&there, &base(&work), &name, "try-2"))?;
        flush(&there)?;
        let second_bytes = there.client.status()?.backend_written_bytes;
        let warm = self.folder.join("warm");
        fs_err::create_dir(&warm)?;
        let ((), warming) = timed(|| self.restore(&there, &base(&warm), "try-2"))?;
        compare(&work.join(&name), &warm.join(&name))?;
        let tar = tar_zstd_bytes(tree);

        out("")?;
        out(format_args!(
            "{files} entries, {} in files; all verified: content, modes, times, links",
            Size(first.size_bytes)
        ))?;
        row(
            "save, until the job goes on",
            saving,
            format_args!("{} new chunks", Size(first.sent_bytes)),
        )?;
        row(
            "  then in the background",
            flushing,
            format_args!("{} to the backend", Size(first_bytes)),
        )?;
        row(
            "restore on a second, cold host",
            restoring,
            format_args!("{} from the backend", Size(there.client.status()?.backend_read_bytes)),
        )?;
        row("  compared with the original", verifying, "")?;
        row(
            &format!("save again, {changed} files changed"),
            again,
            format_args!(
                "{} new chunks, {} to the backend",
                Size(second.sent_bytes),
                Size(second_bytes)
            ),
        )?;
        row("restore from the warm disk", warming, "nothing from the backend but the look-up")?;
        match tar {
            Ok(bytes) => {
                out(format_args!("tar | zstd -3 would have moved {} each time", Size(bytes)))?;
            }
            Err(error) => out(format_args!("tar | zstd was not measured: {error}"))?,
        }
        for host in [here, there] {
            self.runtime.block_on(host.daemon.stop());
        }
        Ok(())
    }

    fn host(&self, name: &str) -> Result<Host, TrialError> {
        let folder = self.folder.join(name);
        fs_err::create_dir(&folder)?;
        let backend = backends::Config::folder(self.folder.join("backend"));
        let config = private_config(&folder, backend);
        let daemon = self.runtime.block_on(Running::start(&config))?;
        let address = Address::Unix(folder.join("larder.sock"));
        Ok(Host { daemon, client: Client::new(address, Project::local()), folder })
    }

    fn save(&self, host: &Host, base: &Base, name: &str, key: &str) -> Result<Figures, TrialError> {
        let key: Key = key.parse().expect("the trial's keys are short");
        let paths = [name.to_owned()];
        let save =
            Save { key: &key, paths: &paths, absolute: false, provenance: Provenance::default() };
        match cache::save(&host.client, base, &save, &host.folder, &Quiet(&self.report))? {
            Saved::Stored { entry, sent_bytes, warnings, .. } => {
                self.report.warnings(&warnings);
                Ok(Figures { size_bytes: entry.size_bytes, sent_bytes })
            }
            Saved::Exists(_) => {
                Err(TrialError::Differs("a fresh backend had the key already".to_owned()))
            }
        }
    }

    fn restore(&self, host: &Host, base: &Base, key: &str) -> Result<(), TrialError> {
        let keys = [key.to_owned()];
        let restored =
            cache::restore(&host.client, base, &keys, &host.folder, &Quiet(&self.report))?;
        let restored =
            restored.ok_or_else(|| TrialError::Differs(format!("`{key}` is not found")))?;
        self.report.warnings(&restored.warnings);
        Ok(())
    }
}

struct Figures {
    size_bytes: u64,
    sent_bytes: u64,
}

/// Warnings, but no news.
struct Quiet<'a>(&'a Report);

impl Watch for Quiet<'_> {
    fn progress(&self, _: u64, _: u64) {}

    fn warn(&self, warning: &str) {
        self.0.warning(warning);
    }

    fn found(&self, _: &CacheEntry) {}
}

fn timed<T>(work: impl FnOnce() -> Result<T, TrialError>) -> Result<(T, Duration), TrialError> {
    let begun = Instant::now();
    Ok((work()?, begun.elapsed()))
}

fn row(name: &str, took: Duration, rest: impl std::fmt::Display) -> io::Result<()> {
    out(format_args!("{name:34} {:6.2} s   {rest}", took.as_secs_f64()))
}

fn flush(host: &Host) -> Result<(), TrialError> {
    let outbox = host.client.flush(FLUSH_SECS)?;
    match outbox.entries {
        0 => Ok(()),
        _ => Err(TrialError::Differs(
            outbox.last_error.unwrap_or_else(|| "the outbox does not empty".to_owned()),
        )),
    }
}

/// Appends a line to some files, as a commit might; returns how many.
fn change_some(tree: &Path) -> Result<usize, TrialError> {
    let mut files = Vec::new();
    list(tree, &mut files)?;
    let chosen: Vec<&PathBuf> = files.iter().step_by(CHANGED_EVERY).collect();
    for file in &chosen {
        let mode = fs_err::metadata(file)?.permissions().mode();
        fs_err::set_permissions(file, std::fs::Permissions::from_mode(mode | 0o200))?;
        let mut file = fs_err::OpenOptions::new().append(true).open(file)?;
        file.write_all(b"changed by larder try\n")?;
    }
    Ok(chosen.len())
}

/// The regular files with one name, in order.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs_err::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let meta = entry.metadata()?;
        if meta.is_dir() {
            list(&entry.path(), files)?;
        } else if meta.is_file() && meta.nlink() == 1 {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Compares two trees entry by entry; returns how many there are.
fn compare(a: &Path, b: &Path) -> Result<usize, TrialError> {
    let differ = |what: &str| TrialError::Differs(format!("{what} of `{}`", b.display()));
    let (meta_a, meta_b) = (fs_err::symlink_metadata(a)?, fs_err::symlink_metadata(b)?);
    if meta_a.file_type() != meta_b.file_type() {
        return Err(differ("the kind"));
    }
    if (meta_a.mtime(), meta_a.mtime_nsec()) != (meta_b.mtime(), meta_b.mtime_nsec()) {
        return Err(differ("the time"));
    }
    if meta_a.is_symlink() {
        let same = fs_err::read_link(a)? == fs_err::read_link(b)?;
        return if same { Ok(1) } else { Err(differ("the target")) };
    }
    // Set-user-id and set-group-id are never restored on files.
    let kept = if meta_a.is_dir() { 0o7777 } else { 0o1777 };
    if meta_a.mode() & kept != meta_b.mode() & 0o7777 {
        return Err(differ("the mode"));
    }
    if !meta_a.is_dir() {
        let same = meta_a.len() == meta_b.len() && digest(a)? == digest(b)?;
        return if same { Ok(1) } else { Err(differ("the content")) };
    }
    let names = |folder: &Path| -> io::Result<Vec<_>> {
        let names = fs_err::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    };
    let inside = names(a)?;
    if inside != names(b)? {
        return Err(differ("the list"));
    }
    inside.iter().try_fold(1, |count, name| Ok(count + compare(&a.join(name), &b.join(name))?))
}

fn digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs_err::File::open(path)?, &mut hasher)?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// What the usual cache step would move: counted, not kept.
fn tar_zstd_bytes(tree: &Path) -> io::Result<u64> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut tar = Command::new("tar")
        .args(["-C".as_ref(), tree.as_os_str(), "-cf".as_ref(), "-".as_ref(), ".".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut packed = tar.stdout.take().ok_or_else(|| io::Error::other("tar has no output"))?;
    let mut encoder = zstd::Encoder::new(Count(0), 3)?;
    io::copy(&mut packed, &mut encoder)?;
    let count = encoder.finish()?.0;
    if tar.wait()?.success() { Ok(count) } else { Err(io::Error::other("tar failed")) }
}
