//! The daemon as the engine's depot.

use std::ops::Range;

use super::upload::PackUpload;
use super::{Client, local};
use crate::api::v1::{FindChunks, KnownChunks, VerifiedBlob};
use crate::model::{Digest, PackRef};
use crate::tree::{Depot, DepotError, Known, Upload};

impl Depot for Client {
    fn find_chunks(&self, digests: &[Digest]) -> Result<Vec<Option<Known>>, DepotError> {
        let mut known = vec![None; digests.len()];
        for (round, digests) in digests.chunks(FindChunks::DIGESTS_MAX).enumerate() {
            let asked = FindChunks { digests: digests.to_vec() };
            let answer: KnownChunks = self.post(&self.path("chunks/find"), &asked)?;
            for chunk in answer.chunks {
                let pack = answer.packs.get(chunk.pack as usize);
                let place = known.get_mut(round * FindChunks::DIGESTS_MAX + chunk.wanted as usize);
                if let (Some(pack), Some(place)) = (pack, place) {
                    let pack = PackRef {
                        digest: pack.digest,
                        data_bytes: pack.data_bytes,
                        chunks: pack.chunks,
                    };
                    *place = Some(Known { pack, chunk: chunk.chunk });
                }
            }
        }
        Ok(known)
    }

    fn begin_pack(&self) -> Result<Box<dyn Upload>, DepotError> {
        Ok(Box::new(PackUpload::begin(self)?))
    }

    fn read_pack(
        &self,
        pack: &PackRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), DepotError> {
        if let Some(file) = self.local.file(self, pack) {
            return Ok(local::read(&file, &range, into)?);
        }
        Ok(self.read_range(&self.path(&format!("packs/{}", pack.digest)), &range, into)?)
    }

    fn report_wrong(&self, pack: &PackRef) -> Result<(), DepotError> {
        // Whatever was read here, the daemon's own answer counts now.
        self.local.avoid(&pack.digest);
        let path = self.path(&format!("packs/{}/verify", pack.digest));
        let _: VerifiedBlob = self.post(&path, &())?;
        Ok(())
    }
}
