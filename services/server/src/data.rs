//! The data folder: a store for each service, secrets, and where the running server is.
//!
//! ```text
//! DIR/tenant/  DIR/catalog/  DIR/stock/   one store each
//! DIR/secrets/pepper                      key of the hashes of API keys, readable by its user only
//! DIR/secrets/demo-api-key                the demo tenant's key, so that it can be shown again
//! DIR/server.url                          while a server runs
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal_embedded::{EmbeddedStore, OpenError, Options};

use crate::cli::Failure;
use crate::platform::{Parts, Platform};

/// Bytes of blocks that each store keeps in memory.
const STOCK_CACHE_BYTES: u64 = 48 * 1024 * 1024;
const SMALL_CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The stores of all services.
pub(crate) struct Stores {
    pub(crate) tenant: Arc<EmbeddedStore>,
    pub(crate) catalog: Arc<EmbeddedStore>,
    pub(crate) stock: Arc<EmbeddedStore>,
}

impl Stores {
    /// Opens or makes the stores below `data`.
    pub(crate) fn open(data: &Path, accept_loss: bool) -> Result<Stores, Failure> {
        make_folder(data)?;
        let open = |name: &str, cache_bytes: u64| {
            let options = Options {
                cache_bytes,
                accept_loss,
                on_fatal: Some(Arc::new(|why: &str| runtime::fatal::exit(why))),
                ..Options::default()
            };
            EmbeddedStore::open(data.join(name), options).map(Arc::new).map_err(|error| failure(data, &error))
        };
        Ok(Stores {
            tenant: open("tenant", SMALL_CACHE_BYTES)?,
            catalog: open("catalog", SMALL_CACHE_BYTES)?,
            stock: open("stock", STOCK_CACHE_BYTES)?,
        })
    }

    /// Opens the stores of a folder that must exist.
    pub(crate) fn open_existing(data: &Path) -> Result<Stores, Failure> {
        if !data.join("tenant").is_dir() {
            let what =
                format!("there is no Cargo Pilot data in '{}': name the folder with --data", data.display());
            return Err(Failure::Usage(what));
        }
        Stores::open(data, false)
    }

    /// The platform over these stores.
    pub(crate) fn platform(&self, data: &Path, gateway: gateway::Config) -> Result<Platform, Failure> {
        let parts = Parts {
            tenant: self.tenant.clone(),
            catalog: self.catalog.clone(),
            stock: self.stock.clone(),
            pepper: pepper(data)?,
            gateway,
        };
        Platform::start(parts).map_err(Failure::Machine)
    }

    /// Finishes what waits to be written. Blocks.
    pub(crate) fn close(&self) {
        for store in [&self.stock, &self.catalog, &self.tenant] {
            store.close();
        }
    }
}

fn failure(data: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Locked { .. } => Failure::Locked(format!(
            "the data folder '{}' is in use by another cargo-pilot process: stop it first, or name another \
             folder with --data",
            data.display()
        )),
        OpenError::Io { source, .. } => Failure::Machine(format!("{error}: {source}")),
        other => Failure::Machine(other.to_string().replace("`accept_loss`", "`serve --accept-loss`")),
    }
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::Machine(format!("the folder '{}' cannot be made: {error}", path.display())))
}

fn secret_file(data: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = data.join("secrets");
    make_folder(&folder)?;
    Ok(folder.join(name))
}

/// The key of the hashes of API keys; made with the folder.
fn pepper(data: &Path) -> Result<[u8; 32], Failure> {
    let path = secret_file(data, "pepper")?;
    if path.exists() {
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        let wrong =
            |_| Failure::Machine(format!("'{}' has not 32 bytes: restore it from a backup", path.display()));
        return bytes.try_into().map_err(wrong);
    }
    let mut pepper = [0; 32];
    getrandom::fill(&mut pepper).map_err(|error| Failure::Machine(format!("no randomness: {error}")))?;
    write_secret(&path, &pepper)?;
    Ok(pepper)
}

/// The key of the demo tenant, if it was kept.
pub(crate) fn demo_key(data: &Path) -> Option<String> {
    fs::read_to_string(data.join("secrets/demo-api-key")).ok().map(|key| key.trim().to_owned())
}

/// Keeps the key of the demo tenant.
pub(crate) fn keep_demo_key(data: &Path, key: &str) -> Result<(), Failure> {
    write_secret(&secret_file(data, "demo-api-key")?, key.as_bytes())
}

/// Writes a file that only its user may read, synced, in one step.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unwritable = |error| Failure::Machine(format!("'{}' cannot be written: {error}", path.display()));
    let draft = path.with_extension("new");
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let mut file: File = open.map_err(unwritable)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(unwritable)?;
    fs::rename(&draft, path).map_err(unwritable)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Machine(format!("'{}' cannot be read: {error}", path.display()))
}

/// Says where the server on this folder is, until dropped.
pub(crate) struct Running(PathBuf);

impl Running {
    pub(crate) fn at(data: &Path, url: &str) -> Running {
        let path = data.join("server.url");
        // A convenience for other commands: without it they ask for --url.
        if let Err(error) = fs::write(&path, url) {
            tracing::warn!("'{}' cannot be written: {error}", path.display());
        }
        Running(path)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // it is written anew at the next start
    }
}

/// URL of the server that runs on this folder.
pub(crate) fn running_url(data: &Path) -> Option<String> {
    fs::read_to_string(data.join("server.url")).ok()
}
