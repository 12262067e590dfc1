//! The data folder: a store for each service, secrets, and where the running server is.
//!
//! ```text
//! DIR/tenant/  DIR/catalog/  DIR/stock/  DIR/audit/   one store each
//! DIR/layout                              which stores there are; written when all of them were made
//! DIR/shared                              the stores of its process are in a database; locked while it runs
//! DIR/roles                               the services of the process whose folder it is, if that is not all of them
//! DIR/secrets/pepper                      key of the hashes of API keys, readable by its user only
//! DIR/secrets/audit-key                   signs the audit logs
//! DIR/secrets/audit-witness-key           co-signs them
//! DIR/audit-witness/                      the last head of each audit log that was co-signed
//! DIR/secrets/demo-api-key                the demo tenant's key, so that it can be shown again
//! DIR/secrets/root-key                    wraps the keys of tenants; may be elsewhere, and is in no backup
//! DIR/keys/ten_…                          the keys that seal what is stored of a tenant, wrapped
//! DIR/receipts/ten_….receipt              that a tenant was purged, signed
//! DIR/server.url  DIR/admin.sock          while a server runs
//! DIR/restoring                           while a backup is being restored or a tenant removed: nothing else uses
//!                                         the folder
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::witness::Memory;
use journal::SystemEnv;
use journal_embedded::{EmbeddedStore, OpenError, Options};
use sealed::{Keyring, SealedStore};
use sha2::{Digest as _, Sha256};

use crate::cli::{Failure, complain};
use crate::keys::{self, Keys};
use crate::platform::Platform;
use crate::restore;
use crate::wiring::{AuditHere, AuditKeys, Here, Journals, TenantHere};

/// First line of the file `layout`, before its version.
const LAYOUT: &str = "cargo-pilot data ";
/// The layout that this version reads and writes. In layout 1, of development versions, values were not sealed.
const LAYOUT_VERSION: u32 = 2;
/// Names the services of a folder that has not all of them.
const ROLES: &str = "roles";
/// Marks the folder of a process whose stores are in a database, and is locked by it.
const SHARED: &str = "shared";
const MIB: u64 = 1024 * 1024;
/// The stores, the bytes of blocks that each keeps in memory, and the bytes of records that each collects before it
/// writes tables; a segment of its log is half as long.
const STORES: [(&str, u64, usize); 4] = [
    ("tenant", 4 * MIB, 2 << 20),
    ("catalog", 6 * MIB, 3 << 20),
    ("stock", 16 * MIB, 6 << 20),
    ("audit", 3 * MIB, 2 << 20),
];

/// Names of the stores.
pub(crate) fn store_names() -> [&'static str; STORES.len()] {
    STORES.map(|(name, ..)| name)
}

/// A store of a service, as the service sees it: values are sealed on their way in and opened on their way out.
pub(crate) type Sealed = Arc<SealedStore<EmbeddedStore>>;

/// Which services have their stores in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which<'a> {
    /// All of them.
    All,
    /// Those of one process of a cluster; none for a process without journals.
    Of(&'a [&'static str]),
}

impl Which<'_> {
    fn includes(self, store: &str) -> bool {
        match self {
            Which::All => true,
            Which::Of(services) => services.contains(&store),
        }
    }
}

