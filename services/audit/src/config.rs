//! Settings.

/// The secret of the log's signatures.
#[derive(Clone)]
pub struct Config {
    /// Seed of the Ed25519 key that signs checkpoints.
    pub log_seed: [u8; 32],
}

/// What the names of logs begin with; a tenant's id follows.
pub const ORIGIN: &str = "cargo-pilot/audit/";
/// Name of the key of the witness in the same process.
pub const WITNESS: &str = "cargo-pilot/audit-witness";
