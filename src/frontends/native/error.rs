//! From kinds of failure to status codes: the only place that does it.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::{Problem, ProblemCode};
use crate::ops::{Error, ErrorKind};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { status, problem: Problem { code, detail: detail.into() } }
    }

    pub(super) fn invalid(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ProblemCode::Invalid, detail.to_string())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, ProblemCode::Invalid),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, ProblemCode::NotFound),
            ErrorKind::Stale => (StatusCode::CONFLICT, ProblemCode::Stale),
            ErrorKind::Denied => (StatusCode::BAD_GATEWAY, ProblemCode::Denied),
            ErrorKind::Full => (StatusCode::INSUFFICIENT_STORAGE, ProblemCode::Full),
            ErrorKind::Corrupt => (StatusCode::BAD_GATEWAY, ProblemCode::Corrupt),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, ProblemCode::Unavailable),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, ProblemCode::Internal),
        };
        let detail = error.chain();
        if status.is_server_error() {
            tracing::warn!(error = detail, "a request failed");
        }
        Self::new(status, code, detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

pub(super) async fn no_route(uri: Uri) -> Refusal {
    let detail = format!("there is nothing at {}; see /openapi.json", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, ProblemCode::NotFound, detail)
}

pub(super) async fn no_method(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{} does not take {method}; see /openapi.json", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ProblemCode::Invalid, detail)
}

pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let detail = "the daemon met a fault of its own; its log has the details";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, ProblemCode::Internal, detail).into_response()
}
