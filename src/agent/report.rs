//! Everything a person reads: on standard error, in CircleCI's words where it has some. Data for
//! programs goes to standard output.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::cache::Watch;
use crate::model::{CacheEntry, Key};

/// In a log, progress is a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// More warnings of one kind drown the rest.
const WARNINGS_MAX: usize = 20;

/// Tells the user.
#[derive(Debug)]
pub struct Report {
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
    begun: Instant,
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    /// With a progress bar when standard error is a terminal.
    pub fn new() -> Self {
        let style = "{bar:30} {bytes} of {total_bytes} ({bytes_per_sec})";
        let style =
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = io::stderr().is_terminal().then(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
                .with_style(style)
        });
        Self { bar, last_line: Mutex::new(Instant::now()), begun: Instant::now() }
    }

    /// A line.
    pub fn line(&self, text: impl fmt::Display) {
        if let Some(bar) = &self.bar {
            bar.suspend(|| print(&text));
        } else {
            print(&text);
        }
    }

    /// Something that did not go well, while the job goes on.
    pub fn warning(&self, text: impl fmt::Display) {
        self.line(format_args!("Warning: {text}"));
    }

    /// Several of them, the first few in full.
    pub fn warnings<T: fmt::Display>(&self, warnings: &[T]) {
        warnings.iter().take(WARNINGS_MAX).for_each(|warning| self.warning(warning));
        if let Some(more @ 1..) = warnings.len().checked_sub(WARNINGS_MAX) {
            self.warning(format_args!("and {more} more like these"));
        }
    }

    /// A save begins.
    pub fn creating(&self) {
        self.line("Creating cache archive...");
    }

    /// A save is done.
    pub fn stored(&self, key: &Key, paths: &[impl AsRef<Path>], sent_bytes: u64) {
        self.end_progress();
        self.line(format_args!("Stored Cache to {key}"));
        for path in paths {
            self.line(format_args!("  * {}", path.as_ref().display()));
        }
        let took = seconds(self.begun.elapsed());
        self.line(format_args!("Total size uploaded: {} ({took})", Size(sent_bytes)));
    }

    /// The key was taken.
    pub fn skipping(&self, entry: &CacheEntry) {
        self.end_progress();
        self.line(format_args!(
            "Skipping cache generation, cache already exists for key: {}",
            entry.key
        ));
        let created = entry.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC");
        self.line(format_args!("Found one created at {created}"));
    }

    /// No cache for one of the keys.
    pub fn miss(&self, key: &str) {
        self.line(format_args!("No cache is found for key: {key}"));
    }

    /// A restore is done.
    pub fn restored(&self, files: u64, size_bytes: u64) {
        self.end_progress();
        let took = seconds(self.begun.elapsed());
        self.line(format_args!("Restored {files} entries, {} ({took})", Size(size_bytes)));
    }

    fn end_progress(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Report {
    fn progress(&self, done_bytes: u64, total_bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total_bytes);
            bar.set_position(done_bytes);
            return;
        }
        let mut last = self.last_line.lock().expect("no panics while a line is due");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            self.line(format_args!("  {} of {}", Size(done_bytes), Size(total_bytes)));
        }
    }

    fn warn(&self, warning: &str) {
        self.warning(warning);
    }

    fn found(&self, entry: &CacheEntry) {
        let build = &entry.provenance.build;
        let from = if build.is_empty() { String::new() } else { format!(" from build {build}") };
        self.line(format_args!("Found a cache{from} at {}", entry.key));
        self.line(format_args!("Size: {}", Size(entry.size_bytes)));
        self.line("Cached paths:");
        for path in &entry.paths {
            self.line(format_args!("  * {path}"));
        }
        self.line("");
        self.line("Downloading cache archive...");
    }
}

/// Prints an object for programs.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)
}

/// Prints text for programs or people on standard output.
pub fn out(text: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A log that nobody reads is no reason to fail.
fn print(text: impl fmt::Display) {
    let _nobody_reads = writeln!(io::stderr().lock(), "{text}").is_err();
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Bytes as CircleCI prints them: `275 MiB`.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        if value < 10.0 && unit != "B" {
            write!(f, "{value:.1} {unit}")
        } else {
            write!(f, "{value:.0} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_circleci_prints_them() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (275 << 20, "275 MiB"),
            (5 << 30, "5.0 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
