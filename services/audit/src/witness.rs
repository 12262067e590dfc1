//! Who co-signs checkpoints: a second key, and a memory of its own that the log cannot change.
//!
//! A witness signs a head only if it continues the last head that it signed. So a log that was rolled back or
//! rewritten, with all its keys, gets no co-signature any more.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::domain::merkle::{Hash, is_consistent};
use crate::domain::note::{Checkpoint, Role, Signer, Verifier};

/// Why there is no co-signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head does not continue what the witness signed before.
    #[error("the log has {offered} leaves and does not continue the {signed} leaves that the witness signed")]
    Contradiction {
        /// Leaves of the last head that the witness signed.
        signed: u64,
        /// Leaves of the head that it is to sign.
        offered: u64,
    },
    /// Its memory cannot be read or written.
    #[error("the memory of the witness cannot be used: {0}")]
    Memory(String),
}

/// Who co-signs.
pub trait Witness: Send + Sync + 'static {
    /// What others need to check its signatures.
    fn verifier(&self) -> Verifier;

    /// The last head of this log that it signed.
    fn last(&self, origin: &str) -> BoxFuture<'_, Result<Option<Checkpoint>, Refusal>>;

    /// Signs a head at `unix_s`, if `proof` shows that it continues the last one.
    fn cosign(
        &self,
        checkpoint: Checkpoint,
        proof: Vec<Hash>,
        unix_s: u64,
    ) -> BoxFuture<'_, Result<String, Refusal>>;
}

/// Remembers the last head of each log, durably. Blocks.
pub trait Memory: Send + Sync + 'static {
    /// Reads what was noted for a log.
    ///
    /// # Errors
    /// A text for people.
    fn read(&self, origin: &str) -> Result<Option<String>, String>;

    /// Notes a text for a log, in the place of the last one.
    ///
    /// # Errors
    /// A text for people; nothing is noted then.
    fn note(&self, origin: &str, text: &str) -> Result<(), String>;
}

/// A witness of this process.
pub struct LocalWitness {
    signer: Arc<Signer>,
    memory: Arc<dyn Memory>,
}

impl LocalWitness {
    /// Makes a witness with a key of its own.
    #[must_use]
    pub fn new(name: &str, seed: &[u8; 32], memory: Arc<dyn Memory>) -> LocalWitness {
        LocalWitness { signer: Arc::new(Signer::new(Role::Witness, name, seed)), memory }
    }
}

fn last(memory: &dyn Memory, origin: &str) -> Result<Option<Checkpoint>, Refusal> {
    match memory.read(origin).map_err(Refusal::Memory)? {
        None => Ok(None),
        Some(text) => match Checkpoint::parse(&text).filter(|checkpoint| checkpoint.origin == origin) {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Err(Refusal::Memory("what it noted is damaged".to_owned())),
        },
    }
}

fn cosign(
    signer: &Signer,
    memory: &dyn Memory,
    checkpoint: &Checkpoint,
    proof: &[Hash],
    unix_s: u64,
) -> Result<String, Refusal> {
    let text = checkpoint.text();
    if let Some(last) = last(memory, &checkpoint.origin)?
        && !is_consistent((last.size, &last.root), (checkpoint.size, &checkpoint.root), proof)
    {
        return Err(Refusal::Contradiction { signed: last.size, offered: checkpoint.size });
    }
    // Noted before it is signed: what was signed is never forgotten.
    memory.note(&checkpoint.origin, &text).map_err(Refusal::Memory)?;
    Ok(signer.cosign(&text, unix_s))
}

/// Runs blocking work of the memory.
fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> BoxFuture<'static, Result<T, Refusal>> {
    let task = tokio::task::spawn_blocking(work);
    task.map(|done| done.unwrap_or_else(|_| Err(Refusal::Memory("it stopped".to_owned())))).boxed()
}

impl Witness for LocalWitness {
    fn verifier(&self) -> Verifier {
        self.signer.verifier()
    }

    fn last(&self, origin: &str) -> BoxFuture<'_, Result<Option<Checkpoint>, Refusal>> {
        let (memory, origin) = (Arc::clone(&self.memory), origin.to_owned());
        aside(move || last(&*memory, &origin))
    }

    fn cosign(
        &self,
        checkpoint: Checkpoint,
        proof: Vec<Hash>,
        unix_s: u64,
    ) -> BoxFuture<'_, Result<String, Refusal>> {
        let (signer, memory) = (Arc::clone(&self.signer), Arc::clone(&self.memory));
        aside(move || cosign(&signer, &*memory, &checkpoint, &proof, unix_s))
    }
}

/// A memory that ends with the process, for tests.
#[derive(Debug, Default)]
pub struct ShortMemory(std::sync::Mutex<std::collections::BTreeMap<String, String>>);

impl Memory for ShortMemory {
    fn read(&self, origin: &str) -> Result<Option<String>, String> {
        let notes = self.0.lock().map_err(|_| "a thread panicked")?;
        Ok(notes.get(origin).cloned())
    }

    fn note(&self, origin: &str, text: &str) -> Result<(), String> {
        let mut notes = self.0.lock().map_err(|_| "a thread panicked")?;
        notes.insert(origin.to_owned(), text.to_owned());
        Ok(())
    }
}
