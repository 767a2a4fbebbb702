//! The contract of [`Backend`] as tests, which every backend and every layer passes.
//!
//! A backend joins with one line and a function that opens it:
//!
//! ```ignore
//! fn open() -> Subject { Subject::new(Arc::new(Memory::new())) }
//! larder_backends::conformance!(memory, open);
//! ```
//!
//! which makes a test of each case: `memory::create_refuses_what_exists`. A case works in a folder of
//! its own, so the storage may be shared and need not be empty. `open` may return an `Option`: `None`
//! when there is no storage to test, after having said why.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a failed case panics")]

mod list;
mod race;
mod read;
mod write;

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

pub use self::list::*;
pub use self::race::*;
pub use self::read::*;
pub use self::write::*;
use crate::{Backend, BackendExt as _, Body, ObjectMeta, ObjectPath, PutMode};

/// All cases: the one place where one is added. Calls `$callback!` with what it was given and their names.
#[macro_export]
macro_rules! for_each_case {
    ($callback:path, $($given:tt)*) => {
        $callback! { ($($given)*)
            // write.rs
            sizes_around_a_part_survive
            a_body_of_unknown_length_survives
            create_refuses_what_exists
            overwrite_is_visible_at_once
            a_failing_body_stores_nothing
            a_body_of_another_length_than_announced_stores_nothing
            a_dropped_put_stores_nothing
            a_failed_overwrite_leaves_the_old
            odd_characters_survive
            long_segments_survive
            put_tells_what_head_tells
            // read.rs
            ranges_are_clamped
            ranges_reach_across_parts
            absent_is_not_found
            a_folder_is_no_object
            get_bytes_keeps_its_limit
            delete_removes_and_does_not_mind_the_absent
            delete_takes_thousands
            // list.rs
            list_is_sorted_and_resumes_after
            list_of_thousands_is_whole
            a_prefix_may_end_anywhere
            list_of_nothing_is_empty
            // race.rs
            readers_never_see_a_part
            a_reader_keeps_its_object_while_it_is_replaced
            features_tell_the_truth
            one_of_many_creators_wins
        }
    };
}

/// A module of tests, one for each case: `conformance!(name, open)`.
#[macro_export]
macro_rules! conformance {
    ($module:ident, $open:path) => {
        $crate::for_each_case!($crate::conformance_tests, $module, $open);
    };
}

/// What [`conformance!`] makes of the list; not for direct use.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    (($module:ident, $open:path) $($case:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let subject: Option<$crate::conformance::Subject> = $open().into();
                    if let Some(subject) = subject {
                        $crate::conformance::$case(subject).await;
                    }
                }
            )*
        }
    };
}

/// A backend under test.
#[derive(Debug)]
pub struct Subject {
    backend: Arc<dyn Backend>,
    root: String,
    part_bytes: usize,
    _kept: Option<Box<dyn Any + Send>>,
}

impl Subject {
    /// `backend`, in a folder of its own.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let root = format!("conformance-{:016x}", fastrand::u64(..));
        Self { backend, root, part_bytes: 1 << 20, _kept: None }
    }

    /// Keeps `thing` (a temporary folder, say) until the case is over.
    #[must_use]
    pub fn keeping(self, thing: impl Any + Send) -> Self {
        Self { _kept: Some(Box::new(thing)), ..self }
    }

    /// The size at which the backend begins to cut bodies into parts; 1 MiB unless told.
    #[must_use]
    pub fn with_part_bytes(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    fn path(&self, name: &str) -> ObjectPath {
        ObjectPath::parse(format!("{}/{name}", self.root)).unwrap()
    }

    async fn create(&self, name: &str, body: impl Into<Body>) -> ObjectMeta {
        self.backend.put(&self.path(name), body.into(), PutMode::Create).await.unwrap()
    }

    async fn bytes(&self, name: &str) -> Bytes {
        self.backend.get_bytes(&self.path(name), u64::MAX).await.unwrap()
    }

    async fn assert_absent(&self, name: &str) {
        let head = self.backend.head(&self.path(name)).await;
        assert!(head.as_ref().is_err_and(crate::Error::is_not_found), "{head:?}");
        assert_eq!(self.names("").await, Vec::<String>::new());
    }

    /// Names under the case's folder that start with `prefix`, as they come.
    async fn names(&self, prefix: &str) -> Vec<String> {
        self.names_after(prefix, None).await
    }

    async fn names_after(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let prefix = format!("{}/{prefix}", self.root);
        let after = after.map(|name| self.path(name));
        let own = self.root.len() + 1;
        let names = self.backend.list(&prefix, after.as_ref());
        let names = names.map_ok(|meta| meta.path.as_str()[own..].to_owned());
        names.try_collect().await.unwrap()
    }

    /// Puts many at once, as a list needs them.
    async fn create_all(&self, names: impl IntoIterator<Item = String>) {
        let puts = futures_util::stream::iter(names)
            .map(|name| async move { self.create(&name, name.clone()).await })
            .buffer_unordered(32);
        puts.for_each(|_| async {}).await;
    }
}

/// Bytes that no part of which looks like another: each eight hold their own place.
fn pattern(len: usize) -> Bytes {
    (0..len.div_ceil(8) as u64).flat_map(u64::to_le_bytes).take(len).collect()
}
