//! The HTTP API without the agent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::house::{Daemon, Job, blobs, noise};

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
fn a_pack_is_handed_over_open_to_callers_on_the_unix_socket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), "memory:");
    let job = Job::new(&daemon.url());
    job.write("x/file", noise(100_000, 7));
    job.step(&["save-cache", "--key", "k", "--path", "x"]);
    let mut found = 0;
    for blob in blobs(folder.path()) {
        let digest = blob.file_name().unwrap().to_str().unwrap();
        let path = format!("/v1/projects/local/packs/{digest}/descriptor");
        let head = "Host: x\r\nConnection: upgrade\r\nUpgrade: larder-descriptor\r\n\r\n";
        let (refused, _) = exchange(
            &daemon,
            format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{head}").as_bytes(),
        );
        assert!(refused.starts_with("HTTP/1.1 426"), "{refused}");
        let strangers = path.replace("local", "strangers");
        for (path, status) in [(&path, "101"), (&strangers, "404")] {
            let mut stream = UnixStream::connect(daemon.url().trim_start_matches("unix:")).unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}").as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            if status == "101" {
                stream.write_all(&[1]).unwrap();
                let mut file = fs_err::File::from_parts(descriptor(&stream).into(), &blob);
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes, fs_err::read(&blob).unwrap());
                assert!(file.write_all(b"x").is_err(), "it is for reading only");
                found += 1;
            }
        }
    }
    assert!(found >= 2, "a pack and a manifest at least");
}

fn descriptor(stream: &UnixStream) -> std::os::fd::OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let slices = &mut [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(stream, slices, &mut message, RecvFlags::empty()).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = message.drain().next() else {
        panic!("no descriptor came")
    };
    descriptors.next().unwrap()
}

#[test]
fn only_loopback_is_listened_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Daemon::try_start(folder.path(), "memory:", "0.0.0.0:0").err().unwrap();
    assert!(log.contains("--listen") && log.contains("loopback"), "{log}");
}
