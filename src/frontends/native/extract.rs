//! Parts of requests, parsed; what does not parse is refused as a problem that says why.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::Refusal;
use crate::api::ProblemCode;

/// The parameters of the path.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value))
            .map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| too_long(&rejection))?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Self).map_err(|error| Refusal::invalid(format!("the request's body: {error}")))
    }
}

fn too_long(rejection: &BytesRejection) -> Refusal {
    let status = rejection.status();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST => ProblemCode::Invalid,
        _ => ProblemCode::Internal,
    };
    Refusal::new(status, code, rejection.body_text())
}
