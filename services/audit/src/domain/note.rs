//! Checkpoints as signed notes: what a log says about its tree, and who says so too.
//!
//! Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature (Ed25519,
//! `cosignature/v1`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::domain::merkle::Hash;

/// Signature of the log itself.
const ED25519: u8 = 0x01;
/// Signature of somebody who saw the log grow, with a time.
const COSIGNATURE: u8 = 0x04;
/// Signature lines that are looked at.
const SIGNATURES_MAX: usize = 16;

/// The head of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Names the log: `cargo-pilot/audit/ten_…`.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size, root in base64, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads what [`Checkpoint::text`] wrote and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?.parse().ok()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size, root };
        (checkpoint.text() == text).then_some(checkpoint)
    }
}

/// Who signs, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The log itself.
    Log,
    /// Somebody who saw the log grow.
    Witness,
}

impl Role {
    fn kind(self) -> u8 {
        match self {
            Role::Log => ED25519,
            Role::Witness => COSIGNATURE,
        }
    }
}

/// A key that signs.
pub struct Signer {
    role: Role,
    name: String,
    key: SigningKey,
}

impl Signer {
    /// Makes a signer. `name` has neither spaces nor `+`; a log's is its origin.
    #[must_use]
    pub fn new(role: Role, name: &str, seed: &[u8; 32]) -> Signer {
        let plain =
            !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '+');
        assert!(plain, "a name of a key has neither spaces nor '+'");
        Signer { role, name: name.to_owned(), key: SigningKey::from_bytes(seed) }
    }

    /// What others need to check it.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { role: self.role, name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The line that signs `text` as the log.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        assert_eq!(self.role, Role::Log, "a witness says when");
        self.line(&self.key.sign(text.as_bytes()).to_bytes())
    }

    /// The line that says that at `unix_s` this was the newest consistent head that the witness knew.
    #[must_use]
    pub fn cosign(&self, text: &str, unix_s: u64) -> String {
        assert_eq!(self.role, Role::Witness, "a log signs without a time");
        let signature = self.key.sign(cosigned(text, unix_s).as_bytes());
        self.line(&[unix_s.to_be_bytes().as_slice(), &signature.to_bytes()].concat())
    }

    fn line(&self, signature: &[u8]) -> String {
        let id = self.verifier().id();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode([id.as_slice(), signature].concat()))
    }
}

fn cosigned(text: &str, unix_s: u64) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{text}")
}

/// The public half of a [`Signer`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    role: Role,
    name: String,
    key: VerifyingKey,
}

