//! Paths as a job types them: relative to the working directory, absolute, or under `~`.

use std::path::{Component, Path, PathBuf};

/// `path` made absolute and cleaned by its text alone (`a/./b/../c` is `a/c`), as CircleCI does: symbolic
/// links are not looked at. Without a `home`, `~` is an ordinary name.
pub(super) fn absolute(path: &Path, working_dir: &Path, home: Option<&Path>) -> PathBuf {
    let expanded = match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => working_dir.join(path),
    };
    let mut clean = PathBuf::new();
    for part in expanded.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_expanded_and_cleaned() {
        let cases = [
            ("node_modules", "/w/node_modules"),
            ("./package-lock.json", "/w/package-lock.json"),
            ("a/./b/../c//d/", "/w/a/c/d"),
            ("../..", "/"),
            ("../../../etc", "/etc"),
            ("/abs/x", "/abs/x"),
            ("~", "/home/ci"),
            ("~/.npm", "/home/ci/.npm"),
            ("~other/x", "/w/~other/x"),
            ("x/~", "/w/x/~"),
        ];
        for (typed, expected) in cases {
            let found = absolute(Path::new(typed), Path::new("/w"), Some(Path::new("/home/ci")));
            assert_eq!(found, Path::new(expected), "{typed}");
        }
        assert_eq!(absolute(Path::new("~/x"), Path::new("/w"), None), Path::new("/w/~/x"));
    }
}
