//! The rules of the house, checked on the source.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

/// Which rooms a room may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("api", &["model"]),
    ("paths", &[]),
    ("tree", &["model"]),
    ("disk", &["model"]),
    ("ops", &["model", "disk"]),
    ("frontends", &["model", "api", "disk", "ops"]),
    ("agent", &["model", "api", "tree", "paths"]),
    ("config", &["disk", "paths"]),
    ("telemetry", &[]),
    ("daemon", &["api", "config", "disk", "frontends", "model", "ops", "paths", "telemetry"]),
    ("trial", &["agent", "config", "daemon", "model", "tree"]),
];

/// Crates that are named in these rooms only.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["frontends"]),
    ("hyper", &["frontends", "agent"]),
    ("sled", &["disk"]),
    ("larder_backends", &["ops", "config", "daemon", "trial"]),
    ("toml", &["config"]),
    ("tracing_subscriber", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("fastcdc", &["tree"]),
    ("blake3", &["model", "trial"]),
    ("clap", &["agent"]),
    ("indicatif", &["agent"]),
];

/// Lines of code in a file, without its test module.
const LINES_MAX: usize = 500;

struct Source {
    path: String,
    text: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs_err::read_to_string(&path).unwrap();
                sources.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The room of a file: the first part of its path under `src`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|room| !matches!(*room, "lib" | "main"))
}

/// What is said about the code, not what it does: comments and strings do not count as uses.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\n").next().unwrap_or(text)
}

fn words_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |rest: &'a str| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    };
    line.match_indices(prefix).map(|(at, _)| word(&line[at + prefix.len()..])).collect()
}

fn faults_of_rooms(source: &Source) -> Vec<String> {
    let Some(room) = room(&source.path) else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "{}: `{room}` is no room of the house; add it to ROOMS in tests/tidy.rs",
            source.path
        )];
    };
    let mut faults = Vec::new();
    for line in source.text.lines().map(code) {
        for used in words_after(line, "crate::") {
            if used != room
                && ROOMS.iter().any(|(name, _)| *name == used)
                && !allowed.contains(&used)
            {
                faults.push(format!("{}: `{room}` may not use `crate::{used}`", source.path));
            }
        }
        for (name, rooms) in CRATES {
            let used =
                line.contains(&format!("{name}::")) && !line.contains(&format!("::{name}::"));
            if used && !rooms.contains(&room) {
                faults.push(format!("{}: `{room}` may not use the crate `{name}`", source.path));
            }
        }
    }
    faults
}

fn faults_of_style(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut faults = Vec::new();
    let mut fault = |what: &str| faults.push(format!("{path}: {what}"));
    if !text.starts_with("//!") && !text.starts_with("#![doc") {
        fault("begins without `//!`");
    }
    let lines = without_tests(text).lines().count();
    if lines > LINES_MAX {
        fault(&format!("has {lines} lines; at most {LINES_MAX}: is there a wall missing?"));
    }
    if text.contains(concat!("super::", "super::")) {
        fault("climbs two rooms at once; use `crate::`");
    }
    for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")] {
        if text.contains(mark) {
            fault(&format!("has a `{mark}`"));
        }
    }
    faults
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let faults: Vec<String> = sources("src").iter().flat_map(faults_of_rooms).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_keep_the_style() {
    let all = ["src", "backends/src", "backends/tests", "tests"].into_iter().flat_map(sources);
    let faults: Vec<String> = all.flat_map(|source| faults_of_style(&source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_integration_test_is_in_the_one_binary() {
    let main = fs_err::read_to_string("tests/it/main.rs").unwrap();
    for entry in fs_err::read_dir("tests/it").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap().to_owned();
        let known = name == "main" || name == "snapshots" || main.contains(&format!("mod {name};"));
        assert!(known, "tests/it/{name} is not in tests/it/main.rs, so it never runs");
    }
}

#[test]
fn the_checks_find_what_they_are_for() {
    let sample = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let climbing = sample("src/model/x.rs", "//! X.\nuse crate::disk::Disk;\n");
    assert_eq!(faults_of_rooms(&climbing), ["src/model/x.rs: `model` may not use `crate::disk`"]);
    let foreign = sample("src/ops/x.rs", "//! X.\nuse axum::Router;\n");
    assert_eq!(faults_of_rooms(&foreign), ["src/ops/x.rs: `ops` may not use the crate `axum`"]);
    let unknown = sample("src/attic/x.rs", "//! X.\n");
    assert_eq!(faults_of_rooms(&unknown).len(), 1);
    assert!(
        faults_of_rooms(&sample("src/ops/x.rs", "// axum::Router is not for here\n")).is_empty()
    );
    let long = format!("//! X.\n{}", "fn f() {}\n".repeat(LINES_MAX));
    assert_eq!(faults_of_style(&sample("src/x.rs", &long)).len(), 1);
    let tested = format!("//! X.\n#[cfg(test)]\n{}", "fn f() {}\n".repeat(LINES_MAX));
    assert!(faults_of_style(&sample("src/x.rs", &tested)).is_empty());
    assert_eq!(faults_of_style(&sample("src/x.rs", "fn f() {}\n")).len(), 1);
}

#[test]
fn the_sources_are_found() {
    assert!(Path::new("src/lib.rs").exists() && sources("src").len() > 30);
}
