//! Where things lie when nobody says otherwise. Agent and daemon must agree on it.

use std::path::{Path, PathBuf};

/// The port on loopback.
pub const PORT: u16 = 7878;

/// The socket of a daemon that runs as root.
pub const SYSTEM_SOCKET: &str = "/run/larder.sock";

/// The default places for whoever runs this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The daemon's data folder.
    pub data: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What the agent remembers of trees.
    pub memories: PathBuf,
}

impl Paths {
    /// For root the places of a system service; for others those of the XDG base directories. `env` looks
    /// up a variable of the environment.
    pub fn new(env: &dyn Fn(&str) -> Option<String>, is_root: bool) -> Self {
        let folder =
            |name: &str| env(name).filter(|path| Path::new(path).is_absolute()).map(PathBuf::from);
        let home = folder("HOME").unwrap_or_else(std::env::temp_dir);
        let memories =
            folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("larder/trees");
        if is_root {
            return Self { data: "/var/lib/larder".into(), socket: SYSTEM_SOCKET.into(), memories };
        }
        let data =
            folder("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("larder");
        let socket = folder("XDG_RUNTIME_DIR").unwrap_or_else(|| data.clone()).join("larder.sock");
        Self { data, socket, memories }
    }

    /// For this process.
    pub fn of_process() -> Self {
        Self::new(&|name| std::env::var(name).ok(), rustix::process::geteuid().is_root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_a_service_and_others_have_homes() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/u".to_owned()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".to_owned()),
            _ => None,
        };
        let user = Paths::new(&env, false);
        assert_eq!(user.data, Path::new("/home/u/.local/state/larder"));
        assert_eq!(user.socket, Path::new("/run/user/7/larder.sock"));
        assert_eq!(Paths::new(&env, true).data, Path::new("/var/lib/larder"));
    }
}
