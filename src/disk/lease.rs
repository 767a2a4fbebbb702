//! Blobs in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::Digest;

/// How many leases each blob has.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<HashMap<Digest, usize>>>);

/// While it lives, its blobs are not evicted.
#[derive(Debug)]
pub struct Lease {
    digests: Vec<Digest>,
    leases: Leases,
}

impl Leases {
    pub(super) fn take(&self, digests: impl IntoIterator<Item = Digest>) -> Lease {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut counts = self.lock();
        for digest in &digests {
            *counts.entry(*digest).or_default() += 1;
        }
        drop(counts);
        Lease { digests, leases: self.clone() }
    }

    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.lock().contains_key(digest)
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().expect("no panics while leases are held")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut counts = self.leases.lock();
        for digest in &self.digests {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(digest);
                }
            }
        }
    }
}
