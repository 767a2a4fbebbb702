//! The steps: what was typed, carried out and told.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::cache::{self, CacheError, Restored, Save, Saved};
use super::cli;
use super::client::{Address, Client};
use super::identity::Identity;
use super::report::{self, Report, Size};
use super::template;
use crate::model::{Key, KeyError};
use crate::paths::{PORT, Paths, SYSTEM_SOCKET};
use crate::tree::Base;

/// Why the process ends with 1.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The key cannot be computed; the job is at fault.
    #[error("error computing cache key: {0}")]
    Template(template::Error),
    /// The key is no key.
    #[error("the key `{text}` cannot be used: {source}")]
    Key {
        /// After its template was rendered.
        text: String,
        /// Why not.
        source: KeyError,
    },
    /// `--url` or `LARDER_URL`.
    #[error(
        "`{0}` is no address of a daemon: give http://HOST:PORT or unix:/PATH with --url or LARDER_URL"
    )]
    Url(String),
    /// The working directory is gone, and nothing can be relative to it.
    #[error("the working directory cannot be found")]
    WorkingDirectory(#[source] io::Error),
    /// `--strict`
    #[error("{step} failed")]
    Strict {
        /// Which step.
        step: &'static str,
        /// Why.
        source: CacheError,
    },
    /// `--fail-on-miss`
    #[error("no cache is found")]
    Miss,
    /// `flush --wait`
    #[error("saves that are not in the backend yet: {entries}{}", reason(.last_error.as_ref()))]
    NotFlushed {
        /// How many.
        entries: u64,
        /// Why the last attempt failed.
        last_error: Option<String>,
    },
    /// Standard output.
    #[error("the result cannot be printed")]
    Output(#[from] io::Error),
}

fn reason(last_error: Option<&String>) -> String {
    last_error.map_or_else(String::new, |error| format!(": {error}"))
}

/// What every step needs to know of its surroundings.
struct Job {
    client: Client,
    identity: Identity,
    base: Base,
    memories: PathBuf,
    report: Report,
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Job {
    fn new(common: &cli::Common) -> Result<Self, StepError> {
        let paths = Paths::of_process();
        let identity = Identity::new(&env, common.project.as_deref());
        let address = match &common.url {
            Some(url) => address(url)?,
            // A job that is not root's finds the daemon of its own user first, then the host's.
            None => [paths.socket.as_path(), Path::new(SYSTEM_SOCKET)]
                .into_iter()
                .find(|socket| socket.exists())
                .map_or_else(
                    || Address::Tcp(format!("127.0.0.1:{PORT}")),
                    |socket| Address::Unix(socket.to_owned()),
                ),
        };
        let working_directory = std::env::current_dir().map_err(StepError::WorkingDirectory)?;
        let home = env("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Ok(Self {
            client: Client::new(address, identity.project.clone()),
            identity,
            base: Base { working_directory, home },
            memories: paths.memories,
            report: Report::new(),
        })
    }

    fn key(&self, template: &str) -> Result<String, StepError> {
        let Identity { provenance, checkout_key, .. } = &self.identity;
        let context = template::Context {
            branch: &provenance.branch,
            revision: &provenance.revision,
            build_num: &provenance.build,
            checkout_key,
            environment: &env,
            open: &open,
            working_dir: &self.base.working_directory,
            home: Some(&self.base.home),
            epoch_secs: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            arch: &template::arch::of_this_host(),
            os_arch: &template::arch::os_arch(),
        };
        let key = template::render(template.trim(), &context).map_err(StepError::Template)?;
        let key = key.trim().to_owned();
        match key.parse::<Key>() {
            Ok(_) => Ok(key),
            Err(source) => Err(StepError::Key { text: key, source }),
        }
    }
}

/// Without the path in its errors: the template's wording has it already.
#[expect(clippy::disallowed_types, reason = "fs_err would name the path twice")]
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(Box::new(std::fs::File::open(path)?))
}

fn address(url: &str) -> Result<Address, StepError> {
    if let Some(path) = url.strip_prefix("unix:")
        && path.starts_with('/')
    {
        return Ok(Address::Unix(PathBuf::from(path.replacen("///", "/", 1))));
    }
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(Address::Tcp(host.to_owned())),
        _ => Err(StepError::Url(url.to_owned())),
    }
}

/// One value for each line that is not empty: orbs have no lists.
fn lines(values: &[String]) -> Vec<String> {
    let lines = values.iter().flat_map(|value| value.lines());
    lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[derive(Serialize)]
struct SavedJson<'a> {
    key: &'a str,
    stored: bool,
    size_bytes: u64,
    sent_bytes: u64,
    files: u64,
}

/// `save-cache`
pub fn save_cache(typed: &cli::SaveCache) -> Result<(), StepError> {
    let job = Job::new(&typed.common)?;
    let text = job.key(&typed.key)?;
    let key: Key = text.parse().map_err(|source| StepError::Key { text: text.clone(), source })?;
    let paths = lines(&typed.paths);
    let provenance = job.identity.provenance.clone();
    let wanted = Save { key: &key, paths: &paths, absolute: typed.absolute, provenance };
    job.report.creating();
    let saved = match cache::save(&job.client, &job.base, &wanted, &job.memories, &job.report) {
        Ok(saved) => saved,
        Err(source) => {
            return degrade(
                &job,
                typed.common.strict,
                "saving the cache",
                "The cache is not saved.",
                source,
            );
        }
    };
    let (entry, stored, sent_bytes) = match &saved {
        Saved::Exists(entry) => {
            job.report.skipping(entry);
            (entry, false, 0)
        }
        Saved::Stored { entry, paths, sent_bytes, warnings } => {
            job.report.warnings(warnings);
            job.report.stored(&key, paths, *sent_bytes);
            (entry, true, *sent_bytes)
        }
    };
    if typed.common.json {
        let CacheEntryFigures { size_bytes, files } = CacheEntryFigures::of(entry);
        report::json(&SavedJson { key: key.as_str(), stored, size_bytes, sent_bytes, files })?;
    }
    Ok(())
}

