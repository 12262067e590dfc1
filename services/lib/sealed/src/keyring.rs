//! All keys in use: taken from their files when they are needed, made for a new tenant, rotated, destroyed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ids::TenantId;
use journal::StoreError;
use parking_lot::Mutex;
use recent::Recent;
use ring::aead::NONCE_LEN;
use zeroize::Zeroizing;

use crate::cipher::TenantKeys;
use crate::file;
use crate::root::{Root, RootId, Secret};
use crate::wrapped::{LOOKUP, Version, Wrapped, wrap};

/// Why keys that several processes share are not changed.
const SHARED: &str = "is used by other processes: it cannot be rotated or destroyed while they run";
/// Longest wait for others who ask a database for keys.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Tenants whose keys are kept ready in memory.
const TENANTS_MAX: usize = 4096;

/// Why a key is not there, or a value does not open.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The key of the tenant was destroyed: nothing of it can be read again.
    #[error("the key of the tenant was destroyed")]
    Destroyed,
    /// The key is not in the folder of keys: restore it.
    #[error("the key of the tenant is missing")]
    Missing,
    /// The value is not what was sealed, or is not where it was sealed.
    #[error("a value was changed, or moved from another place")]
    Changed,
    /// More values were sealed than a run has numbers, or a tenant has too many versions.
    #[error("the key of the tenant is used up: rotate it, or start again")]
    Exhausted,
    /// The database that keeps the keys does not answer.
    #[error("the keys of tenants cannot be read: {0}")]
    Unavailable(String),
    /// A file of keys is not what was written.
    #[error("the key file '{path}' {what}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> StoreError {
        match error {
            KeyError::Destroyed => StoreError::KeyDestroyed,
            KeyError::Missing => StoreError::KeyMissing("it is in no file".into()),
            KeyError::File { .. } => StoreError::KeyMissing(error.to_string()),
            KeyError::Changed => StoreError::Damaged(error.to_string()),
            KeyError::Exhausted | KeyError::Unavailable(_) => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// Where several processes keep the wrapped keys of tenants. Both steps may block, and what they answer is durable.
pub trait KeyTable: Send + Sync + 'static {
    /// Reads the keys of a tenant; the inner error is for people.
    fn read(&self, tenant: TenantId) -> Result<Option<String>, String>;

    /// Keeps the first keys of a tenant. False if it has some: another process was faster.
    fn insert(&self, tenant: TenantId, text: &str) -> Result<bool, String>;

    /// Does what may block, or wait for another that blocks: what the answers depend on must go on meanwhile.
    fn blocking(&self, work: &mut dyn FnMut()) {
        work();
    }
}

/// Where keys are kept.
enum Place {
    /// Together with other processes.
    Table(Arc<dyn KeyTable>),
    Files {
        root: PathBuf,
        folder: PathBuf,
    },
    /// For tests and measurements.
    Memory(BTreeMap<TenantId, Wrapped>),
}

#[derive(Clone)]
enum Known {
    Keys(Arc<TenantKeys>),
    Destroyed,
}

/// The keys of all tenants of one data folder. One process has it.
pub struct Keyring {
    known: Recent<TenantId, Known>,
    /// Whoever reads or changes files holds it.
    kept: Mutex<Kept>,
    /// Where they are, if that is no file.
    table: Option<Arc<dyn KeyTable>>,
}

struct Kept {
    root: Root,
    place: Place,
}

impl Keyring {
    /// Opens the keys in `folder`, a file for each tenant, wrapped by the root key in the file `root`.
    ///
    /// # Errors
    /// [`KeyError::Missing`] when there is no root key, [`KeyError::File`] when it cannot be read.
    pub fn open(root: &Path, folder: &Path) -> Result<Keyring, KeyError> {
        let text = file::read(root).map_err(|error| unreadable(root, &error))?.ok_or(KeyError::Missing)?;
        let key = Root::read(&text).ok_or_else(|| wrong(root, "is not the root key that was written"))?;
        Ok(Keyring::over(key, Place::Files { root: root.to_owned(), folder: folder.to_owned() }))
    }

    /// Makes a root key in a new file, and opens the keys.
    ///
    /// # Errors
    /// [`KeyError::File`] when there is one already or it cannot be written.
    pub fn make(root: &Path, folder: &Path) -> Result<Keyring, KeyError> {
        Keyring::make_root(root)?;
        Keyring::open(root, folder)
    }

