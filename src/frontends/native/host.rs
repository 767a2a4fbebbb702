//! The daemon itself.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::error::Refusal;
use super::extract::Asked;
use crate::api::v1::{Flush, Outbox, Status};
use crate::ops::OutboxState;

/// Nobody waits longer in one request.
const FLUSH_WAIT_MAX: Duration = Duration::from_hours(1);

/// How the daemon is.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(state): State<super::State>) -> Json<Status> {
    let status = state.larder.status();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_secs: state.started.elapsed().as_secs(),
        data: state.data,
        backend: status.backend,
        blobs: status.disk.blobs,
        disk_bytes: status.disk.bytes,
        disk_max_bytes: status.disk.max_bytes,
        disk_reserved_bytes: status.disk.reserved_bytes,
        disk_free_bytes: status.disk.free_bytes,
        disk_min_free_bytes: status.disk.min_free_bytes,
        outbox: outbox(status.outbox),
        hits: status.hits,
        misses: status.misses,
        backend_read_bytes: status.backend_read_bytes,
        backend_written_bytes: status.backend_written_bytes,
    })
}

/// Wait for the outbox to be empty.
#[utoipa::path(post, path = "/v1/flush", request_body = Flush, responses((status = 200, body = Outbox)))]
pub(super) async fn flush(
    State(state): State<super::State>,
    Asked(asked): Asked<Flush>,
) -> Result<Json<Outbox>, Refusal> {
    let wait = Duration::from_secs(asked.wait_secs).min(FLUSH_WAIT_MAX);
    Ok(Json(outbox(state.larder.flush(wait).await)))
}

fn outbox(state: OutboxState) -> Outbox {
    Outbox { entries: state.entries, bytes: state.bytes, last_error: state.last_error }
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The daemon can serve jobs. It can without its backend, so only the disk counts.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String)))]
pub(super) async fn readyz() -> &'static str {
    "ready\n"
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(state): State<super::State>) -> impl IntoResponse {
    state.larder.refresh_metrics();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.render_metrics)())
}
