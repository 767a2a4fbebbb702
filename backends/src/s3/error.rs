//! What S3's answers mean.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{Error, ErrorKind, Operation};

/// What can be done about it, before what the SDK says.
#[derive(Debug, thiserror::Error)]
#[error("{remedy}")]
struct Remedy {
    remedy: String,
    source: Box<dyn StdError + Send + Sync>,
}

/// The SDK's error texts name only the outermost fact; this one adds code, status and request.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Answer(String);

/// A failed request on `path` in `bucket`.
pub(super) fn failed<E>(
    operation: Operation,
    path: &str,
    bucket: &str,
    error: SdkError<E, HttpResponse>,
) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let header = |name| error.raw_response().and_then(|raw| raw.headers().get(name));
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let kind = match &error {
        SdkError::TimeoutError(_) => ErrorKind::Unavailable,
        SdkError::DispatchFailure(failure) if !failure.is_user() => {
            if is_about_credentials(&error) { ErrorKind::Denied } else { ErrorKind::Unavailable }
        }
        _ => kind_of(operation, status, code),
    };
    let region = header("x-amz-bucket-region").map(str::to_owned);
    let remedy = remedy(kind, status, code, region.as_deref(), bucket);
    let html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let remedy = if html {
        Some("a web page answered, not S3: check `endpoint` and any proxy in between".to_owned())
    } else {
        remedy
    };
    let source: Box<dyn StdError + Send + Sync> = match (error.as_service_error(), status) {
        (Some(service), Some(status)) => {
            let code = code.map_or(String::new(), |code| format!(" {code}"));
            let text = service.message().map_or(String::new(), |text| format!(": {text}"));
            Box::new(Answer(format!("S3 answered {status}{code}{text}")))
        }
        _ => Box::new(error),
    };
    match remedy {
        Some(remedy) => Error::new(kind, operation, path, Remedy { remedy, source }),
        None => Error::new(kind, operation, path, source),
    }
}

/// Codes of what may be otherwise in a moment, whatever their status is.
const PASSING: [&str; 9] = [
    "InternalError",
    "OperationAborted",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
];

fn kind_of(operation: Operation, status: Option<u16>, code: Option<&str>) -> ErrorKind {
    match (status, code) {
        (_, Some("NoSuchKey")) => ErrorKind::NotFound,
        // The answer to HEAD has no body, and so no code of its own.
        (Some(404), None | Some("NotFound")) if operation == Operation::Head => ErrorKind::NotFound,
        (Some(412), _) | (_, Some("PreconditionFailed")) => ErrorKind::AlreadyExists,
        (_, Some(code)) if PASSING.contains(&code) => ErrorKind::Unavailable,
        (Some(401 | 403), _) => ErrorKind::Denied,
        // A success that could not be understood is a proxy in between, or an answer cut short.
        (Some(200..=299 | 408 | 429 | 500 | 502..=599), _) => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

fn remedy(
    kind: ErrorKind,
    status: Option<u16>,
    code: Option<&str>,
    region: Option<&str>,
    bucket: &str,
) -> Option<String> {
    let text = match (code, status) {
        (Some("NoSuchBucket"), _) => {
            format!("there is no bucket `{bucket}`: create it, or correct the backend's URL")
        }
        (Some("RequestTimeTooSkewed"), _) => "set this host's clock".to_owned(),
        (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) => {
            "the credentials are wrong: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the \
             profile"
                .to_owned()
        }
        (Some("ExpiredToken" | "ExpiredTokenException"), _) => {
            "the credentials have expired: renew AWS_SESSION_TOKEN".to_owned()
        }
        (_, Some(301 | 307 | 400)) if region.is_some() => {
            let region = region.unwrap_or_default();
            format!("the bucket is in another region: add `region={region}` to the backend's URL")
        }
        _ if kind == ErrorKind::Denied && status.is_none() => {
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, \
             or an instance role"
                .to_owned()
        }
        _ if kind == ErrorKind::Denied => format!(
            "the credentials do not allow this: they need s3:GetObject, s3:PutObject, \
             s3:DeleteObject and s3:AbortMultipartUpload on the objects of `{bucket}`, and \
             s3:ListBucket on the bucket"
        ),
        _ => return None,
    };
    Some(text)
}

/// The SDK reports an exhausted credential chain like a broken connection.
fn is_about_credentials(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains("credentials") || error.to_string().contains("identity") {
            return true;
        }
        next = error.source();
    }
    false
}

/// An answer that S3 would not give.
pub(super) fn odd_answer(operation: Operation, path: &str, what: &str) -> Error {
    let remedy = "this is no answer of S3's: check `endpoint` and any proxy in between".to_owned();
    let source = Box::new(Answer(what.to_owned()));
    Error::new(ErrorKind::Unavailable, operation, path, Remedy { remedy, source })
}

/// Whether somebody else was changing the same object at the same moment.
pub(super) fn is_conflict<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|raw| raw.status().as_u16() == 409)
}

/// Whether the server does not know this kind of request at all.
pub(super) fn is_unsupported<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    match code {
        Some("NotImplemented" | "MissingContentMD5" | "InvalidRequest" | "MethodNotAllowed") => {
            true
        }
        Some("InvalidArgument" | "InvalidDigest" | "MalformedXML") => status == Some(400),
        _ => matches!(status, Some(405 | 501)),
    }
}
