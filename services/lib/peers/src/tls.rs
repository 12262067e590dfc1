//! Certificates: each side proves who it is, and the files may change while the process runs.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::{Error, TlsSettings};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The protocol that both sides speak. Source: RFC 9113, section 3.2.
const HTTP_2: &[u8] = b"h2";

/// The certificates of this process and the authorities that it believes. Connections that are made or taken from now
/// on use what is there now; those that are open stay as they are, until their age ends them.
pub struct Tls {
    settings: TlsSettings,
    name: Option<ServerName<'static>>,
    current: RwLock<Configs>,
    /// What was read last, whether or not it could be used.
    seen: Mutex<Contents>,
}

#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// The files, byte by byte: times of change are too coarse, and links that are swapped keep them.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn load(settings: &TlsSettings) -> Result<Arc<Tls>, Error> {
        let name = settings.name.as_ref().map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| Error::Setting {
                setting: "tls.name",
                why: format!("'{name}' is no name of a host"),
            })
        });
        let name = name.transpose()?;
        let contents = Contents::read(settings)?;
        let configs = contents.configs(settings)?;
        Ok(Arc::new(Tls {
            settings: settings.clone(),
            name,
            current: RwLock::new(configs),
            seen: Mutex::new(contents),
        }))
    }

    /// Reads the files again if they have changed. Those that cannot be used are logged, once for each change, and
    /// the old ones stay in use.
    pub fn reload(&self) {
        let mut seen = self.seen.lock();
        let contents = match Contents::read(&self.settings) {
            Ok(contents) if contents == *seen => return,
            Ok(contents) => contents,
            Err(error) => {
                tracing::error!("the old certificates stay in use: {error}");
                return;
            }
        };
        match contents.configs(&self.settings) {
            Ok(configs) => {
                *self.current.write() = configs;
                let file = self.settings.certificate.display();
                tracing::info!("new certificates are in use, from '{file}'");
            }
            Err(error) => tracing::error!("the old certificates stay in use: {error}"),
        }
        *seen = contents;
    }

    /// Reads the files again whenever they have changed, until `stop` is cancelled.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let tls = Arc::clone(&self);
            // A file system may take its time.
            if let Err(error) = tokio::task::spawn_blocking(move || tls.reload()).await {
                tracing::error!("certificates were not looked at: {error}");
            }
        }
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.read().client)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().server)
    }

    /// The name that the certificate of `host`, a name or an address, must carry.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>, String> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => {
                ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name of a host"))
            }
        }
    }
}

impl Contents {
    fn read(settings: &TlsSettings) -> Result<Contents, Error> {
        Ok(Contents {
            certificate: read(&settings.certificate)?,
            key: read(&settings.key)?,
            ca: read(&settings.ca)?,
        })
    }

    fn configs(&self, settings: &TlsSettings) -> Result<Configs, Error> {
        let refused = |file: &Path, why: String| Error::Tls { file: file.to_owned(), why };
        let chain = certificates(&self.certificate).map_err(|why| refused(&settings.certificate, why))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| refused(&settings.key, format!("holds no private key: {error}")))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca).map_err(|why| refused(&settings.ca, why))? {
            let unusable =
                |error| refused(&settings.ca, format!("holds a certificate of no authority: {error}"));
            roots.add(authority).map_err(unusable)?;
        }
        let (roots, provider) = (Arc::new(roots), provider());

        let pair = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider);
        pair.map_err(|error| refused(&settings.key, format!("does not fit the certificate: {error}")))?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| refused(&settings.ca, format!("cannot be used: {error}")))?;
        // It may be right for a while, for example when the authorities are replaced first here and then there.
        if let [own, between @ ..] = chain.as_slice()
            && let Err(error) = verifier.verify_client_cert(own, between, UnixTime::now())
        {
            let file = settings.certificate.display();
            tracing::warn!("others will refuse '{file}', as this process would: {error}");
        }
        let unusable =
            |error: rustls::Error| refused(&settings.certificate, format!("cannot be used: {error}"));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = vec![HTTP_2.to_vec()];
        // A session that is taken up again is not verified again; and connections are few and long.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| refused(&settings.ca, format!("cannot be used: {error}")))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        client.alpn_protocols = vec![HTTP_2.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |why: String| Error::Tls { file: path.to_owned(), why };
    let file = File::open(path).map_err(|error| refused(format!("cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(format!("cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(refused(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("holds no certificate".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is no PEM of certificates: {error}")),
    }
}
