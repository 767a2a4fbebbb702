//! The HTTP API without the agent.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::house::Daemon;

/// Sends bytes as they are and gives status line, head and body of the answer.
fn exchange(daemon: &Daemon, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(daemon.http.trim_start_matches("http://")).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

fn get(daemon: &Daemon, path: &str) -> (String, String) {
    exchange(
        daemon,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

fn post(daemon: &Daemon, path: &str, body: &str) -> (String, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(daemon, [head.as_bytes(), body.as_bytes()].concat().as_slice())
}

#[test]
fn the_api_describes_itself_and_every_route_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let (head, body) = get(&daemon, "/openapi.json");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 14, "{:?}", paths.keys());
    for (path, methods) in paths {
        let path = path.replace("{project}", "p").replace("{digest}", &"a".repeat(64));
        let (head, _) = if methods.get("get").is_some() {
            get(&daemon, &path)
        } else {
            post(&daemon, &path, "{")
        };
        assert!(!head.starts_with("HTTP/1.1 405"), "{path}: {head}");
    }
}

#[test]
fn health_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    assert!(get(&daemon, "/healthz").0.starts_with("HTTP/1.1 200"));
    assert!(get(&daemon, "/readyz").0.starts_with("HTTP/1.1 200"));
    post(&daemon, "/v1/projects/p/caches/restore", "{\"keys\":[\"k\"]}");
    let (_, metrics) = get(&daemon, "/metrics");
    for name in [
        "larder_backend_read_bytes_total",
        "larder_backend_written_bytes_total",
        "larder_cache_hits_total 0",
        "larder_cache_misses_total 1",
        "larder_disk_bytes",
        "larder_outbox_entries",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
}

#[test]
fn what_makes_no_sense_is_a_problem_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let cases = [
        (post(&daemon, "/v1/projects/../caches/find", "{}"), "400"),
        (post(&daemon, "/v1/projects/a%2Fb/caches/find", "{\"key\":\"k\"}"), "400"),
        (post(&daemon, "/v1/projects/p/caches/find", "{\"key\":\"\"}"), "400"),
        (post(&daemon, "/v1/projects/p/caches/find", "not json"), "400"),
        (post(&daemon, "/v1/projects/p/caches/find", &" ".repeat(9 << 20)), "413"),
        (get(&daemon, "/v1/projects/p/packs/xyz"), "400"),
        (get(&daemon, &format!("/v1/projects/p/packs/{}", "0".repeat(64))), "404"),
        (get(&daemon, "/nowhere"), "404"),
        (get(&daemon, "/v1/projects/p/caches/find"), "405"),
    ];
    for ((head, body), status) in cases {
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {head} {body}");
        assert!(head.to_lowercase().contains("application/problem+json"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(problem["code"].is_string() && problem["detail"].is_string(), "{problem}");
    }
}

#[test]
fn a_head_without_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let flood = "X-Flood: y\r\n".repeat(200);
    let (head, _) =
        exchange(&daemon, format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{flood}\r\n").as_bytes());
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
}

#[test]
fn only_loopback_is_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Daemon::try_start(folder.path(), "memory:", "0.0.0.0:0").err().unwrap();
    assert!(log.contains("--listen") && log.contains("loopback"), "{log}");
}
