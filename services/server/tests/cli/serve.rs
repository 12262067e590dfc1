//! `serve`: start, stop, and what it says.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::dataset::Ledger;
use crate::http::{connect, read_answer};
use crate::process::{PATIENCE, Process, Server, command, run, serve_args, wait_until};

/// What the demo tenant has.
pub(crate) fn assert_demo(server: &Server) {
    let mut http = server.demo();
    let mut skus: Vec<String> = http
        .all("/v1/variants", "variants")
        .iter()
        .map(|variant| variant["sku"].as_str().unwrap().to_owned())
        .collect();
    skus.sort();
    let expected = [
        "COF-COL-1000",
        "COF-ETH-1000",
        "FILTER-4",
        "GRINDER-M1",
        "MUG-BLUE",
        "MUG-SAND",
        "SUGAR-CANE",
        "TEA-EARL-100",
    ];
    assert_eq!(skus, expected);
    let mut codes: Vec<String> = http
        .all("/v1/locations", "locations")
        .iter()
        .map(|location| location["code"].as_str().unwrap().to_owned())
        .collect();
    codes.sort();
    assert_eq!(codes, ["MAIN", "SHOP-1", "SHOP-2"]);
    let lists = http.all("/v1/priceLists", "priceLists");
    assert_eq!(lists.len(), 1, "{lists:?}");
    let list = lists[0]["id"].as_str().unwrap();
    for variant in http.all("/v1/variants", "variants") {
        let prices = format!("/v1/priceLists/{list}/prices/{}/changes", variant["id"].as_str().unwrap());
        assert_eq!(http.all(&prices, "changes").len(), 1, "{variant}");
    }
    // A receipt, two transfers with two legs each, and four sales of each; a breakage.
    let ledger = Ledger::fetch(&mut http);
    assert_eq!(ledger.movements(), 8 * (1 + 2 * 2 + 4) + 1);
    assert_eq!(ledger.items["MUG-BLUE"], (126_000, 126 * 275, 10));
}

/// SLF-1: one process without any other service, from an empty directory, serves the whole API.
#[test]
fn from_an_empty_directory_everything_is_served() {
    let folder = tempdir().unwrap();
    let args = ["serve", "--demo", "--listen", "127.0.0.1:0", "--json"];
    let server = Server::ready(Process::spawn(command(folder.path(), args)));
    assert_eq!(server.data, folder.path().canonicalize().unwrap().join("cargo-pilot-data"));
    assert_demo(&server);

    let mut http = server.demo();
    let document = http.get("/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    for (page, expected) in [("/docs", 200), ("/docs/", 200), ("/livez", 200), ("/readyz", 200)] {
        let (status, _) = http.send("GET", page, "", None).unwrap();
        let redirected = page == "/docs" && (300..400).contains(&status);
        assert!(status == expected || redirected, "{page}: {status}");
    }
    // The audit log follows: its first leaf can be asked for once it is there.
    wait_until("the audit log has leaves", || http.get("/v1/auditLog/checkpoint")["treeSize"] != "0");
    let mut called = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let bare = path.replace("{variantId}", "var_0").replace(['{', '}'], "");
            let method = method.to_uppercase();
            let body = (method != "GET").then(|| json!({}));
            let (status, answer) = http.send(&method, &bare, "key", body.as_ref()).unwrap();
            assert!(status < 500, "{method} {path}: {status} {answer}");
            assert_ne!(answer["reason"], "UNKNOWN_ROUTE", "{method} {path}");
            if method == "GET" && !path.contains('{') && path != "/v1/movements" {
                // Keys have no sessions.
                let of_users = operation["x-permission"].as_str().unwrap().starts_with("self.");
                assert_eq!(status, if of_users { 409 } else { 200 }, "{path}: {answer}");
            }
            called += 1;
        }
    }
    assert!(called > 30, "only {called} operations");
    server.stop();
    run(folder.path(), ["verify"]).ok();
}

