//! Saved paths: from what the job typed to a place on this host, and back.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::model::Anchor;

/// What paths are relative to, on this host and for this job. Both absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The job's working directory.
    pub working_directory: PathBuf,
    /// The home directory.
    pub home: PathBuf,
}

/// A saved path and where it lies on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What [`Root::path`] is relative to.
    pub anchor: Anchor,
    /// Without `.` and `..`; empty for the anchor itself.
    pub path: Vec<u8>,
    /// The absolute path here.
    pub here: PathBuf,
}

/// A path that cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// `/..` and the like.
    #[error("the path `{0}` climbs above the root of the file system")]
    Climbs(String),
    /// An empty text.
    #[error("a path to save is empty")]
    Empty,
}

impl Base {
    /// Resolves a path as a job gives it: relative to the working directory, absolute, or from `~`.
    /// With `absolute`, as CircleCI does, it will be restored to the same absolute path; otherwise it
    /// is kept relative to the working directory or the home directory where it lies in one of them.
    pub fn root(&self, typed: &str, absolute: bool) -> Result<Root, RootError> {
        if typed.is_empty() {
            return Err(RootError::Empty);
        }
        let joined = match typed.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => self.working_directory.join(typed),
        };
        let here = normal(&joined).ok_or_else(|| RootError::Climbs(typed.to_owned()))?;
        let inside =
            |base: &Path| normal(base).and_then(|base| here.strip_prefix(base).ok().map(bytes));
        let (anchor, path) = if absolute {
            (Anchor::Absolute, None)
        } else if let Some(path) = inside(&self.working_directory) {
            (Anchor::WorkingDirectory, Some(path))
        } else {
            (Anchor::Home, inside(&self.home))
        };
        Ok(match path {
            Some(path) => Root { anchor, path, here },
            None => Root { anchor: Anchor::Absolute, path: bytes(&here)[1..].to_vec(), here },
        })
    }

    /// Where a saved path goes on this host.
    pub(super) fn here(&self, anchor: Anchor, path: &[u8]) -> PathBuf {
        let base = match anchor {
            Anchor::WorkingDirectory => &self.working_directory,
            Anchor::Home => &self.home,
            Anchor::Absolute => Path::new("/"),
        };
        if path.is_empty() {
            base.to_path_buf()
        } else {
            base.join(std::ffi::OsStr::from_bytes(path))
        }
    }
}

/// Drops roots that lie inside another and sorts nothing: the first mention keeps its place.
pub(super) fn without_nested(roots: Vec<Root>) -> Vec<Root> {
    let inside = |at: usize| {
        let root = &roots[at];
        roots.iter().enumerate().any(|(other_at, other)| {
            other_at != at
                && root.here.starts_with(&other.here)
                && (root.here != other.here || other_at < at)
        })
    };
    let keep: Vec<bool> = (0..roots.len()).map(|at| !inside(at)).collect();
    roots.into_iter().zip(keep).filter_map(|(root, keep)| keep.then_some(root)).collect()
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().to_owned().into_vec()
}

/// Without `.` and `..`, lexically: a cached path means what its text says, wherever links point.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        Base { working_directory: "/home/ci/project".into(), home: "/home/ci".into() }
    }

    #[test]
    fn paths_are_kept_relative_to_the_nearest_base() {
        let cases = [
            (
                "node_modules",
                Anchor::WorkingDirectory,
                "node_modules",
                "/home/ci/project/node_modules",
            ),
            ("./a/../b", Anchor::WorkingDirectory, "b", "/home/ci/project/b"),
            (".", Anchor::WorkingDirectory, "", "/home/ci/project"),
            ("~/.cache/pip", Anchor::Home, ".cache/pip", "/home/ci/.cache/pip"),
            ("../other", Anchor::Home, "other", "/home/ci/other"),
            ("~", Anchor::Home, "", "/home/ci"),
            ("/usr/local/x/", Anchor::Absolute, "usr/local/x", "/usr/local/x"),
            ("~weird", Anchor::WorkingDirectory, "~weird", "/home/ci/project/~weird"),
        ];
        for (typed, anchor, path, here) in cases {
            let root = base().root(typed, false).unwrap();
            assert_eq!((root.anchor, root.path.as_slice()), (anchor, path.as_bytes()), "{typed}");
            assert_eq!(root.here, Path::new(here), "{typed}");
            assert_eq!(base().here(root.anchor, &root.path), root.here, "{typed}");
        }
        let root = base().root("node_modules", true).unwrap();
        assert_eq!(root.path, b"home/ci/project/node_modules");
        assert!(base().root("/..", false).is_err());
        assert!(base().root("", false).is_err());
    }

    #[test]
    fn nested_roots_are_saved_once() {
        let roots = ["a/b", "a", "a", "ab", "c"].map(|typed| base().root(typed, false).unwrap());
        let kept: Vec<Vec<u8>> =
            without_nested(roots.to_vec()).into_iter().map(|root| root.path).collect();
        assert_eq!(kept, [&b"a"[..], b"ab", b"c"]);
    }
}