/// The stores of the services of a folder, and the secrets.
pub(crate) struct Stores {
    sealed: Vec<(&'static str, Sealed)>,
    /// The same stores with what they hold as it is stored, sealed.
    raw: Vec<(&'static str, Arc<EmbeddedStore>)>,
    keyring: Arc<Keyring>,
    /// Key of the hashes of API keys, where the tenant service is.
    pepper: Option<[u8; 32]>,
    /// Keys of the log and of its witness, where the audit service is.
    audit_keys: Option<([u8; 32], [u8; 32])>,
    data: PathBuf,
}

impl Stores {
    /// Opens or makes the stores below `data`. The root key is `root_key`, or in the folder.
    pub(crate) fn open(
        data: &Path,
        root_key: Option<&Path>,
        accept_loss: bool,
        which: Which<'_>,
    ) -> Result<Stores, Failure> {
        restore::refuse_unfinished(data)?;
        refuse_shared(data)?;
        make_folder(data)?;
        let made = read_layout(data)?;
        refuse_other_roles(data, !made.is_empty(), which)?;
        // A store or secret that was there once is never made anew: that would be a silent loss.
        if !accept_loss && let Some(lost) = made.iter().find(|name| !is_store(data, name)) {
            return Err(damaged(data, data, &format!("the folder '{lost}' is missing")));
        }
        if !accept_loss && !made.is_empty() && !data.join(keys::FOLDER).is_dir() {
            return Err(damaged(data, data, &format!("the folder '{}' is missing", keys::FOLDER)));
        }
        let open = |(name, cache_bytes, generation_bytes): (&'static str, u64, usize)| {
            let path = data.join(name);
            let options = Options {
                cache_bytes,
                generation_bytes,
                segment_bytes: generation_bytes as u64 / 2,
                accept_loss,
                on_fatal: Some(Arc::new(move |why: &str| stop(&path, why))),
                ..Options::default()
            };
            make_folder(&data.join(name))?;
            let opened = EmbeddedStore::open(data.join(name), options);
            opened.map(|store| (name, Arc::new(store))).map_err(|error| failure(data, error))
        };
        let wanted: Vec<_> = STORES.into_iter().filter(|(name, ..)| which.includes(name)).collect();
        let raw = wanted.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        // The stores are locked from here on: nobody else uses the keys.
        let keyring = Arc::new(Keys::of(data, root_key).open(made.is_empty())?);
        let seal = |(service, store): &(&'static str, Arc<EmbeddedStore>)| {
            (*service, Arc::new(SealedStore::new(Arc::clone(store), Arc::clone(&keyring), service)))
        };
        let sealed = raw.iter().map(seal).collect();
        let secret = |name: &str, what: &str, store: &str| {
            let kept = !accept_loss && made.iter().any(|name| name == store);
            which.includes(store).then(|| secret(data, name, what, kept)).transpose()
        };
        let pepper = secret("pepper", "the key of the API keys", "tenant")?;
        let audit_key = secret("audit-key", "the key of the audit log", "audit")?;
        let witness = "the key of the witness of the audit log";
        let audit_keys = audit_key.zip(secret("audit-witness-key", witness, "audit")?);
        if made.len() < raw.len() {
            write_layout(data, &raw, which)?;
        }
        Ok(Stores { sealed, raw, keyring, pepper, audit_keys, data: data.to_owned() })
    }

    /// Opens the stores of a folder that must exist, of all services.
    pub(crate) fn open_existing(data: &Path, root_key: Option<&Path>) -> Result<Stores, Failure> {
        must_exist(data, "tenant")?;
        Stores::open(data, root_key, false, Which::All)
    }

    /// Opens the stores that a folder has, which must exist.
    pub(crate) fn open_any(data: &Path, root_key: Option<&Path>) -> Result<Stores, Failure> {
        match read_roles(data)? {
            None => Stores::open_existing(data, root_key),
            Some(roles) => Stores::open(data, root_key, false, Which::Of(&roles)),
        }
    }

    /// Opens the stores that a folder has; makes those of all services in a new one.
    pub(crate) fn open_or_make(data: &Path, root_key: Option<&Path>) -> Result<Stores, Failure> {
        match read_roles(data)? {
            None => Stores::open(data, root_key, false, Which::All),
            Some(roles) => Stores::open(data, root_key, false, Which::Of(&roles)),
        }
    }

    /// Key of the hashes by which traces tell tenants apart: whoever reads traces cannot make them.
    pub(crate) fn cell_key(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update("telemetry tenant")
            .chain_update(self.pepper.unwrap_or_default())
            .finalize()
            .into()
    }

    /// The platform over these stores.
    pub(crate) fn platform(
        &self,
        gateway: gateway::Config,
        outbound: outbound::Settings,
    ) -> Result<Platform, Failure> {
        let here = Here { gateway: Some(gateway), ..self.here(outbound) };
        Platform::start_here(here, Arc::new(SystemEnv)).map_err(Failure::Machine)
    }

    /// The tenant service alone, for commands on a stopped folder.
    pub(crate) fn tenants(&self) -> Result<tenant::Service, Failure> {
        let here = self.here(outbound::Settings::default()).tenant;
        let Some(TenantHere { journals, pepper, outbound }) = here else {
            return Err(Failure::Usage(format!(
                "the tenant service is not in '{}': name the folder of its process with --data",
                self.data.display()
            )));
        };
        let outbound = outbound::Client::new(&outbound);
        let outbound = outbound.map_err(|error| Failure::Machine(error.to_string()))?;
        let config = tenant::Config { pepper, outbound };
        Ok(tenant::Service::new(journals.store, Arc::new(SystemEnv), config))
    }

    /// The services of these stores.
    pub(crate) fn here(&self, outbound: outbound::Settings) -> Here {
        let journals = |service: &str| {
            let store = self.get(service)?;
            Some(Journals { store: store.clone(), feed: Some(store.clone()) })
        };
        let tenant = journals("tenant").zip(self.pepper);
        let audit = journals("audit").zip(self.audit_keys);
        Here {
            tenant: tenant.map(|(journals, pepper)| TenantHere { journals, pepper, outbound }),
            catalog: journals("catalog"),
            stock: journals("stock"),
            audit: audit.map(|(journals, (log, witness))| {
                let memory = Arc::new(WitnessFolder::below(&self.data));
                AuditHere { journals, keys: AuditKeys { log, witness, memory } }
            }),
            gateway: None,
        }
    }

    /// Whether the stores of all services are here.
    pub(crate) fn is_whole(&self) -> bool {
        self.raw.len() == STORES.len()
    }

    /// The store of a service, if it is here.
    pub(crate) fn get(&self, service: &str) -> Option<&Sealed> {
        self.sealed.iter().find(|(name, _)| *name == service).map(|(_, store)| store)
    }

    /// All stores as the services see them, with their names.
    pub(crate) fn sealed(&self) -> &[(&'static str, Sealed)] {
        &self.sealed
    }

    /// All stores as they are stored, with their names. Whoever does something with every one of them takes them
    /// from here.
    pub(crate) fn named(&self) -> &[(&'static str, Arc<EmbeddedStore>)] {
        &self.raw
    }

    /// The keys that seal what is stored.
    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Finishes what waits to be written. Blocks.
    pub(crate) fn close(&self) {
        for (_, store) in self.raw.iter().rev() {
            store.close();
        }
    }
}

/// Ends the process after the first failed write of a store.
fn stop(path: &Path, why: &str) {
    complain(format_args!(
        "error: the data in '{}' cannot be written: {}. Nothing was acknowledged since; what was acknowledged before \
         is kept. See that the disk has room and what it and its mount say, then start again.",
        path.display(),
        cause(why)
    ));
    runtime::fatal::exit(why)
}

/// The reason of a store in plain words: it may have those of the engine.
fn cause(why: &str) -> &str {
    let said = why.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    match said {
        _ if why.contains("disk is full") => "the disk is full",
        Some((said, _)) => said,
        None if why.contains("FjallError") => "the storage engine gave up",
        None => why.trim_start_matches("writing stopped: ").trim_end_matches('.'),
    }
}

fn is_store(data: &Path, name: &str) -> bool {
    data.join(name).join("format").exists()
}

/// The stores that were made; none for a new folder.
pub(crate) fn read_layout(data: &Path) -> Result<Vec<String>, Failure> {
    let path = data.join("layout");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| io_failure(&path, "cannot be read", &error))?,
    };
    parse_layout(data, &text).ok_or_else(|| damaged(data, data, "the file 'layout' is malformed"))?
}

/// The stores of a layout that was read from `from`, a folder or a backup; `None` if it is malformed.
pub(crate) fn parse_layout(from: &Path, text: &str) -> Option<Result<Vec<String>, Failure>> {
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix(LAYOUT)?.parse::<u32>().ok()?;
    let refused = |what: &str| {
        Failure::Machine(format!(
            "'{}' has layout {version}, this version of cargo-pilot reads layout {LAYOUT_VERSION}: {what}",
            from.display()
        ))
    };
    Some(match version {
        LAYOUT_VERSION => Ok(lines.map(str::to_owned).collect()),
        0..LAYOUT_VERSION => Err(refused(
            "values were not sealed then, in development versions; make a new folder and import into it",
        )),
        _ => Err(refused("use the newer version that wrote it")),
    })
}

/// Notes the stores that were made, last: what they need is there when they are listed.
fn write_layout(
    data: &Path,
    stores: &[(&'static str, Arc<EmbeddedStore>)],
    which: Which<'_>,
) -> Result<(), Failure> {
    let stores: String = stores.iter().map(|(name, ..)| format!("{name}\n")).collect();
    if which != Which::All {
        write_synced(&data.join(ROLES), stores.as_bytes())?;
    }
    write_synced(&data.join("layout"), format!("{LAYOUT}{LAYOUT_VERSION}\n{stores}").as_bytes())
}

fn refuse_shared(data: &Path) -> Result<(), Failure> {
    if !data.join(SHARED).exists() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "'{}' belongs to a process whose stores are in a database: start that process, and run this again",
        data.display()
    )))
}

/// Makes the folder of a process whose stores are in a database, and locks it while the file is open.
pub(crate) fn lock_shared(data: &Path) -> Result<File, Failure> {
    make_folder(data)?;
    if !read_layout(data)?.is_empty() {
        return Err(Failure::Usage(format!(
            "'{}' holds stores of its own, which a process on a database would leave aside: name another folder with \
             --data",
            data.display()
        )));
    }
    let path = data.join(SHARED);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|error| io_failure(&path, "cannot be opened", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Failure::Locked(format!(
            "the data folder '{}' is in use by another cargo-pilot process: stop that one first, or name another \
             folder with --data",
            data.display()
        ))),
    }
}