/// The same key again, and the same data.
#[test]
fn a_second_start_continues() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    assert_demo(&server);
    let (first, key) = (Ledger::fetch(&mut server.demo()), server.key.clone());
    let mut http = server.demo();
    http.product("MY-OWN");
    server.stop();

    let server = Server::start(folder.path(), &["--demo"]);
    assert_eq!(server.key, key);
    assert_eq!(Ledger::fetch(&mut server.demo()), first);
    assert_eq!(server.demo().all("/v1/variants", "variants").len(), 9);
    server.stop();

    // Without `--demo` the data is there as well.
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.key, key);
    assert_eq!(Ledger::fetch(&mut server.demo()), first);
    server.stop();
}

/// What people made of the demo data is theirs.
#[test]
fn a_later_start_repairs_nothing_that_people_changed() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let mut http = server.demo();
    let mug = http.get("/v1/variants?sku=MUG-BLUE")["variants"][0].clone();
    let path = format!("/v1/variants/{}", mug["id"].as_str().unwrap());
    let head = http.head("PATCH", &path, "", 18);
    let head = head.replace("\r\n\r\n", &format!("\r\nif-match: {}\r\n\r\n", mug["etag"].as_str().unwrap()));
    let mut connection = connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    connection.get_mut().write_all(format!("{head}{{\"sku\":\"MUG-NAVY\"}}").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut connection).unwrap().0, 200);
    server.stop();

    let server = Server::start(folder.path(), &["--demo"]);
    let mut http = server.demo();
    assert_eq!(http.all("/v1/variants", "variants").len(), 8);
    assert_eq!(http.get("/v1/variants?sku=MUG-NAVY")["variants"][0]["id"], mug["id"]);
    server.stop();
}

/// A demo key that got lost, or was revoked, is replaced by whoever may read the data folder anyway.
#[test]
fn a_demo_key_that_does_not_work_is_replaced() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let (kept, first) = (server.data.join("secrets/demo-api-key"), server.key.clone());
    server.stop();
    fs::remove_file(&kept).unwrap();

    let server = Server::start(folder.path(), &["--demo"]);
    assert_demo(&server);
    let second = server.key.clone();
    assert_ne!(second, first);
    let mut http = server.demo();
    let keys = http.all("/v1/apiKeys", "apiKeys");
    assert_eq!(keys.len(), 2);
    for key in keys {
        http.send("POST", &format!("/v1/apiKeys/{}:revoke", key["id"].as_str().unwrap()), "", None).unwrap();
    }
    server.stop();

    let server = Server::start(folder.path(), &["--demo"]);
    assert_demo(&server);
    assert_ne!(server.key, second);
    server.stop();
}

/// SIGTERM: no new connections, what was begun is answered, the folder is free afterwards.
#[test]
fn a_stop_answers_what_was_begun() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let body = r#"{"name": "Late", "variants": [{"sku": "LATE"}]}"#;
    let (begin, rest) = body.split_at(body.len() / 2);
    let mut connection = connect(&address).unwrap();
    let head = server.demo().head("POST", "/v1/products", "", body.len());
    connection.get_mut().write_all((head + begin).as_bytes()).unwrap();
    // It has been read when a later request on another connection is answered.
    server.demo().get("/v1/caller");

    server.process.terminate();
    wait_until("no new connections", || TcpStream::connect(&address).is_err());
    connection.get_mut().write_all(rest.as_bytes()).unwrap();
    let (status, answer) = read_answer(&mut connection).unwrap();
    assert_eq!(status, 201, "{answer}");
    server.stopped();

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.demo().get("/v1/variants?sku=LATE")["variants"][0]["id"], answer["variants"][0]["id"]);
    server.stop();
}

/// Clients that are connected and ask for nothing do not hold up the end, however long it may take.
#[test]
fn idle_clients_do_not_hold_up_a_stop() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("cargo-pilot.toml"), "[gateway]\ndrain_ms = 600000").unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let silent = connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let mut rest = server.demo();
    rest.get("/v1/caller");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = server.url.clone();
    let grpc = runtime.block_on(async move {
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let mut client = proto::tenant::v1::tenant_service_client::TenantServiceClient::new(channel.clone());
        let refused = client.get_caller(proto::tenant::v1::GetCallerRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        channel
    });
    server.stop();
    drop((silent, rest, grpc));
}

