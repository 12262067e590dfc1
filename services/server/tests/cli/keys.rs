//! `keys`: rotation and destruction on real processes, and what backups know.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::backup::{backup, numbers, restore, restore_tenant, serve, two_tenants, verify};
use crate::process::{Finished, Server, run};

fn keys(folder: &Path, args: &[&str]) -> Finished {
    let at = ["--data", "data", "--json"];
    run(folder, ["keys"].iter().chain(args).chain(&at))
}

/// What a request about the movements of a tenant is answered with.
fn asked(server: &Server, key: &str) -> (u16, Value) {
    server.http(key).send("GET", "/v1/balances", "", None).unwrap()
}

fn contains(path: &Path, text: &str) -> bool {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().any(|file| contains(&file.unwrap().path(), text));
    }
    path.is_file() && fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
}

/// TEN-10: keys are rotated while the server works; old values open, also from an older backup.
#[test]
fn keys_are_rotated_while_the_server_works() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let server = serve(folder, "data");
    let wrapped = |id: &str| fs::read_to_string(folder.join("data/keys").join(id)).unwrap();
    let before = wrapped(&one.id);
    // Two tenants and the platform.
    assert_eq!(keys(folder, &["rotate"]).json()["rotated"], 3);
    assert_eq!(keys(folder, &["rotate", "--tenant", &one.id]).json()["rotated"], 1);
    assert_eq!(wrapped(&one.id).lines().count(), before.lines().count() + 2);
    one.receive(&server, 20..22);
    assert_eq!((one.lines(&server), two.lines(&server)), (numbers(22), numbers(20)));
    server.stop();
    verify(folder, "data");
    // On the stopped folder, and with a tenant that is as old as a backup from before.
    assert_eq!(keys(folder, &["rotate"]).json()["rotated"], 3);
    restore_tenant(folder, &one.id, "backup", "data").ok();
    verify(folder, "data");
    let server = serve(folder, "data");
    one.receive(&server, 10..11);
    assert_eq!((one.lines(&server), two.lines(&server)), (numbers(11), numbers(20)));
    server.stop();
    let unknown = keys(folder, &["rotate", "--tenant", "ten_01h455vb4pex5vsknk084sn02q"]);
    assert!(unknown.refused(64).contains("no key"), "{unknown:?}");
}

/// TEN-10: with its key a tenant is gone, in the folder and in backups from before, and no other is touched.
#[test]
fn a_destroyed_key_takes_its_tenant_with_it() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let server = serve(folder, "data");
    assert_eq!(asked(&server, &one.key).0, 200);
    let meant = keys(folder, &["destroy", "--tenant", &one.id]);
    assert_eq!(meant.code, Some(64), "it has to be said that it is for good");
    let destroyed = keys(folder, &["destroy", "--tenant", &one.id, "--for-good"]).json();
    assert_eq!(destroyed["destroyed"], json!(one.id));
    let is_gone = |server: &Server| {
        let (status, body) = asked(server, &one.key);
        assert_eq!((status, &body["reason"]), (409, &json!("TENANT_KEY_DESTROYED")), "{body}");
    };
    is_gone(&server);
    two.receive(&server, 20..21);
    assert_eq!(two.lines(&server), numbers(21));
    server.stop();
    verify(folder, "data");

    let server = serve(folder, "data");
    is_gone(&server);
    two.receive(&server, 21..22);
    server.stop();
    keys(folder, &["destroy", "--tenant", &one.id, "--for-good"]).ok();

    let platform = ids::TenantId::from_bytes([0; 16]).to_string();
    assert!(keys(folder, &["destroy", "--tenant", &platform, "--for-good"]).refused(64).contains("platform"));

    // The backup was made before, and carries the wrapped key.
    assert!(restore_tenant(folder, &one.id, "backup", "data").refused(65).contains("was destroyed"));
    restore(folder, "backup", "new").ok();
    assert!(folder.join("new/keys").join(&one.id).exists());
    verify(folder, "new");
    let server = serve(folder, "new");
    is_gone(&server);
    assert_eq!(two.lines(&server), numbers(10));
    server.stop();
}

/// TEN-10: what a tenant wrote is nowhere in the clear, and the root key is in no backup.
#[test]
fn neither_folder_nor_backup_has_values_in_the_clear() {
    const CANARY: &str = "Canary-4b1d";
    let (folder, one, _) = two_tenants();
    let folder = folder.path();
    let server = serve(folder, "data");
    server.http(&one.key).product(CANARY);
    backup(folder, "second").ok();
    server.stop();
    let root = fs::read_to_string(folder.join("data/secrets/root-key")).unwrap();
    let seed = root.lines().nth(2).unwrap().rsplit(' ').next().unwrap();
    for (text, places) in [(CANARY, &["data", "second"][..]), (seed, &["second"]), ("root-key", &["second"])]
    {
        for place in places {
            assert!(!contains(&folder.join(place), text), "{text} is in {place}");
        }
    }
    assert!(contains(&folder.join("data"), seed), "it is found where it is");
}
