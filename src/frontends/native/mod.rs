//! Larder's own HTTP API, under `/v1`, for the agent.

mod blobs;
mod caches;
mod descriptor;
mod error;
mod extract;
mod host;
mod openapi;
mod range;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::ops::Larder;

pub use openapi::document;

/// JSON that asks for more is refused.
const JSON_BYTES_MAX: usize = 8 << 20;

/// What the handlers need.
#[derive(Clone)]
pub struct State {
    /// The operations.
    pub larder: Larder,
    /// Prints the metrics of this daemon.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// When the daemon started.
    pub started: Instant,
    /// The data folder, for people.
    pub data: String,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("data", &self.data).finish_non_exhaustive()
    }
}

/// All routes.
pub fn router(state: State) -> Router {
    let project = Router::new()
        .route("/caches/find", post(caches::find))
        .route("/caches/restore", post(caches::restore))
        .route("/caches/save", post(caches::save))
        .route("/chunks/find", post(caches::find_chunks))
        .route("/packs", post(blobs::store_pack))
        .route("/packs/{digest}", get(blobs::read_pack))
        .route("/packs/{digest}/descriptor", get(descriptor::hand_over_pack))
        .route("/packs/{digest}/verify", post(blobs::verify_pack))
        .route("/manifests", post(blobs::store_manifest))
        .route("/manifests/{digest}", get(blobs::read_manifest));
    Router::new()
        .nest("/v1/projects/{project}", project)
        .route("/v1/status", get(host::status))
        .route("/v1/flush", post(host::flush))
        .route("/healthz", get(host::healthz))
        .route("/readyz", get(host::readyz))
        .route("/metrics", get(host::metrics))
        .route("/openapi.json", get(openapi::serve))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::no_method)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(state)
}
