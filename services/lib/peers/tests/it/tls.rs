//! Who may talk to whom.

use std::path::PathBuf;
use std::sync::Arc;

use peers::{Peers, Settings, Tls, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tonic::Code;

use crate::world::{Caller, Kind, Load, Node, Start, With, fixed, settings, until};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate is like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Valid,
    Expired,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `hosts`, and its key.
    fn certificate(&self, hosts: &[&str], kept: Kept) -> (String, String) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if kept == Kept::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The files of one process.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new(authority: &Authority, hosts: &[&str], kept: Kept) -> Self {
        let files = Files { folder: TempDir::new().unwrap() };
        files.write("ca", &authority.pem);
        files.issue(authority, hosts, kept);
        files
    }

    pub(crate) fn issue(&self, authority: &Authority, hosts: &[&str], kept: Kept) {
        let (certificate, key) = authority.certificate(hosts, kept);
        self.write("certificate", &certificate);
        self.write("key", &key);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.path("certificate"),
            key: self.path("key"),
            ca: self.path("ca"),
            name: None,
        }
    }

    fn tls(&self) -> Arc<Tls> {
        Tls::load(&self.settings()).unwrap()
    }

    async fn node(&self) -> (Node, Arc<Tls>) {
        let tls = self.tls();
        (Start { tls: Some(Arc::clone(&tls)), ..Start::default() }.run().await, tls)
    }

    fn peers(&self, settings: Settings) -> Arc<Peers> {
        Peers::new(&Settings { tls: Some(self.settings()), ..settings }).unwrap()
    }
}

pub(crate) const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// Why the only process cannot be reached, after a write that is refused.
async fn refused(peers: &Arc<Peers>) -> String {
    let status = Caller::new(peers).write("pub_1", With::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "nothing was sent: {status:?}");
    peers.endpoints("catalog")[0].why.clone().expect("it could not be reached")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_prove_who_they_are() {
    let authority = Authority::new("cell");
    let (node, _) = Files::new(&authority, HERE, Kept::Valid).node().await;
    let caller = Files::new(&authority, &["somewhere-else"], Kept::Valid);
    let by_address = caller.peers(fixed(&[node.address]));
    assert_eq!(Caller::new(&by_address).read("pub_1", With::default()).await.unwrap(), node.address);
    let by_name = caller.peers(settings(&[&format!("localhost:{}", node.address.port())]));
    assert_eq!(Caller::new(&by_name).read("pub_1", With::default()).await.unwrap(), node.address);
}

#[tokio::test(flavor = "multi_thread")]
#[rustfmt::skip] // columns
async fn whoever_cannot_prove_it_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let check = async |server: Files, client: Files, why: &str| {
        let (node, _) = server.node().await;
        let refused = refused(&client.peers(fixed(&[node.address]))).await;
        assert!(refused.contains(why), "'{refused}' says nothing of '{why}'");
        assert_eq!(node.calls(), 0);
    };
    let files = |authority: &Authority, believes: &Authority, hosts: &[&str], kept| {
        let files = Files::new(authority, hosts, kept);
        files.write("ca", &believes.pem);
        files
    };
    use Kept::{Expired, Valid};
    //    the one that serves                  the one that calls                    why
    check(files(&theirs, &ours, HERE, Valid),  files(&ours, &ours, HERE, Valid),     "UnknownIssuer").await;
    check(files(&ours, &ours, HERE, Valid),    files(&theirs, &ours, HERE, Valid),   "UnknownCA").await;
    check(files(&ours, &ours, HERE, Expired),  files(&ours, &ours, HERE, Valid),     "expired").await;
    check(files(&ours, &ours, HERE, Valid),    files(&ours, &ours, HERE, Expired),   "CertificateExpired").await;
    check(files(&ours, &ours, &["b"], Valid),  files(&ours, &ours, HERE, Valid),     "not valid for").await;
}

