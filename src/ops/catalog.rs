//! What lies where in the backend, and which caches it has.

use futures_util::StreamExt;
use jiff::Timestamp;
use larder_backends::{Backend, ObjectMeta, ObjectPath};

use super::{Error, Result};
use crate::model::{Digest, Key, KeyPrefix, Project, Scope};

/// A look-up reads at most so many names; keys that share a longer list have no meaningful newest.
const LISTED_MAX: usize = 100_000;
/// An escaped key and this are followed by a claim's random digits.
const CLAIM: &str = "@.";

/// Which of the two kinds of named-by-digest objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// Chunks.
    Pack,
    /// The root of a tree.
    Manifest,
}

/// A cache entry that the backend has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: Key,
    pub(super) path: ObjectPath,
    pub(super) created: Timestamp,
}

pub(super) fn blob_path(project: &Project, kind: BlobKind, digest: &Digest) -> Result<ObjectPath> {
    let folder = match kind {
        BlobKind::Pack => "packs",
        BlobKind::Manifest => "manifests",
    };
    Ok(ObjectPath::parse(format!("v1/{project}/{folder}/{digest}"))?)
}

pub(super) fn caches(project: &Project, scope: &Scope) -> String {
    format!("v1/{project}/caches/{scope}/")
}

pub(super) fn entry_path(project: &Project, scope: &Scope, key: &Key) -> Result<ObjectPath> {
    Ok(ObjectPath::parse(caches(project, scope) + &key.escaped())?)
}

/// Where a save announces itself on storage that would let a second one overwrite it.
pub(super) fn claim_path(
    project: &Project,
    scope: &Scope,
    key: &Key,
    nonce: u64,
) -> Result<ObjectPath> {
    let name = format!("{}{}{CLAIM}{nonce:016x}", caches(project, scope), key.escaped());
    Ok(ObjectPath::parse(name)?)
}

/// The entries whose keys begin with `prefix`, each key once, newest first. Of several claims to a
/// key the earliest counts; all hosts decide alike.
pub(super) async fn list(
    backend: &dyn Backend,
    project: &Project,
    scope: &Scope,
    prefix: Option<&KeyPrefix>,
) -> Result<Vec<Listed>> {
    let folder = caches(project, scope);
    let escaped = prefix.map(KeyPrefix::escaped).unwrap_or_default();
    let mut objects = backend.list(&format!("{folder}{escaped}"), None).take(LISTED_MAX);
    let mut listed: Vec<Listed> = Vec::new();
    while let Some(object) = objects.next().await {
        let Some(found) = parse(&folder, object?) else { continue };
        match listed.iter_mut().rev().take_while(|other| other.key == found.key).next() {
            Some(other) if (other.created, &other.path) <= (found.created, &found.path) => {}
            Some(other) => *other = found,
            None => listed.push(found),
        }
    }
    listed.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.key.cmp(&a.key)));
    Ok(listed)
}

fn parse(folder: &str, object: ObjectMeta) -> Option<Listed> {
    let name = object.path.as_str().strip_prefix(folder)?;
    let (escaped, _) = name.split_once(CLAIM).unwrap_or((name, ""));
    match Key::from_escaped(escaped) {
        Ok(key) => Some(Listed { key, created: object.created, path: object.path }),
        Err(error) => {
            tracing::warn!(path = %object.path, %error, "not an entry; it is left alone");
            None
        }
    }
}

/// The object that holds exactly this key; nothing when the key is free.
pub(super) async fn find(
    backend: &dyn Backend,
    project: &Project,
    scope: &Scope,
    key: &Key,
) -> Result<Option<Listed>> {
    if backend.features().await?.conditional_create {
        let path = entry_path(project, scope, key)?;
        return match backend.head(&path).await {
            Ok(object) => Ok(Some(Listed { key: key.clone(), path, created: object.created })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    let prefix = key.as_str().parse().map_err(Error::invalid)?;
    let listed = list(backend, project, scope, Some(&prefix)).await?;
    Ok(listed.into_iter().find(|listed| listed.key == *key))
}

#[cfg(test)]
mod tests {
    use larder_backends::PutMode;
    use larder_backends::memory::Memory;

    use super::*;

    fn names() -> (Project, Scope) {
        (Project::local(), Scope::shared())
    }

    #[tokio::test]
    async fn the_earliest_claim_counts_and_foreign_names_do_not() {
        let backend = Memory::new();
        let (project, scope) = names();
        let key: Key = "v1/a b".parse().unwrap();
        let claims = [7, 3, 5].map(|nonce| claim_path(&project, &scope, &key, nonce).unwrap());
        for claim in &claims {
            backend.put(claim, b"{}".as_slice().into(), PutMode::Create).await.unwrap();
        }
        let odd = ObjectPath::parse(caches(&project, &scope) + "not escaped").unwrap();
        backend.put(&odd, b"{}".as_slice().into(), PutMode::Create).await.unwrap();
        let listed = list(&backend, &project, &scope, None).await.unwrap();
        assert_eq!(listed.len(), 1);
        let mut by_age = Vec::new();
        for claim in claims {
            by_age.push((backend.head(&claim).await.unwrap().created, claim));
        }
        assert_eq!(listed[0].path, by_age.into_iter().min().unwrap().1);
        assert_eq!(listed[0].key, key);
    }
}