/// The services whose process a folder belongs to; `None` if it is a folder of all.
fn read_roles(data: &Path) -> Result<Option<Vec<&'static str>>, Failure> {
    let path = data.join(ROLES);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| io_failure(&path, "cannot be read", &error))?,
    };
    let known = |line| store_names().into_iter().find(|name| *name == line);
    let roles = text.lines().map(known).collect::<Option<Vec<_>>>();
    let roles = roles.filter(|roles| !roles.is_empty());
    roles.map(Some).ok_or_else(|| damaged(data, &path, "it names a service that does not exist"))
}

/// A folder stays with the services that made it.
fn refuse_other_roles(data: &Path, is_made: bool, which: Which<'_>) -> Result<(), Failure> {
    let roles = read_roles(data)?;
    let folder = data.display();
    match (&roles, which) {
        (None, Which::All) => Ok(()),
        (None, Which::Of(_)) if !is_made => Ok(()),
        (None, Which::Of(_)) => Err(Failure::Usage(format!(
            "'{folder}' holds the data of all services: start it without roles, or name another folder with --data"
        ))),
        (Some(roles), Which::Of(asked))
            if roles.len() == asked.len() && roles.iter().all(|role| asked.contains(role)) =>
        {
            Ok(())
        }
        (Some(roles), _) => Err(Failure::Usage(format!(
            "'{folder}' belongs to a process of `cargo-pilot serve {}`: name those roles, or another folder with --data",
            roles.join(" ")
        ))),
    }
}

