//! S3's bad days: answers that no real server gives on demand, from one that says what it is told to.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use larder_backends::layer::{Policy, Retry};
use larder_backends::s3::{S3, Tuning};
use larder_backends::{
    Backend, BackendExt as _, Body, ByteStream, Config, Error, ErrorKind, ObjectPath, PutMode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const DATE: &str = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: \"e\"";

const KEYS: Option<(&str, &str)> = Some(("id", "secret"));

/// Answers each request with the next of its texts and closes the connection; an empty text resets it.
struct Scripted {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    all_said: JoinHandle<()>,
}

impl Scripted {
    async fn start(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("s3://bucket?endpoint=http://127.0.0.1:{port}");
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (log, mut answers) = (Arc::clone(&seen), VecDeque::from(answers.to_vec()));
        let all_said = tokio::spawn(async move {
            while let Some(answer) = answers.pop_front() {
                let (request, mut stream) = loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    if let Some(request) = read_request(&mut stream).await {
                        break (request, stream);
                    }
                };
                log.lock().unwrap().push(request);
                if answer.is_empty() {
                    stream.set_zero_linger().unwrap();
                } else {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.shutdown().await.ok();
                }
            }
        });
        Self { url, seen, all_said }
    }

    fn open(&self, attempts_max: u32) -> S3 {
        let pause_first = Duration::from_millis(1);
        let tuning = Tuning { attempts_max, pause_first, ..Tuning::default() };
        Config::parse(&self.url).unwrap().open_s3_with(tuning, KEYS).unwrap()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// The first line; headers and body are read, so that the client is not cut off while it sends. `None`
/// when it gives up before it has sent all.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let head = loop {
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).await.ok().filter(|len| *len > 0)?;
        text.extend_from_slice(&piece[..len]);
        if let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let lines = String::from_utf8(text[..head].to_vec()).unwrap().to_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    let mut rest = vec![0; (head + length).saturating_sub(text.len())];
    stream.read_exact(&mut rest).await.ok()?;
    lines.lines().next().map(str::to_owned)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    with_length(status, headers, body, body.len())
}