struct CacheEntryFigures {
    size_bytes: u64,
    files: u64,
}

impl CacheEntryFigures {
    fn of(entry: &crate::model::CacheEntry) -> Self {
        Self { size_bytes: entry.size_bytes, files: entry.files }
    }
}

#[derive(Serialize)]
struct RestoredJson<'a> {
    hit: bool,
    key: Option<&'a str>,
    files: u64,
    size_bytes: u64,
    paths: Vec<String>,
}

/// `restore-cache`
pub fn restore_cache(typed: &cli::RestoreCache) -> Result<(), StepError> {
    let job = Job::new(&typed.common)?;
    let keys = lines(&typed.keys).iter().map(|key| job.key(key)).collect::<Result<Vec<_>, _>>()?;
    let restored = match cache::restore(&job.client, &job.base, &keys, &job.memories, &job.report) {
        Ok(restored) => restored,
        Err(source) => {
            let end = degrade(
                &job,
                typed.common.strict,
                "restoring the cache",
                "Nothing is restored; this counts as a miss.",
                source,
            );
            return if typed.fail_on_miss { end.and(Err(StepError::Miss)) } else { end };
        }
    };
    match &restored {
        Some(Restored { files, size_bytes, warnings, .. }) => {
            job.report.warnings(warnings);
            job.report.restored(*files, *size_bytes);
        }
        None => keys.iter().for_each(|key| job.report.miss(key)),
    }
    if typed.common.json {
        let entry = restored.as_ref().map(|restored| restored.entry.key.as_str());
        let paths = restored.iter().flat_map(|restored| &restored.paths);
        report::json(&RestoredJson {
            hit: entry.is_some(),
            key: entry,
            files: restored.as_ref().map_or(0, |restored| restored.files),
            size_bytes: restored.as_ref().map_or(0, |restored| restored.size_bytes),
            paths: paths.map(|path| path.display().to_string()).collect(),
        })?;
    }
    if restored.is_none() && typed.fail_on_miss { Err(StepError::Miss) } else { Ok(()) }
}

/// A fault of the cache is a warning, unless the job wants it otherwise.
fn degrade(
    job: &Job,
    strict: bool,
    step: &'static str,
    consequence: &str,
    source: CacheError,
) -> Result<(), StepError> {
    if strict {
        return Err(StepError::Strict { step, source });
    }
    job.report.warning(format_args!("{step} failed: {}", chain(&source)));
    job.report.line(format_args!("{consequence} The job goes on; --strict would end it here."));
    Ok(())
}

/// `flush`
pub fn flush(typed: &cli::Flush) -> Result<(), StepError> {
    let job = Job::new(&typed.common)?;
    let wait_secs = if typed.wait { typed.timeout } else { 0 };
    let outbox = match job.client.flush(wait_secs) {
        Ok(outbox) => outbox,
        Err(error) => {
            return degrade(
                &job,
                typed.common.strict || typed.wait,
                "flushing",
                "Nothing is lost.",
                error.into(),
            );
        }
    };
    if typed.common.json {
        report::json(&outbox)?;
    }
    match outbox.entries {
        0 => job.report.line("Everything saved is in the backend."),
        entries if typed.wait => {
            return Err(StepError::NotFlushed { entries, last_error: outbox.last_error });
        }
        entries => job.report.line(format_args!(
            "Saves that wait to be flushed: {entries} ({}){}",
            Size(outbox.bytes),
            reason(outbox.last_error.as_ref())
        )),
    }
    Ok(())
}

/// `status`
pub fn status(typed: &cli::Status) -> Result<(), StepError> {
    let job = Job::new(&typed.common)?;
    let status = job
        .client
        .status()
        .map_err(|error| StepError::Strict { step: "asking the daemon", source: error.into() })?;
    if typed.common.json {
        return Ok(report::json(&status)?);
    }
    let outbox = &status.outbox;
    let waiting = format!(
        "{} waiting, {}{}",
        outbox.entries,
        Size(outbox.bytes),
        reason(outbox.last_error.as_ref())
    );
    let lines = [
        (
            "daemon",
            format!("{} at {}, up {} s", status.version, job.client.address(), status.uptime_secs),
        ),
        ("data", status.data.clone()),
        ("backend", status.backend.clone()),
        (
            "disk",
            format!(
                "{} of {} in {} blobs; {} free on the file system, {} of it left to others",
                Size(status.disk_bytes),
                Size(status.disk_max_bytes),
                status.blobs,
                Size(status.disk_free_bytes),
                Size(status.disk_min_free_bytes)
            ),
        ),
        ("outbox", waiting),
        ("restores", format!("{} hits, {} misses", status.hits, status.misses)),
        (
            "backend bytes",
            format!(
                "{} read, {} written",
                Size(status.backend_read_bytes),
                Size(status.backend_written_bytes)
            ),
        ),
    ];
    for (name, value) in lines {
        report::out(format_args!("{name:14} {value}"))?;
    }
    Ok(())
}

/// An error and its sources in one line, each thing once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}