    /// Opens keys that several processes share, wrapped by the root key in the file `root`, which all of them have.
    ///
    /// They are made and used; they cannot be rotated or destroyed while others hold them in memory.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn shared(root: &Path, table: Arc<dyn KeyTable>) -> Result<Keyring, KeyError> {
        let text = file::read(root).map_err(|error| unreadable(root, &error))?.ok_or(KeyError::Missing)?;
        let key = Root::read(&text).ok_or_else(|| wrong(root, "is not the root key that was written"))?;
        Ok(Keyring::over(key, Place::Table(table)))
    }

    /// Makes a root key in a new file.
    ///
    /// # Errors
    /// [`KeyError::File`] when there is one already or it cannot be written.
    pub fn make_root(root: &Path) -> Result<(), KeyError> {
        if file::read(root).map_err(|error| unreadable(root, &error))?.is_some() {
            return Err(wrong(root, "is there already"));
        }
        let key = Root::new(*secret(root)?, random(root)?);
        file::write(root, &key.text()).map_err(|error| unwritten(root, &error))
    }

    /// Keys that are forgotten when dropped.
    ///
    /// # Errors
    /// [`KeyError::File`] when the system gives no randomness.
    pub fn in_memory() -> Result<Keyring, KeyError> {
        let nowhere = Path::new("memory");
        let root = Root::new(*secret(nowhere)?, random(nowhere)?);
        Ok(Keyring::over(root, Place::Memory(BTreeMap::new())))
    }

    fn over(root: Root, place: Place) -> Keyring {
        let table = match &place {
            Place::Table(table) => Some(Arc::clone(table)),
            Place::Files { .. } | Place::Memory(_) => None,
        };
        Keyring { known: Recent::new(TENANTS_MAX), kept: Mutex::new(Kept { root, place }), table }
    }

    /// Does something with what is kept, which others wait for; not for long where a database is asked: threads that
    /// wait for each other are not to be all that there are.
    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> Result<T, KeyError>) -> Result<T, KeyError> {
        let Some(table) = &self.table else { return work(&mut self.kept.lock()) };
        let (mut work, mut done) = (Some(work), None);
        table.blocking(&mut || {
            if let (Some(work), Some(mut kept)) = (work.take(), self.kept.try_lock_for(WAIT_MAX)) {
                done = Some(work(&mut kept));
            }
        });
        done.unwrap_or_else(|| {
            Err(KeyError::Unavailable("too many are asked for at the same time".to_owned()))
        })
    }

    /// Name of the root key.
    pub fn root(&self) -> RootId {
        self.kept.lock().root.id()
    }

    /// The keys of a tenant; `None` if none were made. The first use reads a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of(&self, tenant: TenantId) -> Result<Option<Arc<TenantKeys>>, KeyError> {
        match self.known.get(&tenant) {
            Some(Known::Keys(keys)) => Ok(Some(keys)),
            Some(Known::Destroyed) => Err(KeyError::Destroyed),
            None => self.with(|kept| self.load(tenant, kept)),
        }
    }

    /// The keys of a tenant, made if there are none: durable when this returns. Whoever calls knows that nothing
    /// was sealed for the tenant yet.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_new(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, KeyError> {
        self.with(|kept| self.first(tenant, kept))
    }

    fn first(&self, tenant: TenantId, kept: &mut Kept) -> Result<Arc<TenantKeys>, KeyError> {
        if let Some(keys) = self.load(tenant, kept)? {
            return Ok(keys);
        }
        let wrapping = kept.root.wrapping_key(tenant).ok_or(KeyError::Destroyed)?;
        let path = kept.path(tenant);
        let (first, lookup) = (version(&path)?, secret(&path)?);
        let lookup = wrap(tenant, &wrapping, LOOKUP, &lookup, random(&path)?);
        let wrapped = Wrapped::new(kept.root.id(), lookup, first.wrapped(tenant, &wrapping, random(&path)?));
        kept.write_first(tenant, wrapped)?;
        self.load(tenant, kept)?.ok_or(KeyError::Missing)
    }

    /// Makes a new version of a tenant's key: what is written from now on is sealed with it, what is there opens as
    /// before. `None` if the tenant has no keys.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn rotate(&self, tenant: TenantId) -> Result<Option<Version>, KeyError> {
        let mut kept = self.kept.lock();
        kept.must_be_own(tenant)?;
        let Some(mut wrapped) = kept.read(tenant)? else { return Ok(None) };
        let wrapping = kept.root.wrapping_key(tenant).ok_or(KeyError::Destroyed)?;
        let path = kept.path(tenant);
        let next = version(&path)?;
        let (number, key) = next.wrapped(tenant, &wrapping, random(&path)?);
        if !wrapped.push(number, key) {
            return Err(KeyError::Exhausted);
        }
        let keys = kept.open(tenant, &wrapped)?;
        kept.write(tenant, wrapped)?;
        self.known.insert(tenant, Known::Keys(Arc::new(keys)));
        Ok(Some(number))
    }

    /// Destroys the key of a tenant, for good: its data, and all backups of it, cannot be read by anybody any more.
    /// Reads answer [`StoreError::KeyDestroyed`] from now on; no other tenant is touched. Durable when this
    /// returns, and safe to repeat. Copies of the root key file must be replaced by the one that is there now:
    /// an old copy still opens old backups.
    ///
    /// # Errors
    /// [`KeyError::File`]; the key may be destroyed or not, ask again.
    pub fn destroy(&self, tenant: TenantId) -> Result<(), KeyError> {
        let mut kept = self.kept.lock();
        kept.must_be_own(tenant)?;
        kept.root.destroy(tenant);
        self.known.insert(tenant, Known::Destroyed);
        kept.forget(tenant)?;
        tracing::info!(tenant.id = %tenant, "the key of {tenant} was destroyed");
        Ok(())
    }

    /// Whether the key of a tenant was destroyed.
    pub fn is_destroyed(&self, tenant: TenantId) -> bool {
        match self.known.get(&tenant) {
            Some(known) => matches!(known, Known::Destroyed),
            None => self.with(|kept| Ok(kept.root.is_destroyed(tenant))).unwrap_or(false),
        }
    }

    /// All tenants that have keys.
    ///
    /// # Errors
    /// [`KeyError::File`] when their folder cannot be read.
    pub fn tenants(&self) -> Result<Vec<TenantId>, KeyError> {
        match &self.kept.lock().place {
            Place::Memory(keys) => Ok(keys.keys().copied().collect()),
            Place::Table(_) => Err(wrong(Path::new("database"), SHARED)),
            Place::Files { folder, .. } => {
                let files = match fs::read_dir(folder) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                    files => files.map_err(|error| unreadable(folder, &error))?,
                };
                let mut tenants = Vec::new();
                for file in files {
                    let name = file.map_err(|error| unreadable(folder, &error))?.file_name();
                    tenants.extend(name.to_str().and_then(|name| TenantId::parse(name).ok()));
                }
                tenants.sort_unstable();
                Ok(tenants)
            }
        }
    }

    fn load(&self, tenant: TenantId, kept: &Kept) -> Result<Option<Arc<TenantKeys>>, KeyError> {
        // Another may have been faster.
        match self.known.get(&tenant) {
            Some(Known::Keys(keys)) => return Ok(Some(keys)),
            Some(Known::Destroyed) => return Err(KeyError::Destroyed),
            None => {}
        }
        if kept.root.is_destroyed(tenant) {
            self.known.insert(tenant, Known::Destroyed);
            return Err(KeyError::Destroyed);
        }
        let Some(wrapped) = kept.read(tenant)? else { return Ok(None) };
        let keys = Arc::new(kept.open(tenant, &wrapped)?);
        self.known.insert(tenant, Known::Keys(Arc::clone(&keys)));
        Ok(Some(keys))
    }
}

