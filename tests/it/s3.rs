//! Two hosts over one bucket of a real S3 server. `tests/servers run -- COMMAND` starts the servers and
//! names them in the environment.

use crate::house::{Daemon, Job};

/// The server's URL with a prefix of this test's own; nothing when there is no server and none is
/// required.
fn server(variable: &str, test: &str) -> Option<String> {
    let Ok(url) = std::env::var(variable) else {
        let required = std::env::var("LARDER_TEST_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
        assert!(!required, "{variable} is not set: run the tests by tests/run");
        return None;
    };
    let nonce = fastrand::u64(..);
    let (place, options) = url.split_once('?').unwrap_or((&url, ""));
    Some(format!("{}/{test}-{nonce:x}?{options}", place.trim_end_matches('/')))
}

fn round_trip(url: &str) {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (on_a, on_b) = (Daemon::start(a.path(), url), Daemon::start(b.path(), url));
    let (job, other) = (Job::new(&on_a.url()), Job::new(&on_b.url()));
    // More than a part of a multipart upload, and not to be compressed.
    job.write("deps/large", crate::house::noise(20_000_000, 1));
    for at in 0..300 {
        job.write(
            &format!("deps/{}/{at}.js", at % 7),
            format!("export const x = {at};\n").repeat(20),
        );
    }
    job.step(&["save-cache", "--key", "v1/odd key?", "--path", "deps"]);
    job.step(&["flush", "--wait"]);
    other.step(&["restore-cache", "--key", "v1/"]);
    assert_eq!(fs_err::read(other.path("deps/large")).unwrap(), crate::house::noise(20_000_000, 1));
    assert_eq!(other.read("deps/3/3.js"), "export const x = 3;\n".repeat(20));
    // Both save the same key before either is flushed: one wins, both are green, both see the same.
    job.write("deps/who", "a");
    other.write("deps/who", "b");
    job.step(&["save-cache", "--key", "race", "--path", "deps"]);
    other.step(&["save-cache", "--key", "race", "--path", "deps"]);
    job.step(&["flush", "--wait"]);
    other.step(&["flush", "--wait"]);
    let (here, there) = (Job::new(&on_a.url()), Job::new(&on_b.url()));
    here.step(&["restore-cache", "--key", "race"]);
    there.step(&["restore-cache", "--key", "race"]);
    assert_eq!(here.read("deps/who"), there.read("deps/who"));
}

#[test]
fn a_full_server() {
    if let Some(url) = server("LARDER_TEST_S3", "it") {
        round_trip(&url);
    }
}

#[test]
fn a_server_without_conditional_creation() {
    if let Some(url) = server("LARDER_TEST_S3_LIMITED", "it") {
        round_trip(&url);
    }
}
