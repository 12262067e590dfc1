//! `account purge`: the end of a tenant. Its key is destroyed first, so that no copy can be read from then on, in no
//! backup either; then what was sealed with it is removed from all stores; then a signed receipt says so.
//!
//! What it will say is written down before the first step, so that an interrupted purge is completed by the next.

use std::fs;
use std::path::{Path, PathBuf};

use audit::config::ORIGIN;
use audit::domain::note::{Checkpoint, Role, Signer, put_together};
use calendar::Instant;
use ids::TenantId;
use journal_embedded::{Loader, Options, Section};
use serde_json::json;
use tenant::domain::Standing;

use crate::account::Of;
use crate::cli::{self, Failure, say};
use crate::data::{self, Stores, io_failure, make_folder, store_names, write_synced};
use crate::restore::{self, tally, written};

/// Folder of the receipts, in the data folder.
pub(crate) const FOLDER: &str = "receipts";

pub(crate) fn run(of: &Of) -> Result<(), Failure> {
    let data = of.data.as_path();
    let begun = match resumed(of)? {
        Some(begun) => begun,
        None => {
            let stores = Stores::open_existing(data, of.root_key.as_deref())?;
            let begun = cli::run_async(begin(of, &stores))?;
            stores.close();
            drop(stores);
            begun.counted(data)?
        }
    };
    let signer = Signer::new(Role::Log, &format!("{ORIGIN}{}", begun.tenant), &data::audit_key(data)?);

    restore::begin(data, &format!("{}{} {}", restore::PURGE, begun.tenant, of.slug))?;
    remove(data, begun.tenant)?;
    let text =
        format!("{}key destroyed\nkept id and short name, so that neither is used again\n", begun.text);
    let receipt = put_together(&text, &[signer.sign(&text)]);
    let path = file(data, begun.tenant, "receipt");
    make_folder(&data.join(FOLDER))?;
    write_synced(&path, receipt.as_bytes())?;
    restore::end(data)?;
    let head = data.join("audit-witness").join(begun.tenant.to_string());
    for gone in [head, file(data, begun.tenant, "begun")] {
        match fs::remove_file(&gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_failure(&gone, "cannot be removed", &error));
            }
            _ => {}
        }
    }
    if of.json {
        say(json!({
            "tenantId": begun.tenant.to_string(), "receipt": receipt, "file": path, "key": signer.verifier().vkey(),
        }));
        return Ok(());
    }
    say(format_args!("{receipt}"));
    say(format_args!(
        "The receipt is kept in '{}', signed with the key {}",
        path.display(),
        signer.verifier().vkey()
    ));
    say("Replace every copy of the root key by the one of this folder: an old copy still opens old backups.");
    Ok(())
}

/// A purge that may be finished.
struct Begun {
    tenant: TenantId,
    /// The beginning of the receipt.
    text: String,
}

/// A purge of this tenant that was interrupted while its records were removed.
fn resumed(of: &Of) -> Result<Option<Begun>, Failure> {
    let data = of.data.as_path();
    let marker = restore::unfinished(data)?;
    let named = marker.as_deref().and_then(|text| text.strip_prefix(restore::PURGE)?.split_once(' '));
    let Some((tenant, _)) = named.filter(|(_, slug)| *slug == of.slug) else { return Ok(None) };
    let Ok(tenant) = TenantId::parse(tenant) else { return Ok(None) };
    let path = file(data, tenant, "begun");
    let text = fs::read_to_string(&path).map_err(|error| io_failure(&path, "cannot be read", &error))?;
    Ok(Some(Begun { tenant, text }))
}

fn file(data: &Path, tenant: TenantId, kind: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{tenant}.{kind}"))
}