/// Refuses to make a folder anew that should be there.
fn must_exist(data: &Path, store: &str) -> Result<(), Failure> {
    restore::refuse_unfinished(data)?;
    refuse_shared(data)?;
    if read_roles(data)?.is_some() {
        return refuse_other_roles(data, true, Which::All);
    }
    match fs::metadata(data.join(store)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::Usage(format!(
            "there is no Cargo Pilot data in '{}': name the folder with --data",
            data.display()
        ))),
        Err(error) => Err(io_failure(&data.join(store), "cannot be read", &error)),
        Ok(_) => Ok(()),
    }
}

pub(crate) fn failure(data: &Path, error: OpenError) -> Failure {
    match error {
        OpenError::Locked { .. } => Failure::Locked(format!(
            "the data folder '{}' is in use by another cargo-pilot process: stop that one first, or name another \
             folder with --data",
            data.display()
        )),
        OpenError::Damaged { path, what } if what.contains("FjallError") => {
            tracing::warn!("the storage engine says of '{}': {what}", path.display());
            damaged(data, &path, "the storage engine cannot read its files")
        }
        OpenError::Damaged { path, what } => damaged(data, &path, &what),
        OpenError::DataLost { path, acknowledged, recovered } => lost(data, &path, acknowledged, recovered),
        OpenError::Io { path, doing, source } => {
            io_failure(&path, &format!("cannot be opened ({doing})"), &source)
        }
        other @ (OpenError::NewerFormat { .. } | OpenError::OlderFormat { .. }) => {
            Failure::Machine(other.to_string())
        }
    }
}