#[test]
fn people_read_where_it_is_and_how_to_stop() {
    let folder = tempdir().unwrap();
    let mut process = command(folder.path(), ["serve", "--demo", "--listen", "127.0.0.1:0"]);
    process.env("CARGO_PILOT_DATA", "elsewhere");
    let process = Process::spawn(process);
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        text += &(process.line(PATIENCE).expect("a line") + "\n");
    }
    for word in ["ready", "http://127.0.0.1:", "/docs", "cp_live_", "elsewhere", "curl"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    process.terminate();
    assert_eq!(process.finish().code, Some(0));
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_made() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let finished = run(folder.path(), ["serve", "--listen", &address, "--json"]);
    let message = finished.refused(74);
    assert!(message.contains(&address) && message.contains("--listen"), "{message}");
    assert!(!folder.path().join("cargo-pilot-data").exists());
}

/// Before a port is opened or a folder is made.
#[test]
fn settings_that_do_not_exist_are_refused_first() {
    let folder = tempdir().unwrap();
    let check = |toml: &str, environment: &[(&str, &str)], extra: &[&str], word: &str| {
        fs::write(folder.path().join("cargo-pilot.toml"), toml).unwrap();
        let mut command = command(folder.path(), serve_args("data").iter().chain(extra));
        command.envs(environment.iter().copied());
        let finished = Process::spawn(command).finish();
        let message = finished.refused(64);
        assert!(message.contains(word), "{message}");
        assert!(!folder.path().join("data").exists(), "{word}");
    };
    check("[gateway]\ndeadline_s = 5", &[], &[], "deadline_s");
    check("[log]\nlevel = 'stock=loud'", &[], &[], "loud");
    check("lisen = 1", &[], &[], "lisen");
    check("", &[("CARGO_PILOT__GATEWAY__REQUESTS", "5")], &[], "requests");
    check("", &[], &["--config", "nowhere.toml"], "nowhere.toml");

    // The place in the file is shown below it.
    fs::write(folder.path().join("cargo-pilot.toml"), "[log").unwrap();
    let finished = run(folder.path(), serve_args("data"));
    assert_eq!(finished.code, Some(64));
    assert!(
        finished.stderr.contains("line 1") && finished.stderr.contains("cargo-pilot.toml"),
        "{finished:?}"
    );

    fs::write(folder.path().join("cargo-pilot.toml"), "[gateway]\nrequests_max = 100").unwrap();
    Server::start(folder.path(), &[]).stop();
}

/// One server per folder; the second one leaves the first in peace.
#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    for args in [&serve_args("data")[..], &["verify", "--data", "data"]] {
        let finished = run(folder.path(), args);
        let message = finished.refused(75);
        assert!(message.contains("'data'") && message.contains("stop"), "{message}");
        assert_eq!(finished.stdout, "");
    }
    assert_demo(&server);
    server.stop();
}

/// A script that reads only the first line does not disturb the server.
#[test]
fn nobody_needs_to_read_on() {
    let folder = tempdir().unwrap();
    let mut server = command(folder.path(), ["serve", "--listen", "127.0.0.1:0"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut server = server.stdout(writer).stderr(std::process::Stdio::null()).spawn().unwrap();
    let url = folder.path().join("cargo-pilot-data/server.url");
    wait_until("ready", || read(&url).is_some_and(|url| url.starts_with("http://")));
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Who is asked for a path that needs no key, and who is not.
#[test]
fn a_wrong_key_opens_nothing() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let key = server.key.clone().unwrap();
    let last = if key.ends_with('0') { '1' } else { '0' };
    let mut http = server.http(&format!("{}{last}", &key[..key.len() - 1]));
    let (status, answer): (u16, Value) = http.send("GET", "/v1/balances", "", None).unwrap();
    assert_eq!(status, 401, "{answer}");
    server.stop();
}