impl Kept {
    fn path(&self, tenant: TenantId) -> PathBuf {
        match &self.place {
            Place::Files { folder, .. } => folder.join(tenant.to_string()),
            Place::Memory(_) | Place::Table(_) => PathBuf::from(tenant.to_string()),
        }
    }

    fn read(&self, tenant: TenantId) -> Result<Option<Wrapped>, KeyError> {
        let path = self.path(tenant);
        let text = match &self.place {
            Place::Memory(keys) => return Ok(keys.get(&tenant).cloned()),
            Place::Files { .. } => file::read(&path).map_err(|error| unreadable(&path, &error))?,
            Place::Table(table) => table.read(tenant).map_err(KeyError::Unavailable)?.map(Zeroizing::new),
        };
        let Some(text) = text else { return Ok(None) };
        Wrapped::read(&text).map(Some).ok_or_else(|| wrong(&path, "is malformed"))
    }

    /// Keys that others hold in memory do not change.
    fn must_be_own(&self, tenant: TenantId) -> Result<(), KeyError> {
        match &self.place {
            Place::Table(_) => Err(wrong(&self.path(tenant), SHARED)),
            Place::Files { .. } | Place::Memory(_) => Ok(()),
        }
    }

    /// Keeps the first keys of a tenant; those of another process, if it was faster.
    fn write_first(&mut self, tenant: TenantId, wrapped: Wrapped) -> Result<(), KeyError> {
        match &self.place {
            Place::Table(table) => {
                table.insert(tenant, &wrapped.text()).map(drop).map_err(KeyError::Unavailable)
            }
            Place::Files { .. } | Place::Memory(_) => self.write(tenant, wrapped),
        }
    }

