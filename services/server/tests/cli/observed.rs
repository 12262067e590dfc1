//! What a server tells of itself on its admin port.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use tempfile::tempdir;

use crate::http::connect;
use crate::process::{Process, Server, command, run, serve_args, wait_until};

/// Status and body of a page of the admin port.
fn page(admin: &str, path: &str) -> (u16, String) {
    let mut connection = connect(admin.strip_prefix("http://").unwrap()).unwrap();
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// There is no admin port unless somebody asks for it; then it tells of the process from the start to the end.
#[test]
fn the_admin_port_tells_of_the_process() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    assert_eq!(server.admin, None);
    server.stop();

    let server = Server::start(folder.path(), &["--admin-listen", "127.0.0.1:0"]);
    let admin = server.admin.clone().unwrap();
    for path in ["/livez", "/startupz", "/readyz"] {
        assert_eq!(page(&admin, path).0, 200, "{path}");
    }
    let (status, metrics) = page(&admin, "/metrics");
    let version = format!("cp_build_info{{name=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(status == 200 && metrics.contains(&version) && metrics.contains("\ncp_ready 1\n"), "{metrics}");
    // It is no door to anything else.
    assert_eq!(page(&admin, "/v1/balances").0, 404);

    // While requests are being answered, it is seen to drain.
    let mut slow = connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head = server.demo().head("POST", "/v1/locations", "", 2);
    slow.get_mut().write_all(head.as_bytes()).unwrap();
    wait_until("the request has come", || server.demo().get("/v1/locations")["locations"].is_array());
    server.process.terminate();
    wait_until("it drains", || page(&admin, "/readyz").0 == 503);
    assert_eq!(page(&admin, "/livez").0, 200);
    slow.get_mut().write_all(b"{}").unwrap();
    server.stopped();
}

/// A port that is taken stops the server before it opens anything, and the message says which one it is.
#[test]
fn an_admin_port_that_is_taken_is_named() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = [&serve_args("data")[..], &["--admin-listen", &address]].concat();
    let finished = run(folder.path(), args);
    let message = finished.refused(74);
    assert!(message.contains(&address) && message.contains("--admin-listen"), "{message}");
    assert!(!folder.path().join("data/tenant").exists());

    let mut settings = command(folder.path(), serve_args("data"));
    settings.env("CARGO_PILOT__ADMIN__LISTEN", "127.0.0.1:0");
    let server = Server::ready(Process::spawn(settings));
    assert_eq!(page(server.admin.as_deref().unwrap(), "/livez").0, 200);
    server.stop();
}
