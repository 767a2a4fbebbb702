//! The API's description, generated from the handlers and the wire types.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;

use super::{blobs, caches, descriptor, host};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Larder",
        description = "The daemon's API, for the agent. Reached over a unix socket or loopback."
    ),
    paths(
        caches::find,
        caches::restore,
        caches::save,
        caches::find_chunks,
        blobs::store_pack,
        blobs::read_pack,
        descriptor::hand_over_pack,
        blobs::verify_pack,
        blobs::store_manifest,
        blobs::read_manifest,
        host::status,
        host::flush,
        host::healthz,
        host::readyz,
        host::metrics,
        serve,
    )
)]
struct Description;

/// The document as JSON.
pub fn document() -> String {
    Description::openapi().to_json().expect("the description is plain data")
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, content_type = "application/json")))]
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
