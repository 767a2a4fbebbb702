//! The command line, as typed.
#![expect(clippy::doc_markdown, reason = "help texts are plain text")]

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Keeps CI caches on the runner's own disk, with CircleCI's semantics.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A cache never fails a job: when the daemon or its backend is down, the disk is full or a cache is
damaged, the steps warn, say why and exit with 0. --strict turns that into a failure.

Exit codes: 0 done, or degraded with a warning; 1 failed (--strict, --fail-on-miss, a key that
cannot be computed); 2 the command line is wrong.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save files and folders under a key, unless it is taken
    #[command(alias = "save_cache", after_help = SAVE_HELP)]
    SaveCache(SaveCache),
    /// Restore the newest cache whose key begins with one of these
    #[command(alias = "restore_cache", after_help = RESTORE_HELP)]
    RestoreCache(RestoreCache),
    /// Wait until everything saved is in the backend; for hosts that are about to be terminated
    Flush(Flush),
    /// Show how the daemon is
    Status(Status),
    /// Run the daemon of this host
    #[cfg(feature = "daemon")]
    Serve(Serve),
    /// Try it all on one folder, nothing configured: save, cold restore, verify, change, save again
    #[cfg(feature = "daemon")]
    Try(Try),
    /// Print completions for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

impl Command {
    /// Whether this is the daemon, which sets up its own log.
    pub fn is_daemon(&self) -> bool {
        #[cfg(feature = "daemon")]
        return matches!(self, Self::Serve(_));
        #[cfg(not(feature = "daemon"))]
        false
    }
}

/// What all steps take.
#[derive(Debug, Args)]
pub struct Common {
    /// Whose caches; the CI's project unless given, `local` outside any CI [env: LARDER_PROJECT]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// The daemon, as http://HOST:PORT or unix:/PATH; found by itself unless given
    #[arg(long, env = "LARDER_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Fail where otherwise a warning would do
    #[arg(long, env = "LARDER_STRICT", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub strict: bool,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `save-cache`
#[derive(Debug, Args)]
pub struct SaveCache {
    /// The key, a template
    #[arg(long, value_name = "TEMPLATE")]
    pub key: String,
    /// What to save: relative to the working directory, absolute or from ~; no wildcards
    #[arg(long = "path", value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Restore to the same absolute paths, as CircleCI does, wherever the job works
    #[arg(long)]
    pub absolute: bool,
    /// What all steps take.
    #[command(flatten)]
    pub common: Common,
}

const SAVE_HELP: &str = "\
Templates: {{ checksum \"FILE\" }} {{ .Branch }} {{ .Revision }} {{ .BuildNum }} {{ .CheckoutKey }}
{{ .Environment.NAME }} {{ epoch }} {{ arch }} {{ os_arch }} (as arch, without the processor's model).
A value with several lines counts as several values.

Example:
  larder save-cache --key 'v1-npm-{{ checksum \"package-lock.json\" }}' --path node_modules";

/// `restore-cache`
#[derive(Debug, Args)]
pub struct RestoreCache {
    /// A key, a template; several are tried in order
    #[arg(long = "key", value_name = "TEMPLATE", required = true)]
    pub keys: Vec<String>,
    /// Exit with 1 when no cache is found
    #[arg(long)]
    pub fail_on_miss: bool,
    /// What all steps take.
    #[command(flatten)]
    pub common: Common,
}

const RESTORE_HELP: &str = "\
For each key in order, all caches whose keys begin with it match, and the one saved last wins, even
when another matches exactly: so it is on CircleCI.

Example:
  larder restore-cache --key 'v1-npm-{{ checksum \"package-lock.json\" }}' --key v1-npm-";

/// `flush`
#[derive(Debug, Args)]
pub struct Flush {
    /// Wait for it; without, only ask for it and say how it stands
    #[arg(long)]
    pub wait: bool,
    /// Seconds to wait at most; exit with 1 when something is left
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    pub timeout: u64,
    /// What all steps take.
    #[command(flatten)]
    pub common: Common,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// What all steps take.
    #[command(flatten)]
    pub common: Common,
}

/// `serve`
#[cfg(feature = "daemon")]
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct Serve {
    /// A TOML file; flags and LARDER_* variables override it [env: LARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// An address on loopback, or `off` [default: 127.0.0.1:7878] [env: LARDER_LISTEN]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// A unix socket, or `off` [env: LARDER_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// The folder for everything the daemon keeps [env: LARDER_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// What the copies on the host may take, as 80GiB or 50% [default: 80% of what is free at the first start, at most 100GiB] [env: LARDER_MAX_SIZE]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// What is left to others on the file system [default: 10%] [env: LARDER_MIN_FREE]
    #[arg(long, value_name = "SIZE")]
    pub min_free: Option<String>,
    /// The storage behind it [default: a folder in the data folder] [env: LARDER_BACKEND]
    #[arg(long, value_name = "URL")]
    pub backend: Option<String>,
    /// Log JSON lines
    #[arg(long)]
    pub log_json: bool,
}

#[cfg(feature = "daemon")]
const SERVE_HELP: &str = "\
Backends: s3://BUCKET/PREFIX?region=REGION&endpoint=URL (us-east-1 and AWS unless given; credentials
from AWS's usual places), file:///FOLDER, memory:.
LARDER_LOG sets what is logged: info, larder=debug, …";

/// `try`
#[cfg(feature = "daemon")]
#[derive(Debug, Args)]
pub struct Try {
    /// A folder with many files: node_modules, target, a virtual environment
    pub path: std::path::PathBuf,
    /// Leave everything it made for you to look at
    #[arg(long)]
    pub keep: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn steps_have_the_names_of_circleci_too() {
        for name in ["save-cache", "save_cache"] {
            let cli =
                Cli::try_parse_from(["larder", name, "--key", "k", "--path", "a", "--path", "b"]);
            let Command::SaveCache(save) = cli.unwrap().command else { panic!("save-cache") };
            assert_eq!(save.paths, ["a", "b"]);
        }
        assert!(Cli::try_parse_from(["larder", "restore_cache"]).is_err(), "a key is needed");
    }
}