/// Sees that the tenant may be purged, and destroys its key.
async fn begin(of: &Of, stores: &Stores) -> Result<Begun, Failure> {
    let data = of.data.as_path();
    let platform = stores.platform(gateway::Config::default(), outbound::Settings::default())?;
    let tenants = platform.tenant.app();
    let refused = |why: String| Failure::Usage(format!("'{}' is not purged: {why}", of.slug));
    let tenant = tenants.tenant_named(&of.slug).await.map_err(|error| refused(error.to_string()))?;
    let draft = file(data, tenant, "begun");
    if stores.keyring().is_destroyed(tenant) {
        let text = match fs::read_to_string(&draft) {
            Ok(text) => text,
            Err(_) if file(data, tenant, "receipt").exists() => {
                return Err(refused("it was purged before".to_owned()));
            }
            // Its key was destroyed by another command: there was no notice.
            Err(_) => {
                let text = format!("{ORIGIN}{tenant}\npurged {}\n", tenants.journal().env().now());
                make_folder(&data.join(FOLDER))?;
                write_synced(&draft, text.as_bytes())?;
                text
            }
        };
        return Ok(Begun { tenant, text });
    }
    let account = tenants.tenancy(&of.slug).await.map_err(|error| refused(error.to_string()))?.account;
    let now = tenants.journal().env().now();
    match account.standing {
        Standing::Closing { purge_from, .. } if purge_from <= now => {
            let text = beginning(data, tenant, purge_from, now)?;
            make_folder(&data.join(FOLDER))?;
            write_synced(&draft, text.as_bytes())?;
            let destroyed = stores.keyring().destroy(tenant);
            destroyed.map_err(|error| Failure::Machine(format!("the key of '{}': {error}", of.slug)))?;
            Ok(Begun { tenant, text })
        }
        Standing::Closing { purge_from, .. } => {
            Err(refused(format!("its data can be exported until {purge_from}")))
        }
        _ => Err(refused("it has not given notice: its owner does, with POST /v1/account:close".to_owned())),
    }
}

/// What the receipt says of the time before: when, and the last head of the audit log that both keys signed.
fn beginning(data: &Path, tenant: TenantId, purge_from: Instant, now: Instant) -> Result<String, Failure> {
    let path = data.join("audit-witness").join(tenant.to_string());
    let head = match fs::read_to_string(&path) {
        Ok(text) => Checkpoint::parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_failure(&path, "cannot be read", &error)),
    };
    let log = head.map(|head| {
        head.text().split_once('\n').map_or_else(String::new, |(_, rest)| rest.replace('\n', " "))
    });
    let log = log.map(|log| format!("audit-log {}\n", log.trim_end())).unwrap_or_default();
    Ok(format!("{ORIGIN}{tenant}\npurged {now}\nexport-window-ended {purge_from}\n{log}"))
}

impl Begun {
    /// Says how many records there are of the tenant, a line for each store, before any of them is removed.
    fn counted(mut self, data: &Path) -> Result<Begun, Failure> {
        if !self.text.contains("\nremoved ") {
            for name in store_names() {
                let records = records(data, name, self.tenant)?;
                self.text.push_str(&format!("removed {records} records of {name}\n"));
            }
            write_synced(&file(data, self.tenant, "begun"), self.text.as_bytes())?;
        }
        Ok(self)
    }
}

/// How many records a store has of a tenant.
fn records(data: &Path, name: &'static str, tenant: TenantId) -> Result<u64, Failure> {
    let (store, dump) = written(data, name)?;
    let mut records = 0;
    for section in Section::ALL.into_iter().filter(|section| *section != Section::Feed) {
        records += tally(&dump, section, Some(tenant))?.records;
    }
    drop(dump);
    store.close();
    Ok(records)
}

/// Removes the records of a tenant from every store, and looks that none is left.
fn remove(data: &Path, tenant: TenantId) -> Result<(), Failure> {
    for name in store_names() {
        let path = data.join(name);
        let loader = Loader::open(&path, &Options::default()).map_err(|error| data::failure(data, error))?;
        for section in Section::ALL.into_iter().filter(|section| *section != Section::Feed) {
            let none = std::iter::empty::<Result<_, std::convert::Infallible>>();
            loader.replace(section, tenant, none).map_err(|error| {
                Failure::Machine(format!("the records of '{name}' cannot be removed: {error}: run it again"))
            })?;
        }
        loader.finish_replaced().map_err(|error| data::failure(data, error))?;
        let left = records(data, name, tenant)?;
        if left != 0 {
            return Err(Failure::Machine(format!(
                "'{name}' still has {left} records of {tenant}: run it again"
            )));
        }
    }
    Ok(())
}