pub(crate) fn damaged(data: &Path, path: &Path, what: &str) -> Failure {
    Failure::Machine(format!(
        "the data in '{}' is damaged: {what}. Keep a copy of '{data}' as it is, then restore the whole folder, \
         never single files of it, from the newest backup and check it with `cargo-pilot verify`. Without a \
         backup, `cargo-pilot serve --accept-loss` goes on from what can still be read, if anything can.",
        path.display(),
        data = data.display()
    ))
}

fn lost(data: &Path, path: &Path, acknowledged: u64, recovered: u64) -> Failure {
    Failure::Machine(format!(
        "the data in '{}' is older than what was acknowledged: write {acknowledged} was confirmed, the files end \
         at write {recovered}. See first whether an old snapshot or another disk is mounted in its place. \
         Otherwise keep a copy of '{data}' as it is, restore the whole folder from the newest backup, and check \
         it with `cargo-pilot verify`. Without a backup, `cargo-pilot serve --accept-loss` goes on from what is \
         there: what came after it is gone.",
        path.display(),
        data = data.display()
    ))
}

/// What the operating system refused, and what to do about it.
pub(crate) fn io_failure(path: &Path, what: &str, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => "start as the user that owns it, or name another folder with --data",
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only; name another folder with --data",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk and start again",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is where a folder should be; name another folder with --data"
        }
        _ => "see what the disk and its mount say, or name another folder with --data",
    };
    Failure::Machine(format!("'{}' {what}: {error}: {advice}", path.display()))
}

pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io_failure(path, "cannot be made", &error))
}

/// The seed of the key that signs the audit logs, of a folder that has one.
pub(crate) fn audit_key(data: &Path) -> Result<[u8; 32], Failure> {
    secret(data, "audit-key", "the key of the audit log", true)
}

