//! Listing in byte order of the paths, reading one folder at a time, and only those that matter.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{TEMPORARY, blocking, failed, is_absent, meta_of};
use crate::{ObjectMeta, ObjectPath, Operation, Result, names};

/// How many objects are looked at in one go.
const BATCH_OBJECTS: usize = 256;

/// What is still to be visited, the next at the end.
struct Walk {
    root: PathBuf,
    prefix: String,
    after: Option<String>,
    stack: Vec<Place>,
}

/// Stored names relative to the root; a folder's ends with `/`, so that it sorts where its
/// contents do. The root's is empty.
enum Place {
    Folder(String),
    File(String),
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Self::Folder(name) | Self::File(name) => name,
        }
    }
}

/// Everything under `root` that starts with `prefix`, after `after`.
pub(super) fn list(
    root: PathBuf,
    prefix: &str,
    after: Option<&ObjectPath>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = names::stored(prefix);
    // No folder outside the one that holds the last whole segment of the prefix can matter.
    let start = prefix.rfind('/').map_or(String::new(), |at| prefix[..=at].to_owned());
    let shown = prefix.clone();
    let stack = vec![Place::Folder(start)];
    let walk = Walk { root, prefix, after: after.map(|path| names::stored(path.as_str())), stack };
    let batches = stream::unfold(Some(walk), move |walk| {
        let shown = shown.clone();
        async move {
            let mut walk = walk?;
            let batch = blocking(move || Ok((walk.batch(), walk))).await;
            let failed = |error| vec![Err(failed(Operation::List, &shown, error))];
            Some(match batch {
                Ok((Ok(batch), walk)) => {
                    let walk = (!walk.stack.is_empty()).then_some(walk);
                    (batch.into_iter().map(Ok).collect(), walk)
                }
                Ok((Err(error), _)) | Err(error) => (failed(error), None),
            })
        }
    });
    batches.map(stream::iter).flatten().boxed()
}

impl Walk {
    fn batch(&mut self) -> io::Result<Vec<ObjectMeta>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_OBJECTS
            && let Some(place) = self.stack.pop()
        {
            match place {
                Place::Folder(name) => self.enter(&name)?,
                Place::File(name) => batch.extend(self.look(&name)?),
            }
        }
        Ok(batch)
    }

    fn enter(&mut self, folder: &str) -> io::Result<()> {
        let entries = match fs_err::read_dir(self.root.join(folder)) {
            Err(error) if is_absent(&error) => return Ok(()),
            entries => entries?,
        };
        let first = self.stack.len();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(|name| format!("{folder}{name}"))
            else {
                continue; // nothing of ours
            };
            let kind = entry.file_type()?;
            let place = match name {
                name if name == TEMPORARY => continue,
                name if kind.is_dir() => Place::Folder(name + "/"),
                name => Place::File(name),
            };
            if self.matters(&place) {
                self.stack.push(place);
            }
        }
        self.stack[first..].sort_unstable_by(|a, b| b.name().cmp(a.name()));
        Ok(())
    }

    fn matters(&self, place: &Place) -> bool {
        let name = place.name();
        let after = self.after.as_deref().unwrap_or_default();
        match place {
            Place::File(_) => name.starts_with(&self.prefix) && name > after,
            Place::Folder(_) => {
                (name.starts_with(&self.prefix) || self.prefix.starts_with(name))
                    && (name > after || after.starts_with(name))
            }
        }
    }

    /// `None` when it was deleted since, or when no object has this name.
    fn look(&self, name: &str) -> io::Result<Option<ObjectMeta>> {
        let path = names::original(name).and_then(|path| ObjectPath::parse(path).ok());
        let Some(path) = path else {
            tracing::debug!(name, "this file is no object");
            return Ok(None);
        };
        match fs_err::metadata(Path::new(&self.root).join(name)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(meta_of(&path, &metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
