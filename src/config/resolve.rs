//! From what was given in several places to what is in force; all faults are told at once.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use larder_backends as backends;

use super::Config;
use super::file::{File, Listen};
use crate::disk::{Amount, Limits};
use crate::paths::{PORT, Paths};

/// What turns a way of listening off.
const OFF: &str = "off";

/// Flags, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Vec<String>,
    /// `--socket`
    pub socket: Option<String>,
    /// `--data`
    pub data: Option<String>,
    /// `--max-size`
    pub max_size: Option<String>,
    /// `--min-free`
    pub min_free: Option<String>,
    /// `--backend`
    pub backend: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct ConfigError {
    /// Where it was given: a flag, a variable or a key of the file.
    pub key: String,
    /// What is wrong with it, and how it should be.
    pub reason: String,
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<ConfigError>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// A value and where it came from.
struct Given {
    key: String,
    value: String,
}

struct Sources<'a> {
    file_name: String,
    file: File,
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<ConfigError>,
}

/// Finds out what is in force. `env` looks up a variable of the environment, `read` reads a file.
pub fn resolve(
    typed: &Typed,
    env: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
    paths: &Paths,
) -> Result<Config, Faults> {
    let mut sources =
        Sources { file_name: String::new(), file: File::default(), env, faults: Vec::new() };
    sources.read_file(typed.config.as_deref(), read);
    let listen = sources.listen(&typed.listen);
    let socket = sources.socket(typed.socket.as_ref(), paths);
    let data = sources.data(typed.data.as_ref(), paths);
    let limits = sources.limits(typed);
    let backend = sources.backend(typed.backend.as_ref(), &data);
    if listen.is_empty() && socket.is_none() && sources.faults.is_empty() {
        sources
            .fault("listen", "both the socket and the port are off: nobody could reach the daemon");
    }
    match backend {
        Some(backend) if sources.faults.is_empty() => {
            Ok(Config { listen, socket, data, limits, backend })
        }
        _ => Err(Faults(sources.faults)),
    }
}