/// A secret of 32 bytes and their checksum, which `what` calls for people; made with the store that needs it.
fn secret(data: &Path, name: &str, what: &str, must_exist: bool) -> Result<[u8; 32], Failure> {
    let path = data.join("secrets").join(name);
    match fs::read(&path) {
        Ok(bytes) => read_secret(&bytes)
            .ok_or_else(|| damaged(data, &path, &format!("{what} is not the one that was written"))),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_failure(&path, "cannot be read", &error)),
        // With another one no API key would work, and no signature would fit, any more.
        Err(_) if must_exist => Err(damaged(data, &path, &format!("{what} is missing"))),
        Err(_) => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret)
                .map_err(|error| Failure::Machine(format!("the system gives no randomness: {error}")))?;
            make_folder(&data.join("secrets"))?;
            let checksum = crc32fast::hash(&secret).to_be_bytes();
            write_synced(&path, &[secret.as_slice(), &checksum].concat())?;
            Ok(secret)
        }
    }
}

/// The secret, if its checksum says so. The first folders have none.
fn read_secret(bytes: &[u8]) -> Option<[u8; 32]> {
    let (secret, checksum) = bytes.split_first_chunk()?;
    (checksum.is_empty() || checksum == crc32fast::hash(secret).to_be_bytes()).then_some(*secret)
}

/// What the witness of the audit logs remembers: a file for each log, apart from the store of the logs.
pub(crate) struct WitnessFolder(PathBuf);

impl WitnessFolder {
    /// In a data folder.
    pub(crate) fn below(data: &Path) -> WitnessFolder {
        WitnessFolder(data.join("audit-witness"))
    }

    /// Whether there is anything, or was.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_dir()
    }

    pub(crate) fn make(&self) -> Result<(), Failure> {
        make_folder(&self.0)
    }

    /// The file of a log: `cargo-pilot/audit/ten_…` is kept in `ten_…`.
    fn file(&self, origin: &str) -> PathBuf {
        self.0.join(origin.rsplit('/').next().unwrap_or(origin))
    }
}

impl Memory for WitnessFolder {
    fn read(&self, origin: &str) -> Result<Option<String>, String> {
        let path = self.file(origin);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_failure(&path, "cannot be read", &error).to_string()),
        }
    }

    fn note(&self, origin: &str, text: &str) -> Result<(), String> {
        make_folder(&self.0).map_err(|failure| failure.to_string())?;
        write_synced(&self.file(origin), text.as_bytes()).map_err(|failure| failure.to_string())
    }
}

/// The key of the demo tenant, if it was kept.
pub(crate) fn demo_key(data: &Path) -> Option<String> {
    fs::read_to_string(data.join("secrets/demo-api-key")).ok().map(|key| key.trim().to_owned())
}

/// Keeps the key of the demo tenant.
pub(crate) fn keep_demo_key(data: &Path, key: &str) -> Result<(), Failure> {
    write_synced(&data.join("secrets/demo-api-key"), key.as_bytes())
}

/// Writes a file that only its user may read, synced, in one step.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_failure(path, "cannot be written", &error))
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

#[cfg(test)]
mod tests {
    use super::{cause, read_secret};

    #[test]
    fn a_cause_is_told_in_plain_words() {
        let engine = r#"writing stopped: FjallError: Io(Os { code: 5, kind: Uncategorized, message: "Input/output error" })"#;
        assert_eq!(cause(engine), "Input/output error");
        assert_eq!(cause("writing stopped: FjallError: Poisoned"), "the storage engine gave up");
        let full = "writing stopped: FjallError: Poisoned; the disk is full: free some space and start again";
        assert_eq!(cause(full), "the disk is full");
        assert_eq!(cause("writing stopped: the writer panicked"), "the writer panicked");
    }

    #[test]
    fn a_changed_secret_is_noticed() {
        let key = [7; 32];
        let written = [key.as_slice(), &crc32fast::hash(&key).to_be_bytes()].concat();
        assert_eq!(read_secret(&written), Some(key));
        assert_eq!(read_secret(&key), Some(key), "written before there was a checksum");
        for at in 0..written.len() {
            let mut changed = written.clone();
            changed[at] ^= 1;
            assert_eq!(read_secret(&changed), None);
        }
        for len in (0..32).chain(33..36) {
            assert_eq!(read_secret(&written[..len]), None);
        }
    }
}
