//! Passwords: slow hashes, off the threads that answer requests, a few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::Error;

/// Memory of one hash. Source: OWASP Password Storage Cheat Sheet, Argon2id with m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes that are computed at the same time: 19 MiB and one processor each.
const AT_ONCE_MAX: usize = 2;
/// Hashes that wait for their turn; one more is turned away.
const WAITING_MAX: usize = 64;
/// A hash that no password has: who names an unknown user waits as long as for a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Y2FyZ28tcGlsb3Qtbm9ib2R5$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes and checks hashes of passwords.
pub(in crate::app) struct Passwords {
    /// Without it a hash that leaked tells nothing.
    pepper: [u8; 32],
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    pub(in crate::app) fn new(pepper: [u8; 32]) -> Passwords {
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        Passwords { pepper, places, waiting: Arc::new(Semaphore::new(AT_ONCE_MAX + WAITING_MAX)) }
    }

    /// Hashes a password, in PHC form.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait.
    pub(super) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, Error> {
        self.run(move |argon2| {
            let salt = SaltString::encode_b64(&salt).map_err(|_| Error::Busy)?;
            let hash = argon2.hash_password(password.as_bytes(), &salt).map_err(|_| Error::Busy)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` has the hash; `None` is the hash of nobody, and takes as long.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        self.run(move |argon2| {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let right = PasswordHash::new(&hash)
                .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok());
            Ok(known && right)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Busy)?;
        let pepper = self.pepper;
        let done = tokio::task::spawn_blocking(move || {
            // The place is free when the work is done, also when nobody waits for it any more.
            let _place = place;
            let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| Error::Busy)?;
            let argon2 = Argon2::new_with_secret(&pepper, Algorithm::Argon2id, Version::V0x13, params);
            work(argon2.map_err(|_| Error::Busy)?)
        });
        done.await.map_err(|_| Error::Busy)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Argon2id with the parameters of OWASP, salted and peppered.
    #[tokio::test]
    async fn a_password_is_kept_as_a_slow_hash() {
        let (one, other) = (Passwords::new([1; 32]), Passwords::new([2; 32]));
        let hash = one.hash("correct horse".to_owned(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, one.hash("correct horse".to_owned(), [8; 16]).await.unwrap());
        assert!(one.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!one.verify("Correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!other.verify("correct horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!one.verify(String::new(), None).await.unwrap());
        assert!(!one.verify(String::new(), Some(String::new())).await.unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "it takes as long as a real one");
    }
}