/// Somebody who believes us and has no certificate himself.
#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_no_connection() {
    let authority = Authority::new("cell");
    let files = Files::new(&authority, HERE, Kept::Valid);
    let (node, _) = files.node().await;
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes());
    roots.add(pem.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let error = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");

    // And somebody who does not even speak TLS, either way.
    let plain = Peers::new(&fixed(&[node.address])).unwrap();
    refused(&plain).await;
    let open = Start::default().run().await;
    let why = refused(&files.peers(fixed(&[open.address]))).await;
    assert!(why.contains("TLS"), "{why}");
    assert_eq!(node.calls() + open.calls(), 0);
}

/// One name for all processes, wherever they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_ones_own_is_what_certificates_must_carry() {
    let authority = Authority::new("cell");
    let files = Files::new(&authority, &["cargo-pilot"], Kept::Valid);
    let (node, _) = files.node().await;
    let named = TlsSettings { name: Some("cargo-pilot".to_owned()), ..files.settings() };
    let peers = Peers::new(&Settings { tls: Some(named), ..fixed(&[node.address]) }).unwrap();
    assert_eq!(Caller::new(&peers).read("pub_1", With::default()).await.unwrap(), node.address);
}

/// Certificates and the authority are replaced under load: first all believe both, then all have new ones, then nobody
/// believes the old one.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_everything_runs() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (server, client) = (Files::new(&old, HERE, Kept::Valid), Files::new(&old, HERE, Kept::Valid));
    let serve = peers::ServeSettings { connection_age_ms: 1_100, ..peers::ServeSettings::default() };
    let tls = server.tls();
    let node = Start { tls: Some(Arc::clone(&tls)), serve, ..Start::default() }.run().await;
    let peers = client.peers(fixed(&[node.address]));
    let load = Load::start(&Caller::new(&peers), Kind::Write, 4);
    load.more(10).await;
    let reload = async || {
        tls.reload();
        peers.reload();
        // Until each connection was made anew.
        let moves = peers.counts()["catalog"].moves;
        until("a connection ends by age", || peers.counts()["catalog"].moves > moves).await;
        load.more(10).await;
    };
    for files in [&server, &client] {
        files.write("ca", &format!("{}{}", old.pem, new.pem));
    }
    reload().await;
    for files in [&server, &client] {
        files.issue(&new, HERE, Kept::Valid);
    }
    reload().await;
    for files in [&server, &client] {
        files.write("ca", &new.pem);
    }
    reload().await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
    // The old ones are worth nothing any more.
    let why = refused(&Files::new(&old, HERE, Kept::Valid).peers(fixed(&[node.address]))).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
}

/// Files that cannot be used change nothing; the next good ones do.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_the_old_certificates_in_use() {
    let (authority, other) = (Authority::new("cell"), Authority::new("other"));
    let server = Files::new(&authority, HERE, Kept::Valid);
    let client = Files::new(&authority, HERE, Kept::Valid);
    let (node, tls) = server.node().await;
    let certificate = std::fs::read_to_string(server.path("certificate")).unwrap();
    let (_, other_key) = authority.certificate(HERE, Kept::Valid);
    let works = async || {
        tls.reload();
        Caller::new(&client.peers(fixed(&[node.address]))).read("pub_1", With::default()).await.is_ok()
    };
    for (name, text) in [
        ("certificate", "no certificate"),
        ("certificate", &certificate[..certificate.len() / 2]),
        ("key", &other_key),
        ("key", ""),
        ("ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        let good = std::fs::read_to_string(server.path(name)).unwrap();
        server.write(name, text);
        let refused = Tls::load(&server.settings()).map(drop).unwrap_err().to_string();
        assert!(refused.contains(&*server.path(name).to_string_lossy()), "{refused}");
        assert!(works().await, "{refused}");
        server.write(name, &good);
    }
    std::fs::remove_file(server.path("ca")).unwrap();
    assert!(works().await);
    // A good one again, though nobody here believes it.
    server.write("ca", &other.pem);
    assert!(!works().await);
}