fn with_length(status: &str, headers: &str, body: &str, length: usize) -> String {
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn xml(status: &str, code: &str) -> String {
    answer(status, "Content-Type: application/xml", &format!("<Error><Code>{code}</Code></Error>"))
}

fn found() -> String {
    answer("200 OK", DATE, "hello")
}

fn path() -> ObjectPath {
    ObjectPath::parse("a").unwrap()
}

async fn get_error(answers: &[String]) -> Error {
    let server = Scripted::start(answers).await;
    let error = server.open(1).get_bytes(&path(), 100).await.unwrap_err();
    assert_eq!(server.requests(), answers.len());
    error
}

#[tokio::test]
async fn busy_and_broken_are_unavailable_and_tried_again() {
    let busy = [xml("503 Slow Down", "SlowDown"), xml("500 Oops", "InternalError"), String::new()];
    for bad in busy {
        let error = get_error(std::slice::from_ref(&bad)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());

        let server = Scripted::start(&[bad.clone(), bad, found()]).await;
        assert_eq!(server.open(3).get_bytes(&path(), 100).await.unwrap(), "hello");
        assert_eq!(server.requests(), 3);
    }
}

#[tokio::test]
async fn the_retry_layer_recovers_where_the_sdk_does_not_try() {
    let server = Scripted::start(&[xml("503 Slow Down", "SlowDown"), found()]).await;
    let policy = Policy { pause_first: Duration::ZERO, ..Policy::default() };
    let retry = Retry::new(Arc::new(server.open(1)), policy);
    assert_eq!(retry.get_bytes(&path(), 100).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_put_is_sent_again() {
    let stored = answer("200 OK", "ETag: \"e\"", "");
    let server =
        Scripted::start(&[xml("503 Slow Down", "SlowDown"), String::new(), stored, found()]).await;
    // The answer to HEAD has no body, whatever its length says.
    let put = server.open(3).put(&path(), b"hello"[..].as_ref().into(), PutMode::Overwrite).await;
    assert_eq!(put.unwrap().size_bytes, 5);
    let lines = server.seen.lock().unwrap().clone();
    assert!(lines[..3].iter().all(|line| line.starts_with("put /bucket/a")), "{lines:?}");
}

#[tokio::test]
async fn a_short_body_is_an_error_and_is_resumed() {
    let short = with_length("200 OK", DATE, "hel", 5);
    let error = get_error(std::slice::from_ref(&short)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());

    let rest = format!("{DATE}\r\nContent-Range: bytes 3-4/5");
    let server = Scripted::start(&[short, answer("206 Partial Content", &rest, "lo")]).await;
    let policy = Policy { pause_first: Duration::ZERO, ..Policy::resume_only() };
    let retry = Retry::new(Arc::new(server.open(1)), policy);
    assert_eq!(retry.get_bytes(&path(), 100).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_an_error() {
    let other = format!("{DATE}\r\nContent-Range: bytes 0-4/10");
    let server = Scripted::start(&[answer("206 Partial Content", &other, "hello")]).await;
    let error = server.open(1).get(&path(), 5..10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
}

#[tokio::test]
async fn denied_says_what_to_do_and_is_not_tried_again() {
    for (code, remedy) in [
        ("AccessDenied", "s3:ListBucket"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("ExpiredToken", "AWS_SESSION_TOKEN"),
    ] {
        let server = Scripted::start(&[xml("403 Forbidden", code), found()]).await;
        let error = server.open(3).get_bytes(&path(), 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.chain().contains(remedy), "{}", error.chain());
        assert!(error.chain().contains(code), "{}", error.chain());
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn only_an_absent_object_is_not_found() {
    let error = get_error(&[xml("404 Not Found", "NoSuchKey")]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = get_error(&[xml("404 Not Found", "NoSuchBucket")]).await;
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.chain().contains("there is no bucket `bucket`"), "{}", error.chain());
}

#[tokio::test]
async fn a_web_page_is_neither_an_object_nor_an_absence() {
    let page = "Content-Type: text/html";
    for status in ["404 Not Found", "200 OK", "403 Forbidden"] {
        let error = get_error(&[answer(status, page, "<html>Welcome to the hotel</html>")]).await;
        assert_ne!(error.kind(), ErrorKind::NotFound, "{status}");
        assert!(error.chain().contains("check `endpoint`"), "{status}: {}", error.chain());
    }
    let server = Scripted::start(&[answer("200 OK", page, "<html>Welcome</html>")]).await;
    let listed: Result<Vec<_>, _> = server.open(1).list("", None).try_collect().await;
    assert!(listed.is_err(), "a page is no listing: {listed:?}");
}

#[tokio::test]
async fn another_region_is_named() {
    let headers = "x-amz-bucket-region: eu-west-1\r\nContent-Type: application/xml";
    let body = "<Error><Code>PermanentRedirect</Code></Error>";
    let error = get_error(&[answer("301 Moved Permanently", headers, body)]).await;
    assert!(error.chain().contains("add `region=eu-west-1`"), "{}", error.chain());
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_opening_does_not_mind() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("s3://bucket?endpoint=http://127.0.0.1:{port}");
    let tuning = Tuning { attempts_max: 1, ..Tuning::default() };
    let s3 = Config::parse(&url).unwrap().open_s3_with(tuning, KEYS).unwrap();
    assert_eq!(s3.head(&path()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(s3.features().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

fn upload_begun() -> String {
    let id =
        "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>";
    answer("200 OK", "Content-Type: application/xml", id)
}

/// A part and a little, which makes it an upload of several.
fn more_than_a_part() -> ByteStream {
    stream::iter([Ok(Bytes::from(vec![0; (8 << 20) + 1]))]).boxed()
}

#[tokio::test]
async fn an_upload_whose_body_fails_is_aborted() {
    let server = Scripted::start(&[upload_begun(), answer("204 No Content", "", "")]).await;
    let broken = Err(Error::bare(ErrorKind::Unavailable, larder_backends::Operation::Get, "b"));
    let body = Body::stream(more_than_a_part().chain(stream::iter([broken])), None);
    let error = server.open(1).put(&path(), body, PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
    let last = server.seen.lock().unwrap().last().unwrap().clone();
    assert!(last.starts_with("delete /bucket/a?") && last.contains("uploadid=id"), "{last}");
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_aborted() {
    let server = Scripted::start(&[upload_begun(), answer("204 No Content", "", "")]).await;
    let (asked, waiting) = oneshot::channel();
    let end = async move {
        asked.send(()).unwrap();
        std::future::pending().await
    };
    // The end is asked for when the upload has begun and its first part is under way.
    let body = Body::stream(more_than_a_part().chain(end.into_stream()), None);
    let (s3, path) = (server.open(1), path());
    let mut put = s3.put(&path, body, PutMode::Overwrite);
    let asked = async {
        tokio::select! {
            put = &mut put => panic!("the body never ends, but: {put:?}"),
            asked = waiting => asked.unwrap(),
        }
    };
    asked.await;
    drop(put);
    let aborted = tokio::time::timeout(Duration::from_secs(20), server.all_said).await;
    aborted.expect("nobody aborted the upload").unwrap();
    let last = server.seen.lock().unwrap().last().unwrap().clone();
    assert!(last.starts_with("delete /bucket/a?") && last.contains("uploadid=id"), "{last}");
}
