//! Caches and chunks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::error::Refusal;
use super::extract::{Asked, Named};
use crate::api::v1::{
    FindCache, FindChunks, FoundCache, KnownChunk, KnownChunks, KnownPack, RestoreCache, SaveCache,
    SavedCache,
};
use crate::model::{Key, KeyPrefix, Project, Scope};
use crate::ops::{Found, NewCache};

/// More keys in one restore are refused; CircleCI's users write a handful.
const KEYS_MAX: usize = 100;

/// Is there a cache by exactly this key?
#[utoipa::path(post, path = "/v1/projects/{project}/caches/find", params(("project" = String, Path)),
    request_body = FindCache, responses((status = 200, body = FoundCache), (status = "default", body = crate::api::Problem)))]
pub(super) async fn find(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    Asked(asked): Asked<FindCache>,
) -> Result<Json<FoundCache>, Refusal> {
    let key: Key = asked.key.parse().map_err(Refusal::invalid)?;
    let found = state.larder.find_cache(&project, &Scope::shared(), &key).await?;
    Ok(Json(told(found)))
}

/// Which cache do these keys name? Its packs start on their way to the host.
#[utoipa::path(post, path = "/v1/projects/{project}/caches/restore", params(("project" = String, Path)),
    request_body = RestoreCache, responses((status = 200, body = FoundCache), (status = "default", body = crate::api::Problem)))]
pub(super) async fn restore(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    Asked(asked): Asked<RestoreCache>,
) -> Result<Json<FoundCache>, Refusal> {
    if asked.keys.len() > KEYS_MAX {
        return Err(Refusal::invalid(format!("at most {KEYS_MAX} keys can be tried at once")));
    }
    let keys = asked.keys.iter().map(|key| key.parse().map_err(Refusal::invalid));
    let keys: Vec<KeyPrefix> = keys.collect::<Result<_, _>>()?;
    let found = state.larder.restore_cache(&project, &Scope::shared(), &keys).await?;
    Ok(Json(told(found)))
}

/// Give a stored tree its key.
#[utoipa::path(post, path = "/v1/projects/{project}/caches/save", params(("project" = String, Path)),
    request_body = SaveCache, responses((status = 200, description = "the key was taken", body = SavedCache),
    (status = 201, description = "saved", body = SavedCache), (status = "default", body = crate::api::Problem)))]
pub(super) async fn save(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    Asked(asked): Asked<SaveCache>,
) -> Result<(StatusCode, Json<SavedCache>), Refusal> {
    let SaveCache { key, manifest, size_bytes, files, paths, provenance } = asked;
    let key = key.parse().map_err(Refusal::invalid)?;
    let new = NewCache { key, manifest, size_bytes, files, paths, provenance };
    let (stored, entry) = state.larder.save_cache(&project, &Scope::shared(), new).await?;
    let status = if stored { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(SavedCache { stored, entry })))
}

/// Which of these chunks has the project saved lately?
#[utoipa::path(post, path = "/v1/projects/{project}/chunks/find", params(("project" = String, Path)),
    request_body = FindChunks, responses((status = 200, body = KnownChunks), (status = "default", body = crate::api::Problem)))]
pub(super) async fn find_chunks(
    State(state): State<super::State>,
    Named(project): Named<Project>,
    Asked(asked): Asked<FindChunks>,
) -> Result<Json<KnownChunks>, Refusal> {
    if asked.digests.len() > FindChunks::DIGESTS_MAX {
        let max = FindChunks::DIGESTS_MAX;
        return Err(Refusal::invalid(format!("at most {max} digests can be asked for at once")));
    }
    let known = state.larder.find_chunks(&project, &Scope::shared(), &asked.digests).await?;
    let packs = known.packs.iter().map(|pack| KnownPack {
        digest: pack.digest,
        data_bytes: pack.data_bytes,
        chunks: pack.chunks,
    });
    let chunks = known.chunks.iter().map(|chunk| KnownChunk {
        wanted: chunk.wanted,
        pack: chunk.pack,
        chunk: chunk.chunk,
    });
    Ok(Json(KnownChunks { packs: packs.collect(), chunks: chunks.collect() }))
}

fn told(found: Found) -> FoundCache {
    FoundCache { entry: found.entry, warnings: found.warnings }
}
