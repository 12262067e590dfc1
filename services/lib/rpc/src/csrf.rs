//! What a page must say that makes a browser send its session cookie.

use sha2::{Digest as _, Sha256};

/// The token that calls with the cookie of a session must carry when they change something: 64 hexadecimal digits that
/// follow from the session's token. A page that cannot read the answer of the sign-in cannot know it.
pub fn csrf_token(session_token: &str) -> String {
    let hash = Sha256::new().chain_update(b"cargo-pilot csrf 1").chain_update(session_token).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
