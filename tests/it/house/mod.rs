//! A daemon and an agent as processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program under test.
const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// CI variables of the machine that runs the tests must not reach the agent.
const CI_MARKS: [&str; 9] = [
    "CIRCLECI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BUILDKITE",
    "CI_PIPELINE_NUMBER",
    "DRONE",
    "JENKINS_URL",
    "LARDER_URL",
    "LARDER_PROJECT",
];

/// `larder serve`, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Where it listens on TCP.
    pub(crate) http: String,
    folder: PathBuf,
}

impl Daemon {
    /// Starts one with its data and socket in `folder`, and waits until it says that it is ready.
    pub(crate) fn start(folder: &Path, backend: &str) -> Self {
        Self::try_start(folder, backend, "127.0.0.1:0").unwrap_or_else(|log| panic!("{log}"))
    }

    /// One whose disk has a budget.
    pub(crate) fn start_within(folder: &Path, backend: &str, max_size: &str) -> Self {
        let started = Self::spawn(folder, backend, "127.0.0.1:0", &["--max-size", max_size]);
        started.unwrap_or_else(|log| panic!("{log}"))
    }

    /// Gives its log when it ends instead of being ready.
    pub(crate) fn try_start(folder: &Path, backend: &str, listen: &str) -> Result<Self, String> {
        Self::spawn(folder, backend, listen, &[])
    }

    fn spawn(folder: &Path, backend: &str, listen: &str, flags: &[&str]) -> Result<Self, String> {
        let mut child = Command::new(LARDER)
            .args(["serve", "--min-free", "0"])
            .args(flags)
            .args(["--listen", listen, "--backend", backend, "--data"])
            .arg(folder.join("data"))
            .arg("--socket")
            .arg(folder.join("larder.sock"))
            .env("LARDER_LOG", "larder=info,warn")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut log, mut http) = (String::new(), String::new());
        for line in lines.by_ref() {
            let line = line.unwrap();
            log.push_str(&line);
            log.push('\n');
            if let Some(at) = line.find("listening on http://") {
                line[at..].trim_start_matches("listening on ").clone_into(&mut http);
            }
            if line.contains(" ready") {
                // Nobody may stop to read a log that goes on.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, http, folder: folder.to_owned() });
            }
        }
        child.wait().unwrap();
        Err(log)
    }

    /// As `LARDER_URL` has it.
    pub(crate) fn url(&self) -> String {
        format!("unix:{}", self.folder.join("larder.sock").display())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill().is_err();
        let _gone = self.child.wait().is_err();
    }
}

/// A job's working directory.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    url: String,
    env: Vec<(String, String)>,
}

/// How a step ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) told: String,
    pub(crate) out: String,
}

impl Job {
    pub(crate) fn new(url: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url: url.to_owned(), env: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("project").join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    /// `larder` with these arguments.
    pub(crate) fn larder(&self, arguments: &[&str]) -> Ended {
        fs_err::create_dir_all(self.path("")).unwrap();
        let mut command = Command::new(LARDER);
        for mark in CI_MARKS {
            command.env_remove(mark);
        }
        command
            .args(arguments)
            .current_dir(self.path(""))
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("LARDER_URL", &self.url)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap(), told: text(stderr), out: text(stdout) }
    }

    /// The same, expected to end well.
    pub(crate) fn step(&self, arguments: &[&str]) -> String {
        let ended = self.larder(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.told);
        assert!(!ended.told.contains("Warning"), "{arguments:?}: {}", ended.told);
        ended.told
    }
}

/// The digests of all blobs in a daemon's folder.
pub(crate) fn blobs(folder: &Path) -> Vec<PathBuf> {
    let shards = fs_err::read_dir(folder.join("data/blobs-v1")).unwrap();
    shards
        .flat_map(|shard| fs_err::read_dir(shard.unwrap().path()).unwrap())
        .map(|blob| blob.unwrap().path())
        .collect()
}

/// Bytes that do not compress and do not repeat.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}
