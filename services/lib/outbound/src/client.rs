//! The client.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::address::{Allowed, is_global};
use crate::error::{BadEntry, Error};
use crate::settings::Settings;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a call may take, from the name to the last byte.
const CALL_SECONDS_MAX: u64 = 15;
/// Calls that are under way at the same time.
const CALLS_MAX: usize = 64;
/// Of those, to the same host: a slow one leaves room for the others.
const CALLS_PER_HOST_MAX: usize = 8;
/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// The port of `https`.
const HTTPS_PORT: u16 = 443;
/// The port of `http`.
const HTTP_PORT: u16 = 80;
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET` or `POST`.
    pub method: Method,
    /// The whole address.
    pub url: &'a str,
    /// Headers beside `Host`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty for none.
    pub body: Bytes,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// At most 64 KiB.
    pub body: Bytes,
}

/// Calls what lies outside.
#[derive(Clone)]
pub struct Client {
    allowed: Arc<[Allowed]>,
    tls: TlsConnector,
    calls: Arc<Mutex<HashMap<String, usize>>>,
}

/// Where a URL leads.
struct Target {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    authority: String,
}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    /// An entry of the list that is neither a host nor a network.
    ///
    /// # Panics
    /// When the crypto provider has no version of TLS: it is a build that cannot work.
    pub fn new(settings: &Settings) -> Result<Client, BadEntry> {
        let allowed = settings.allow.iter().map(|entry| Allowed::parse(entry)).collect::<Result<_, _>>()?;
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client { allowed, tls: TlsConnector::from(Arc::new(config)), calls: Arc::default() })
    }

    /// Whether an address has a form that may be called: `https`, or what the operator allows. What its name leads to
    /// is judged when it is called.
    pub fn may_call(&self, url: &str) -> bool {
        let Some(target) = Target::parse(url) else { return false };
        let literal = target.host.parse::<IpAddr>().ok();
        let allowed = self.allowed.iter().any(|entry| match (entry, literal) {
            (Allowed::Host(_), _) => entry.covers(&target.host, IpAddr::from([0, 0, 0, 0])),
            (Allowed::Network(..), Some(address)) => entry.covers(&target.host, address),
            (Allowed::Network(..), None) => false,
        });
        let has_networks = self.allowed.iter().any(|entry| matches!(entry, Allowed::Network(..)));
        // A name may turn out to lie in a network that is allowed.
        let may_turn_out = target.secure && literal.is_none() && has_networks;
        let public = target.secure && target.port == HTTPS_PORT && literal.is_none_or(is_global);
        allowed || may_turn_out || public
    }

    /// Makes one call. Whatever its status is, it is an answer; redirects are not followed.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let target = Target::parse(ask.url).ok_or(Error::Refused)?;
        // What is read and what is sent do not take each other's places.
        let _place = Place::take(&self.calls, &format!("{} {}", ask.method, target.host))?;
        let limit = Duration::from_secs(CALL_SECONDS_MAX);
        tokio::time::timeout(limit, self.go(&target, ask)).await.map_err(|_| Error::Unreachable)?
    }

    async fn go(&self, target: &Target, ask: Ask<'_>) -> Result<Answer, Error> {
        let tcp = self.connect(target).await?;
        if !target.secure {
            return exchange(tcp, target, ask).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Error::Refused)?;
        let tls = self.tls.connect(name, tcp).await.map_err(|_| Error::Unreachable)?;
        exchange(tls, target, ask).await
    }

    /// Connects to an address that was judged, and to no other.
    async fn connect(&self, target: &Target) -> Result<TcpStream, Error> {
        let found: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, target.port)],
            Err(_) => {
                let found = lookup_host((target.host.as_str(), target.port)).await;
                found.map_err(|_| Error::Unreachable)?.collect()
            }
        };
        let judged = found.into_iter().filter(|address| self.permits(target, address.ip()));
        let mut outcome = Error::Refused;
        for address in judged.take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(_) => outcome = Error::Unreachable,
            }
        }
        Err(outcome)
    }

    fn permits(&self, target: &Target, address: IpAddr) -> bool {
        let public = target.secure && target.port == HTTPS_PORT && is_global(address);
        // Without TLS nobody but the operator says that a name means that address.
        let sure = target.secure || target.host.parse::<IpAddr>().is_ok();
        public
            || self.allowed.iter().any(|entry| match entry {
                Allowed::Host(_) => entry.covers(&target.host, address),
                Allowed::Network(..) => sure && entry.covers(&target.host, address),
            })
    }
}

impl Target {
    fn parse(url: &str) -> Option<Target> {
        if URL_BYTES_MAX < url.len() || url.contains('#') {
            return None;
        }
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let usual = if secure { HTTPS_PORT } else { HTTP_PORT };
        let port = match authority.as_str().len() == authority.host().len() {
            true => usual,
            false => authority.port_u16()?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Target { secure, host, port, path, authority: authority.as_str().to_owned() })
    }
}

async fn exchange<T>(stream: T, target: &Target, ask: Ask<'_>) -> Result<Answer, Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut request = Request::builder()
        .method(ask.method)
        .uri(target.path.as_str())
        .header(header::HOST, target.authority.as_str())
        .body(Full::new(ask.body))
        .map_err(|_| Error::Refused)?;
    request.headers_mut().extend(ask.headers);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| Error::Unreachable)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|_| Error::Unreachable)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Error::TooLong,
            false => Error::Unreachable,
        })?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    // The connection is driven here, so that it ends with the call.
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

/// A call under way.
struct Place {
    calls: Arc<Mutex<HashMap<String, usize>>>,
    host: String,
}

impl Place {
    fn take(calls: &Arc<Mutex<HashMap<String, usize>>>, host: &str) -> Result<Place, Error> {
        let mut under_way = calls.lock();
        let all: usize = under_way.values().sum();
        let here = under_way.get(host).copied().unwrap_or(0);
        if CALLS_MAX <= all || CALLS_PER_HOST_MAX <= here {
            return Err(Error::Busy);
        }
        under_way.insert(host.to_owned(), here + 1);
        Ok(Place { calls: Arc::clone(calls), host: host.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.calls.lock();
        match under_way.get_mut(&self.host) {
            Some(here) if 1 < *here => *here -= 1,
            _ => drop(under_way.remove(&self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn get(url: &str) -> Ask<'_> {
        Ask { method: Method::GET, url, headers: vec![], body: Bytes::new() }
    }

    fn client(allow: &[&str]) -> Client {
        Client::new(&Settings { allow: allow.iter().map(ToString::to_string).collect() }).unwrap()
    }

    /// A server that says `answer` to whoever comes.
    async fn server(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        url
    }

    /// What is private is not connected to, however it is written, unless the operator allows it.
    #[tokio::test]
    async fn private_addresses_are_not_called() {
        let url = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()).await;
        let mapped = url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
        let name = url.replace("127.0.0.1", "localhost");
        for url in [&url, &mapped, &name] {
            assert_eq!(client(&[]).call(get(url)).await, Err(Error::Refused), "{url}");
            assert!(!client(&[]).may_call(url), "{url}");
        }
        let answer = client(&["127.0.0.0/8"]).call(get(&url)).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"hi"[..]));
        assert!(client(&["localhost"]).call(get(&name)).await.is_ok());
        assert_eq!(client(&["127.0.0.0/8"]).call(get(&name)).await, Err(Error::Refused));
        for bad in [
            "ftp://a/",
            "https://user@a/",
            "https://",
            "/x",
            "https://a:x/",
            "https://a/#b",
            "",
            "https://a:/",
        ] {
            assert_eq!(client(&["a"]).call(get(bad)).await, Err(Error::Refused), "{bad}");
        }
        let public = client(&[]);
        assert!(
            public.may_call("https://idp.example.com/realm") && !public.may_call("http://idp.example.com/")
        );
        assert!(!public.may_call("https://idp.example.com:8443/") && !public.may_call("https://10.0.0.1/"));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_a_long_answer_is_none() {
        let client = client(&["127.0.0.1"]);
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let url = server(elsewhere.to_owned()).await;
        assert_eq!(client.call(get(&url)).await.unwrap().status, 302);
        let body = "x".repeat(ANSWER_BYTES_MAX + 1);
        let url = server(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(client.call(get(&url)).await, Err(Error::TooLong));
        let url = server("nonsense\r\n\r\n".to_owned()).await;
        assert_eq!(client.call(get(&url)).await, Err(Error::Unreachable));
    }

    #[test]
    fn a_host_gets_some_of_the_places() {
        let calls = Arc::default();
        let mut held: Vec<_> = (0..CALLS_PER_HOST_MAX).map(|_| Place::take(&calls, "a").unwrap()).collect();
        assert_eq!(Place::take(&calls, "a").err(), Some(Error::Busy));
        for host in 1..CALLS_MAX / CALLS_PER_HOST_MAX {
            held.extend((0..CALLS_PER_HOST_MAX).map(|_| Place::take(&calls, &host.to_string()).unwrap()));
        }
        assert_eq!(Place::take(&calls, "z").err(), Some(Error::Busy));
        drop(held);
        assert!(calls.lock().is_empty());
    }
}