impl Verifier {
    /// First bytes of a signature: which key it is of.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', self.role.kind()]);
        let hash = hash.chain_update(self.key.as_bytes()).finalize();
        std::array::from_fn(|at| hash[at])
    }

    /// The key as text: `name+0123abcd+base64`.
    #[must_use]
    pub fn vkey(&self) -> String {
        let id = u32::from_be_bytes(self.id());
        let key = [&[self.role.kind()], self.key.as_bytes().as_slice()].concat();
        format!("{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }

    /// Whether this key signed the note; of a witness, when.
    #[must_use]
    pub fn signed(&self, note: &str) -> Option<u64> {
        let (text, signatures) = take_apart(note)?;
        signatures.lines().take(SIGNATURES_MAX).find_map(|line| self.signed_by(text, line))
    }

    fn signed_by(&self, text: &str, line: &str) -> Option<u64> {
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = STANDARD.decode(signature).ok()?;
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        if name != self.name || *id != self.id() {
            return None;
        }
        let (text, unix_s, signature) = match self.role {
            Role::Log => (text.to_owned(), 0, rest),
            Role::Witness => {
                let (time, signature) = rest.split_first_chunk::<8>()?;
                let unix_s = u64::from_be_bytes(*time);
                (cosigned(text, unix_s), unix_s, signature)
            }
        };
        let signature = Signature::from_slice(signature).ok()?;
        self.key.verify_strict(text.as_bytes(), &signature).ok()?;
        Some(unix_s)
    }
}

/// The text of a note, with its last newline, and its signature lines.
#[must_use]
pub fn take_apart(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    Some((&note[..=at], &note[at + 2..]))
}

/// Puts a note together.
#[must_use]
pub fn put_together(text: &str, signatures: &[String]) -> String {
    format!("{text}\n{}", signatures.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, role: Role, key: &str) -> Verifier {
        let bytes: [u8; 33] = STANDARD.decode(key).unwrap().try_into().unwrap();
        assert_eq!(bytes[0], role.kind());
        let key = VerifyingKey::from_bytes(bytes[1..].try_into().unwrap()).unwrap();
        Verifier { role, name: name.to_owned(), key }
    }

    /// The example of golang.org/x/mod/sumdb/note: a key, and a note that it signed.
    #[test]
    fn a_note_of_others_verifies() {
        let peter = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let (name, rest) = peter.split_once('+').unwrap();
        let verifier = key(name, Role::Log, rest.split_once('+').unwrap().1);
        assert_eq!(verifier.vkey(), peter);
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(verifier.signed(note), Some(0));
        assert_eq!(verifier.signed(&note.replace("answer", "question")), None);
        assert_eq!(verifier.signed(&note.replace("x08go/Z", "x08go/a")), None);
    }

    fn made() -> (Signer, Signer, Checkpoint) {
        let log = Signer::new(Role::Log, "cargo-pilot/audit/ten_1", &[1; 32]);
        let witness = Signer::new(Role::Witness, "cargo-pilot/audit-witness", &[2; 32]);
        let checkpoint =
            Checkpoint { origin: "cargo-pilot/audit/ten_1".to_owned(), size: 20_852_163, root: [7; 32] };
        (log, witness, checkpoint)
    }

    #[test]
    fn a_checkpoint_is_signed_by_the_log_and_by_a_witness() {
        let (log, witness, checkpoint) = made();
        let text = checkpoint.text();
        assert_eq!(text, format!("cargo-pilot/audit/ten_1\n20852163\n{}\n", STANDARD.encode([7; 32])));
        let note = put_together(&text, &[log.sign(&text), witness.cosign(&text, 1_679_315_147)]);
        assert_eq!(log.verifier().signed(&note), Some(0));
        assert_eq!(witness.verifier().signed(&note), Some(1_679_315_147));
        let (found, signatures) = take_apart(&note).unwrap();
        assert_eq!((found, signatures.lines().count()), (&*text, 2));
        assert_eq!(Checkpoint::parse(found), Some(checkpoint));

        // The time is signed, the roles are not exchanged, another key has not signed.
        let late = put_together(&text, &[witness.cosign(&text, 1_679_315_148)]);
        assert_eq!(witness.verifier().signed(&late), Some(1_679_315_148));
        let as_log = Signer::new(Role::Log, "cargo-pilot/audit-witness", &[2; 32]);
        assert_eq!(as_log.verifier().signed(&note), None);
        let other = Signer::new(Role::Log, "cargo-pilot/audit/ten_1", &[3; 32]);
        assert_eq!(other.verifier().signed(&note), None);
    }

    #[test]
    fn no_bit_of_a_signed_checkpoint_can_change() {
        let (log, witness, checkpoint) = made();
        let text = checkpoint.text();
        let note = put_together(&text, &[log.sign(&text), witness.cosign(&text, 1_679_315_147)]);
        for bit in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let verified = log.verifier().signed(&changed).and(witness.verifier().signed(&changed));
            assert_eq!(verified, None, "{changed}");
        }
    }

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let (_, _, checkpoint) = made();
        let text = checkpoint.text();
        for bad in [
            text.replace("2085", "02085"),
            text.replace("2085", "+2085"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
            String::new(),
        ] {
            assert_eq!(Checkpoint::parse(&bad), None, "{bad:?}");
        }
    }
}
