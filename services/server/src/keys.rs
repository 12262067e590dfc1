//! The keys that seal what is stored: where they are, and the commands about them.
//!
//! The root key is the one secret that is in no backup: without it neither the data folder nor a backup of it can
//! be read. The keys of tenants are in `keys/`, wrapped by it, and go with the data.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use ids::TenantId;
use rpc::SYSTEM_TENANT;
use sealed::{KeyError, Keyring};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin;
use crate::cli::{self, DestroyKey, Failure, KeysWhat, RotateKeys, say};
use crate::data::{Stores, io_failure, make_folder};

/// Folder of the wrapped keys, in the data folder.
pub(crate) const FOLDER: &str = "keys";
/// Name of the root key in the folder of secrets.
pub(crate) const ROOT_KEY: &str = "root-key";
/// Most bytes of an answer of a server.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Where the keys of a data folder are.
pub(crate) struct Keys {
    pub(crate) root: PathBuf,
    folder: PathBuf,
}

impl Keys {
    pub(crate) fn of(data: &Path, root_key: Option<&Path>) -> Keys {
        let inside = || data.join("secrets").join(ROOT_KEY);
        Keys { root: root_key.map_or_else(inside, Path::to_owned), folder: data.join(FOLDER) }
    }

    /// Opens them. A root key is made for a new folder only.
    pub(crate) fn open(&self, is_new: bool) -> Result<Keyring, Failure> {
        make_folder(&self.folder)?;
        let opened = match Keyring::open(&self.root, &self.folder) {
            Err(KeyError::Missing) if is_new && self.is_unused()? => Keyring::make(&self.root, &self.folder),
            opened => opened,
        };
        // The platform has keys too: those of another folder are seen at once.
        let known = opened.and_then(|keyring| keyring.of(SYSTEM_TENANT).map(|_| keyring));
        known.map_err(|error| match error {
            KeyError::Missing => Failure::Machine(format!(
                "the root key '{}' is missing, and everything is sealed with keys that it opens. It is in no backup: \
                 put the copy there that was kept apart, or name it with --root-key",
                self.root.display()
            )),
            other => Failure::Machine(format!(
                "{other}: put back the copy of the root key that was kept apart, or the folder '{FOLDER}' from a backup"
            )),
        })
    }

    /// Whether no key was wrapped yet.
    fn is_unused(&self) -> Result<bool, Failure> {
        let files = fs::read_dir(&self.folder);
        Ok(files.map_err(|error| io_failure(&self.folder, "cannot be read", &error))?.next().is_none())
    }

    /// Whether the key of a tenant was destroyed, as far as the root key is at hand.
    pub(crate) fn is_destroyed(&self, tenant: TenantId) -> bool {
        Keyring::open(&self.root, &self.folder).is_ok_and(|keys| keys.is_destroyed(tenant))
    }
}

/// What is asked of a keyring, also over the door of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Request {
    /// New versions of all tenants' keys, or of one tenant's.
    Rotate(Option<String>),
    /// No key any more.
    Destroy(String),
}

/// What became of it: how many tenants it was done for, or why it was not.
pub(crate) type Answer = Result<u64, String>;

/// Does what is asked. `step` is called before each tenant.
pub(crate) fn answer(keyring: &Keyring, request: &Request, mut step: impl FnMut()) -> Answer {
    let parse = |text: &str| TenantId::parse(text).map_err(|error| format!("the tenant '{text}' {error}"));
    let unknown = |text: &str| format!("there is no key of the tenant '{text}'");
    let told = |error: KeyError| error.to_string();
    match request {
        Request::Destroy(text) => {
            let tenant = parse(text)?;
            if tenant == SYSTEM_TENANT {
                return Err(format!("'{text}' is the platform itself: without its key no tenant works"));
            }
            if !keyring.is_destroyed(tenant) && keyring.of(tenant).map_err(told)?.is_none() {
                return Err(unknown(text));
            }
            keyring.destroy(tenant).map(|()| 1).map_err(told)
        }
        Request::Rotate(Some(text)) => match keyring.rotate(parse(text)?).map_err(told)? {
            Some(_) => Ok(1),
            None => Err(unknown(text)),
        },
        Request::Rotate(None) => {
            let mut rotated = 0;
            for tenant in keyring.tenants().map_err(told)? {
                step();
                match keyring.rotate(tenant) {
                    Ok(version) => rotated += u64::from(version.is_some()),
                    // Destroyed meanwhile.
                    Err(KeyError::Destroyed) => {}
                    Err(error) => {
                        return Err(format!("{rotated} keys were rotated, then {tenant} failed: {error}"));
                    }
                }
            }
            Ok(rotated)
        }
    }
}

pub(crate) fn run(what: &KeysWhat) -> Result<(), Failure> {
    cli::log_warnings()?;
    match what {
        KeysWhat::Rotate(args) => rotate(args),
        KeysWhat::Destroy(args) => destroy(args),
    }
}

fn rotate(args: &RotateKeys) -> Result<(), Failure> {
    let done = ask(&args.data, args.root_key.as_deref(), &Request::Rotate(args.tenant.clone()))?;
    match args.json {
        true => say(json!({"data": args.data, "rotated": done})),
        false => say(format_args!(
            "{done} tenants have a new version of their key. What is written from now on is sealed with it."
        )),
    }
    Ok(())
}

fn destroy(args: &DestroyKey) -> Result<(), Failure> {
    ask(&args.data, args.root_key.as_deref(), &Request::Destroy(args.tenant.clone()))?;
    let root = Keys::of(&args.data, args.root_key.as_deref()).root;
    if args.json {
        say(json!({"data": args.data, "destroyed": args.tenant, "rootKey": root}));
        return Ok(());
    }
    say(format_args!("The key of {} is destroyed: nothing of it can be read again.", args.tenant));
    say(format_args!(
        "Replace every copy of the root key by '{}' as it is now: an old copy still opens old backups.",
        root.display()
    ));
    Ok(())
}

/// Asks the server that runs on a folder, or does it on the stopped folder.
fn ask(data: &Path, root_key: Option<&Path>, request: &Request) -> Result<u64, Failure> {
    let answered = match admin::connect(data) {
        Some(mut stream) => {
            let lost = |why: String| {
                Failure::Unavailable(format!(
                    "the server on '{}' did not say whether it was done: {why}: ask again, it is safe to repeat",
                    data.display()
                ))
            };
            let line = json!(request).to_string();
            let asked = stream.write_all(format!("{}{line}\n", admin::KEYS).as_bytes());
            asked.map_err(|error| lost(error.to_string()))?;
            let mut text = String::new();
            let read = stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| lost(error.to_string()))?;
            serde_json::from_str::<Answer>(&text).map_err(|_| lost("its answer is not whole".to_owned()))?
        }
        None => {
            let stores = Stores::open_existing(data, root_key)?;
            let answered = answer(stores.keyring(), request, || ());
            stores.close();
            answered
        }
    };
    answered.map_err(Failure::Usage)
}
