//! What a job sees of `save-cache` and `restore-cache`.

use crate::house::{Daemon, Job};

fn backend(folder: &tempfile::TempDir) -> String {
    format!("file://{}", folder.path().join("backend").display())
}

#[test]
fn a_tree_goes_from_one_host_to_another() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (on_a, on_b) =
        (Daemon::start(a.path(), &backend(&a)), Daemon::start(b.path(), &backend(&a)));
    let job = Job::new(&on_a.url())
        .env("CIRCLECI", "true")
        .env("CIRCLE_BUILD_NUM", "846")
        .env("LARDER_PROJECT", "p");
    job.write("package-lock.json", "hello\n");
    job.write("deps/a/index.js", "module.exports = 1");
    job.write("deps/b/large", crate::house::noise(6_000_000, 1));
    let key = "v1-{{ checksum \"package-lock.json\" }}";
    let told = job.step(&["save-cache", "--key", key, "--path", "deps"]);
    assert!(told.starts_with("Creating cache archive...\nStored Cache to v1-WJG1tSLV3whtD_CxEPvZ0hu0_HFjrzTQgoai6Eb2vgM=\n  * "), "{told}");
    assert!(told.contains("Total size uploaded: 5.7 MiB"), "{told}");
    job.step(&["flush", "--wait"]);

    let other = Job::new(&on_b.url()).env("LARDER_PROJECT", "p");
    let told = other.step(&["restore_cache", "--key", "v0-\nv1-"]);
    assert!(told.contains("Found a cache from build 846 at v1-WJG1"), "{told}");
    assert!(told.contains("Cached paths:\n  * deps\n"), "{told}");
    assert_eq!(other.read("deps/a/index.js"), "module.exports = 1");
    assert_eq!(
        fs_err::read(other.path("deps/b/large")).unwrap(),
        crate::house::noise(6_000_000, 1)
    );
}

#[test]
fn an_existing_key_is_skipped_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    job.write("x/file", "1");
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    fs_err::remove_dir_all(job.path("x")).unwrap();
    let told = job.step(&["save-cache", "--key", "k\n", "--path", "x"]);
    assert!(
        told.contains(
            "Skipping cache generation, cache already exists for key: k\nFound one created at 20"
        ),
        "{told}"
    );
    assert!(told.trim_end().ends_with("+0000 UTC"), "{told}");
}

#[test]
fn a_miss_is_told_for_each_key_and_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    let told = job.step(&["restore-cache", "--key", "a", "--key", "b"]);
    assert_eq!(told, "No cache is found for key: a\nNo cache is found for key: b\n");
    let ended = job.larder(&["restore-cache", "--key", "a", "--fail-on-miss", "--json"]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.out,
        "{\"hit\":false,\"key\":null,\"files\":0,\"size_bytes\":0,\"paths\":[]}\n"
    );
}

#[test]
fn a_daemon_that_is_down_is_a_warning_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(&format!("unix:{}", folder.path().join("nobody.sock").display()));
    job.write("x/file", "1");
    for step in [&["save-cache", "--key", "k", "--path", "x"][..], &["restore-cache", "--key", "k"]]
    {
        let ended = job.larder(step);
        assert_eq!(ended.code, 0, "{}", ended.told);
        assert!(
            ended.told.contains("Warning: ") && ended.told.contains("is `larder serve` running?"),
            "{}",
            ended.told
        );
        assert_eq!(job.larder(&[step, &["--strict"]].concat()).code, 1);
    }
}

#[test]
fn fact_5_a_checksum_of_a_missing_file_fails_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    let ended = job.larder(&["save-cache", "--key", "v1-{{ checksum \"nope\" }}", "--path", "x"]);
    assert_eq!(ended.code, 1);
    let path = job.path("nope");
    let expected = format!(
        "Error: error computing cache key: template: cacheKey:1:6: executing \"cacheKey\" at <checksum \"nope\">: error calling checksum: open {}: no such file or directory\n",
        fs_err::canonicalize(path.parent().unwrap()).unwrap().join("nope").display()
    );
    assert_eq!(ended.told, expected);
}

#[test]
fn fact_7_long_keys_are_refused_with_the_limit() {
    let job = Job::new("unix:/nonexistent.sock");
    let ended = job.larder(&["save-cache", "--key", &"a".repeat(901), "--path", "x"]);
    assert_eq!(ended.code, 1);
    assert!(ended.told.contains("at most 900"), "{}", ended.told);
}

#[test]
fn fact_8_wildcards_are_not_expanded() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    job.write("x/file", "1");
    let ended = job.larder(&["save-cache", "--key", "k", "--path", "x/*"]);
    assert_eq!(ended.code, 0);
    assert!(ended.told.contains("none of the paths to save exists"), "{}", ended.told);
}

#[test]
fn projects_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    job.write("x/file", "1");
    job.step(&["save-cache", "--key", "k", "--path", "x", "--project", "one"]);
    let told = job.step(&["restore-cache", "--key", "k", "--project", "two"]);
    assert!(told.contains("No cache is found"), "{told}");
}

#[test]
fn saving_again_sends_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    for at in 0..200 {
        job.write(&format!("x/{at}"), crate::house::noise(20_000, at));
    }
    job.step(&["save-cache", "--key", "k1", "--path", "x"]);
    job.write("x/7", crate::house::noise(20_000, 9999));
    let ended = job.larder(&["save-cache", "--key", "k2", "--path", "x", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["size_bytes"], 4_000_000);
    assert!(json["sent_bytes"].as_u64().unwrap() < 40_000, "{json}");
    let fresh = Job::new(&daemon.url());
    fresh.step(&["restore-cache", "--key", "k2"]);
    assert_eq!(fs_err::read(fresh.path("x/7")).unwrap(), crate::house::noise(20_000, 9999));
    assert_eq!(fs_err::read(fresh.path("x/8")).unwrap(), crate::house::noise(20_000, 8));
}
