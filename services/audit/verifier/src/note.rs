//! Signed checkpoints: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::Fault;
use crate::file::number;

/// A public key, as text `name+0123abcd+base64`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    name: String,
    id: [u8; 4],
    kind: u8,
    key: VerifyingKey,
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a public key looks like 'name+0123abcd+AbCd…=', as the checkpoint names it")]
pub struct KeyError;

const OF_LOG: u8 = 1;
const OF_WITNESS: u8 = 4;

impl Key {
    /// Reads the key of a log.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn of_log(text: &str) -> Result<Key, KeyError> {
        Key::parse(text).filter(|key| key.kind == OF_LOG).ok_or(KeyError)
    }

    /// Reads the key of a witness.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn of_witness(text: &str) -> Result<Key, KeyError> {
        Key::parse(text).filter(|key| key.kind == OF_WITNESS).ok_or(KeyError)
    }

    fn parse(text: &str) -> Option<Key> {
        let (name, rest) = text.trim().split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let bytes = STANDARD.decode(key).ok()?;
        let (kind, key) = bytes.split_first()?;
        let hash: [u8; 32] = Sha256::digest([name.as_bytes(), b"\n", &[*kind], key].concat()).into();
        let expected = [hash[0], hash[1], hash[2], hash[3]];
        let written: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        if id != written {
            return None;
        }
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        Some(Key { name: name.to_owned(), id: expected, kind: *kind, key })
    }

    /// The signature in a line of a note, if it is of this key.
    fn line<'a>(&self, line: &'a str) -> Option<(Vec<u8>, &'a str)> {
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = STANDARD.decode(signature).ok()?;
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        (name == self.name && *id == self.id).then(|| (rest.to_vec(), line))
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

/// Checks a text that is signed by this key alone, such as the receipt of a purge; gives the text.
///
/// # Errors
/// What is wrong with it.
pub fn read_signed<'a>(note: &'a str, key: &Key) -> Result<&'a str, Fault> {
    let at = note.rfind("\n\n").ok_or_else(|| Fault::wrong("it is no signed note"))?;
    let (text, signature) = (&note[..=at], note[at + 2..].trim_end_matches('\n'));
    let (signature, _) =
        key.line(signature).ok_or_else(|| Fault::wrong("it is not signed with the given key"))?;
    match key.verifies(text, &signature) {
        true => Ok(text),
        false => Err(Fault::wrong("its signature does not fit")),
    }
}

/// The head of a log, as it was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Names the log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// Root over them.
    pub root: [u8; 32],
    /// When the witness signed, in Unix seconds.
    pub cosigned_s: u64,
}

/// Reads a checkpoint that is signed by exactly these two keys, in this order.
///
/// # Errors
/// What is wrong with it.
pub fn read_checkpoint(note: &str, log: &Key, witness: &Key) -> Result<Head, Fault> {
    let wrong = |what: &str| Fault::wrong(format!("its checkpoint {what}"));
    let at = note.rfind("\n\n").ok_or_else(|| wrong("is no signed note"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    let lines: Vec<&str> = signatures.split('\n').collect();
    let [of_log, of_witness, ""] = lines[..] else { return Err(wrong("must have two signatures")) };

    let (signature, _) =
        log.line(of_log).ok_or_else(|| wrong("is not signed with the given key of the log"))?;
    if !log.verifies(text, &signature) {
        return Err(wrong("has a signature of the log that does not fit"));
    }
    let (signature, _) = witness
        .line(of_witness)
        .ok_or_else(|| wrong("is not co-signed with the given key of the witness"))?;
    let (time, signature) =
        signature.split_first_chunk::<8>().ok_or_else(|| wrong("has a co-signature that is too short"))?;
    let cosigned_s = u64::from_be_bytes(*time);
    if !witness.verifies(&format!("cosignature/v1\ntime {cosigned_s}\n{text}"), signature) {
        return Err(wrong("has a co-signature of the witness that does not fit"));
    }

    let lines: Vec<&str> = text.split('\n').collect();
    let [origin, size, root, ""] = lines[..] else { return Err(wrong("must have three lines")) };
    let size = number(size).ok_or_else(|| wrong("has no number of leaves"))?;
    let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
    let root = root.ok_or_else(|| wrong("has no root"))?;
    Ok(Head { origin: origin.to_owned(), size, root, cosigned_s })
}