    fn write(&mut self, tenant: TenantId, wrapped: Wrapped) -> Result<(), KeyError> {
        let path = self.path(tenant);
        match &mut self.place {
            Place::Files { .. } => {
                file::write(&path, &wrapped.text()).map_err(|error| unwritten(&path, &error))?;
            }
            Place::Memory(keys) => drop(keys.insert(tenant, wrapped)),
            Place::Table(_) => return Err(wrong(&path, SHARED)),
        }
        Ok(())
    }

    /// Takes keys into use, in a new run.
    fn open(&self, tenant: TenantId, wrapped: &Wrapped) -> Result<TenantKeys, KeyError> {
        let path = self.path(tenant);
        if wrapped.root != self.root.id() {
            return Err(wrong(&path, "was wrapped by another root key"));
        }
        let wrapping = self.root.wrapping_key(tenant).ok_or(KeyError::Destroyed)?;
        let (lookup, versions) =
            wrapped.open(tenant, &wrapping).ok_or_else(|| wrong(&path, "does not open with the root key"))?;
        TenantKeys::new(&lookup, versions, random(&path)?).ok_or(KeyError::Missing)
    }

    /// Makes what the root key became durable, wipes what it was, and removes the file of a tenant.
    fn forget(&mut self, tenant: TenantId) -> Result<(), KeyError> {
        let own = self.path(tenant);
        match &mut self.place {
            Place::Memory(keys) => drop(keys.remove(&tenant)),
            Place::Table(_) => return Err(wrong(&own, SHARED)),
            Place::Files { root, .. } => {
                let old =
                    OpenOptions::new().write(true).open(&*root).map_err(|error| unreadable(root, &error))?;
                file::write(root, &self.root.text()).map_err(|error| unwritten(root, &error))?;
                file::wipe(&old).map_err(|error| unwritten(root, &error))?;
                file::remove(&own).map_err(|error| unwritten(&own, &error))?;
            }
        }
        Ok(())
    }
}

/// A version that is being made.
struct NewVersion {
    number: Version,
    key: Secret,
}

impl NewVersion {
    fn wrapped(&self, tenant: TenantId, wrapping: &Secret, nonce: [u8; NONCE_LEN]) -> (Version, Vec<u8>) {
        (self.number, wrap(tenant, wrapping, self.number, &self.key, nonce))
    }
}

fn version(path: &Path) -> Result<NewVersion, KeyError> {
    let number = Version::from_be_bytes(random(path)?);
    Ok(NewVersion { number: number.max(LOOKUP + 1), key: secret(path)? })
}

fn secret(path: &Path) -> Result<Secret, KeyError> {
    random(path).map(Zeroizing::new)
}

fn random<const N: usize>(path: &Path) -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(wrong(path, &format!("cannot be made: the system gives no randomness: {error}"))),
    }
}

fn wrong(path: &Path, what: &str) -> KeyError {
    KeyError::File { path: path.display().to_string(), what: what.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> KeyError {
    wrong(path, &format!("cannot be read: {error}"))
}

fn unwritten(path: &Path, error: &io::Error) -> KeyError {
    wrong(path, &format!("cannot be written: {error}"))
}