impl Sources<'_> {
    fn fault(&mut self, key: impl Into<String>, reason: impl fmt::Display) {
        self.faults.push(ConfigError { key: key.into(), reason: reason.to_string() });
    }

    fn read_file(&mut self, path: Option<&Path>, read: &dyn Fn(&Path) -> std::io::Result<String>) {
        let named =
            path.map(Path::to_owned).or_else(|| (self.env)("LARDER_CONFIG").map(PathBuf::from));
        let Some(path) = named else { return };
        self.file_name = path.display().to_string();
        match read(&path) {
            Ok(text) => match toml::from_str(&text) {
                Ok(file) => self.file = file,
                Err(error) => self.fault(self.file_name.clone(), error.to_string().trim_end()),
            },
            Err(error) => self.fault(self.file_name.clone(), error),
        }
    }

    fn pick(
        &self,
        flag: &str,
        typed: Option<&String>,
        variable: &str,
        key: &str,
        file: Option<&String>,
    ) -> Option<Given> {
        let given = |key: &str, value: &String| Given { key: key.to_owned(), value: value.clone() };
        typed
            .map(|value| given(flag, value))
            .or_else(|| (self.env)(variable).map(|value| given(variable, &value)))
            .or_else(|| file.map(|value| given(&format!("{}: {key}", self.file_name), value)))
    }

    fn listen(&mut self, typed: &[String]) -> Vec<SocketAddr> {
        let (key, values) = if !typed.is_empty() {
            ("--listen".to_owned(), typed.to_vec())
        } else if let Some(value) = (self.env)("LARDER_LISTEN") {
            (
                "LARDER_LISTEN".to_owned(),
                value.split(',').map(|part| part.trim().to_owned()).collect(),
            )
        } else {
            let key = format!("{}: serve.listen", self.file_name);
            match self.file.serve.listen.clone() {
                Some(Listen::One(value)) => (key, vec![value]),
                Some(Listen::Many(values)) => (key, values),
                None => return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            }
        };
        let mut addresses = Vec::new();
        for value in values.iter().filter(|value| *value != OFF) {
            match value.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => addresses.push(address),
                Ok(address) => self.fault(&key, format!("`{address}` is not a loopback address, and callers are not authenticated yet: use 127.0.0.1 or the socket")),
                Err(_) => self.fault(&key, format!("`{value}` is not an address such as 127.0.0.1:{PORT}, nor `off`")),
            }
        }
        addresses
    }

    fn socket(&mut self, typed: Option<&String>, paths: &Paths) -> Option<PathBuf> {
        let file = self.file.serve.socket.clone();
        let Some(Given { key, value }) =
            self.pick("--socket", typed, "LARDER_SOCKET", "serve.socket", file.as_ref())
        else {
            return Some(paths.socket.clone());
        };
        // The kernel keeps 108 bytes for it, one of them for the end.
        if value.len() > 107 {
            self.fault(key, format!("`{value}` is too long for a socket: at most 107 bytes"));
        }
        (value != OFF).then(|| PathBuf::from(value))
    }

    fn data(&mut self, typed: Option<&String>, paths: &Paths) -> PathBuf {
        let file = self.file.serve.data.clone();
        let given = self.pick("--data", typed, "LARDER_DATA", "serve.data", file.as_ref());
        given.map_or_else(|| paths.data.clone(), |given| PathBuf::from(given.value))
    }

    fn limits(&mut self, typed: &Typed) -> Limits {
        let file = self.file.disk.clone();
        let max_size = self.pick(
            "--max-size",
            typed.max_size.as_ref(),
            "LARDER_MAX_SIZE",
            "disk.max_size",
            file.max_size.as_ref(),
        );
        let min_free = self.pick(
            "--min-free",
            typed.min_free.as_ref(),
            "LARDER_MIN_FREE",
            "disk.min_free",
            file.min_free.as_ref(),
        );
        let max_size = self.amount(max_size);
        let min_free = self.amount(min_free);
        Limits { max_size, min_free: min_free.unwrap_or(Limits::default().min_free) }
    }

    fn amount(&mut self, given: Option<Given>) -> Option<Amount> {
        let Given { key, value } = given?;
        value.parse().map_err(|error| self.fault(key, error)).ok()
    }

    /// Without any, a folder beside the data: everything works at once, for one host.
    fn backend(&mut self, typed: Option<&String>, data: &Path) -> Option<backends::Config> {
        let file = self.file.backend.url.clone();
        match self.pick("--backend", typed, "LARDER_BACKEND", "backend.url", file.as_ref()) {
            Some(Given { key, value }) => match backends::Config::parse(&value) {
                Ok(config) => Some(config),
                Err(error) => {
                    self.fault(key, error);
                    None
                }
            },
            None => Some(backends::Config::folder(
                std::path::absolute(data.join("backend")).unwrap_or_else(|_| data.join("backend")),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths { data: "/d".into(), socket: "/d/larder.sock".into(), memories: "/m".into() }
    }

    fn run(typed: &Typed, env: &[(&str, &str)], file: &str) -> Result<Config, Faults> {
        let env = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        resolve(typed, &env, &|_| Ok(file.to_owned()), &paths())
    }

    #[test]
    fn nothing_need_be_given() {
        let config = run(&Typed::default(), &[], "").unwrap();
        assert_eq!(config.listen, [SocketAddr::from(([127, 0, 0, 1], PORT))]);
        assert_eq!(config.socket.as_deref(), Some(Path::new("/d/larder.sock")));
        assert_eq!(config.backend, backends::Config::folder("/d/backend"));
    }

    #[test]
    fn flags_come_before_variables_before_the_file() {
        let file = "[serve]\ndata = \"/file\"\nsocket = \"off\"\n[backend]\nurl = \"memory:\"\n";
        let typed = Typed { config: Some("x.toml".into()), ..Typed::default() };
        let config = run(&typed, &[], file).unwrap();
        assert_eq!((config.data.as_path(), config.socket), (Path::new("/file"), None));
        let config = run(&typed, &[("LARDER_DATA", "/env")], file).unwrap();
        assert_eq!(config.data, Path::new("/env"));
        let typed = Typed { data: Some("/flag".into()), ..typed };
        let config = run(&typed, &[("LARDER_DATA", "/env")], file).unwrap();
        assert_eq!(config.data, Path::new("/flag"));
    }

    #[test]
    fn all_faults_are_told_with_their_keys() {
        let typed =
            Typed { listen: vec!["0.0.0.0:1".into(), "nonsense".into()], ..Typed::default() };
        let faults = run(&typed, &[("LARDER_BACKEND", "ftp://x"), ("LARDER_MAX_SIZE", "much")], "")
            .unwrap_err();
        let keys: Vec<&str> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["--listen", "--listen", "LARDER_MAX_SIZE", "LARDER_BACKEND"]);
        let typed = Typed { config: Some("x.toml".into()), ..Typed::default() };
        let faults = run(&typed, &[], "[serve]\nlisten_on = 3\n").unwrap_err();
        assert!(faults.to_string().contains("x.toml") && faults.to_string().contains("listen_on"));
        let typed =
            Typed { listen: vec!["off".into()], socket: Some("off".into()), ..Typed::default() };
        assert!(run(&typed, &[], "").is_err(), "nobody could reach it");
    }
}
