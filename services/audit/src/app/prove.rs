//! Signs the head of a log, and proves what is in it.

use std::sync::Arc;

use ids::TenantId;
use journal::Rejection;

use crate::Error;
use crate::app::{App, log_scope};
use crate::config::ORIGIN;
use crate::domain::leaf::Leaf;
use crate::domain::log::Command;
use crate::domain::merkle::{self, Hash};
use crate::domain::note::{Checkpoint, Role, Signer, put_together};
use crate::domain::tile::WIDTH;
use crate::records;
use crate::witness::Refusal;

/// A signed head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The head.
    pub checkpoint: Checkpoint,
    /// Signed by log and witness.
    pub note: String,
    /// The public keys of log and witness, as notes name them.
    pub keys: [String; 2],
}

/// A proof that a leaf is in a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inclusion {
    /// The leaf.
    pub leaf: Leaf,
    /// Leaves of the tree.
    pub size: u64,
    /// The audit path, from the leaf up.
    pub hashes: Vec<Hash>,
    /// The head of that tree, if it is the newest one.
    pub signed: Option<Signed>,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        tracing::error!("no checkpoint of an audit log can be signed: {refusal}");
        Error::CheckpointRefused(refusal.to_string())
    }
}

impl App {
    fn signer(&self, tenant: TenantId) -> Signer {
        Signer::new(Role::Log, &format!("{ORIGIN}{tenant}"), &self.config.log_seed)
    }

    /// Signs the head of a tenant's log as it is now, and has it co-signed; a head that was signed is found again.
    ///
    /// # Errors
    /// [`Error::CheckpointRefused`] when the log does not continue what the witness signed, or the journal.
    pub async fn checkpoint(&self, tenant: TenantId) -> Result<Signed, Error> {
        let signing = Arc::clone(&self.signing);
        let _turn = signing.lock().await;
        let log = self.log_of(tenant).await?;
        let signer = self.signer(tenant);
        let origin = format!("{ORIGIN}{tenant}");
        let checkpoint = Checkpoint { origin, size: log.size(), root: log.peaks.root() };
        let keys = [signer.verifier().vkey(), self.witness.verifier().vkey()];
        if let Some(note) = self.kept(tenant, &checkpoint).await? {
            return Ok(Signed { checkpoint, note, keys });
        }
        let last = self.witness.last(&checkpoint.origin).await?;
        let before = last.map_or(0, |last| last.size);
        let proof = match merkle::consistency(before, checkpoint.size) {
            Some(proof) => self.hashes(tenant, checkpoint.size, &proof).await?,
            // Nothing was signed before, or more than there is: the witness decides.
            None => vec![],
        };
        let text = checkpoint.text();
        let unix_s = self.now().unix_ms() / 1000;
        let cosignature = self.witness.cosign(checkpoint.clone(), proof, unix_s).await?;
        let note = put_together(&text, &[signer.sign(&text), cosignature]);
        let request = self.internal(Command::Keep { size: checkpoint.size, note: note.clone() });
        match self.log.submit(log_scope(tenant), request).await {
            Ok(_) => Ok(Signed { checkpoint, note, keys }),
            Err(Rejection::Journal(error)) => Err(error.into()),
            Err(_) => Err(journal::Error::ConcurrentUpdate.into()),
        }
    }

    /// The note of exactly this head and these keys, if it was signed before.
    async fn kept(&self, tenant: TenantId, checkpoint: &Checkpoint) -> Result<Option<String>, Error> {
        let key = records::checkpoint_key(checkpoint.size);
        let row = self.store().index_row(tenant, records::CHECKPOINTS, key, records::log_id()).await?;
        let note = row.and_then(|row| String::from_utf8(row.to_vec()).ok());
        let ours = |note: &String| {
            note.starts_with(&checkpoint.text())
                && self.signer(tenant).verifier().signed(note).is_some()
                && self.witness.verifier().signed(note).is_some()
        };
        Ok(note.filter(ours))
    }

    /// Proves that leaf number `index` is in the tree of `size` leaves, or in the newest one.
    ///
    /// # Errors
    /// [`Error::BeyondLog`], or the journal.
    pub async fn inclusion(
        &self,
        tenant: TenantId,
        index: u64,
        size: Option<u64>,
    ) -> Result<Inclusion, Error> {
        let (size, signed) = match size {
            Some(size) => (self.within(tenant, size).await?, None),
            None => {
                let signed = self.checkpoint(tenant).await?;
                (signed.checkpoint.size, Some(signed))
            }
        };
        let proof = merkle::inclusion(index, size).ok_or(Error::BeyondLog { size })?;
        let hashes = self.hashes(tenant, size, &proof).await?;
        let leaves = self.bundle(tenant, index / WIDTH, size).await?;
        let leaf = usize::try_from(index % WIDTH).ok().and_then(|at| leaves.into_iter().nth(at));
        let leaf = leaf.ok_or(Error::BeyondLog { size })?;
        Ok(Inclusion { leaf, size, hashes, signed })
    }

    /// Proves that the tree of `new` leaves, or the newest one, begins with the tree of `old` leaves.
    ///
    /// # Errors
    /// [`Error::BeyondLog`], or the journal.
    pub async fn consistency(
        &self,
        tenant: TenantId,
        old: u64,
        new: Option<u64>,
    ) -> Result<(u64, Vec<Hash>, Option<Signed>), Error> {
        let (new, signed) = match new {
            Some(new) => (self.within(tenant, new).await?, None),
            None => {
                let signed = self.checkpoint(tenant).await?;
                (signed.checkpoint.size, Some(signed))
            }
        };
        let proof = match old {
            0 => vec![],
            _ => merkle::consistency(old, new).ok_or(Error::BeyondLog { size: new })?,
        };
        Ok((new, self.hashes(tenant, new, &proof).await?, signed))
    }

    async fn within(&self, tenant: TenantId, size: u64) -> Result<u64, Error> {
        let has = self.log_of(tenant).await?.size();
        if has < size { Err(Error::BeyondLog { size: has }) } else { Ok(size) }
    }
}
