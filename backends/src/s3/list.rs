//! Listing, a page of a thousand at a time.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::error::{failed, odd_answer};
use super::{S3, created};
use crate::{ObjectMeta, ObjectPath, Operation, Result};

/// Where a listing stands.
enum Next {
    First,
    Token(String),
    End,
}

/// Everything that starts with `prefix`, after `after`.
pub(super) fn list(
    s3: S3,
    prefix: &str,
    after: Option<&ObjectPath>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = s3.stored(prefix);
    let after = after.map(|path| s3.stored(path.as_str()));
    // Some servers insist that `start-after` starts with the prefix; what does not is before or after all.
    let (after, first) = match after {
        Some(after) if after.starts_with(&prefix) => (Some(after), Next::First),
        Some(after) if after > prefix => (None, Next::End),
        _ => (None, Next::First),
    };
    if s3.shared.config.endpoint.is_some() && matches!(first, Next::First) {
        return stream::once(gather(s3, prefix, after)).try_flatten().boxed();
    }
    let pages = stream::unfold(first, move |next| {
        let (s3, prefix, after) = (s3.clone(), prefix.clone(), after.clone());
        async move {
            if matches!(next, Next::End) {
                return None;
            }
            Some(match page(&s3, &prefix, after.as_deref(), &next).await {
                Ok((metas, next)) => (metas.into_iter().map(Ok).collect(), next),
                Err(error) => (vec![Err(error)], Next::End),
            })
        }
    });
    pages.map(stream::iter).flatten().boxed()
}

/// All at once, sorted here: only AWS is trusted with the order. SeaweedFS, for one, lists folder by
/// folder (`a/b` before `a-b`), and what comes after something in that order is another matter as well.
async fn gather(
    s3: S3,
    prefix: String,
    after: Option<String>,
) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
    let (mut all, mut next) = (Vec::new(), Next::First);
    while !matches!(next, Next::End) {
        let (metas, following) = page(&s3, &prefix, None, &next).await?;
        all.extend(metas);
        next = following;
    }
    let after = after.and_then(|after| s3.path_of(&after));
    all.retain(|meta| after.as_ref().is_none_or(|after| meta.path > *after));
    all.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(stream::iter(all.into_iter().map(Ok)).boxed())
}

async fn page(
    s3: &S3,
    prefix: &str,
    after: Option<&str>,
    next: &Next,
) -> Result<(Vec<ObjectMeta>, Next)> {
    let mut request = s3.client().await.list_objects_v2().bucket(s3.bucket()).prefix(prefix);
    match next {
        Next::Token(token) => request = request.continuation_token(token),
        _ => request = request.set_start_after(after.map(str::to_owned)),
    }
    let answer = request.send().await;
    let answer = answer.map_err(|error| failed(Operation::List, prefix, s3.bucket(), error))?;
    let mut metas = Vec::with_capacity(answer.contents().len());
    for object in answer.contents() {
        let key = object.key().unwrap_or_default();
        let Some(path) = s3.path_of(key) else {
            tracing::debug!(key, "this is no object of ours");
            continue;
        };
        let known = object.size().and_then(|size| u64::try_from(size).ok());
        let known = known.zip(created(object.last_modified()));
        let (size_bytes, created) = known
            .ok_or_else(|| odd_answer(Operation::List, prefix, "an object without size or time"))?;
        metas.push(ObjectMeta { path, size_bytes, created });
    }
    let next = match answer.next_continuation_token() {
        Some(token) if answer.is_truncated() == Some(true) => Next::Token(token.to_owned()),
        _ if answer.is_truncated() == Some(true) => {
            return Err(odd_answer(
                Operation::List,
                prefix,
                "a page without the token of the next",
            ));
        }
        _ => Next::End,
    };
    Ok((metas, next))
}
