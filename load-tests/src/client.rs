//! The two public doors, as a customer's program would use them: gRPC with the generated clients and REST
//! over kept HTTP/1.1 connections, both with the API key on every request.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use proto::api::v1::Money;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// Larger than any page of an answer here.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A gRPC connection with a key.
#[derive(Clone)]
pub(crate) struct Grpc {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Grpc {
    /// Opens one HTTP/2 connection.
    pub(crate) async fn connect(url: &str, api_key: &str) -> Result<Self, Error> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        Ok(Self { channel, authorization: format!("Bearer {api_key}").parse()? })
    }

    /// The stock service.
    pub(crate) fn stock(&self) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The catalog.
    pub(crate) fn catalog(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The tenant service.
    pub(crate) fn tenant(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.channel.clone())
    }

    /// A request that reads.
    pub(crate) fn read<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// A request that writes, once for this key.
    pub(crate) fn write<T>(&self, message: T, idempotency_key: &str) -> Result<tonic::Request<T>, Error> {
        let mut request = self.read(message);
        request.metadata_mut().insert("idempotency-key", idempotency_key.parse()?);
        Ok(request)
    }
}

/// A kept HTTP/1.1 connection with a key.
pub(crate) struct Rest {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: HeaderValue,
}

impl Rest {
    /// Opens one connection.
    pub(crate) async fn connect(url: &str, api_key: &str) -> Result<Self, Error> {
        let uri: http::Uri = url.parse()?;
        let authority = uri.authority().ok_or("the address of the server has no host")?.as_str();
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection); // a broken connection shows at the next request
        Ok(Self { sender, host: authority.parse()?, authorization: format!("Bearer {api_key}").parse()? })
    }

    /// Sends a request, reads the whole answer, and insists on its status.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: String,
        expected: StatusCode,
    ) -> Result<Bytes, Error> {
        let mut request = http::Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        if let Some(key) = idempotency_key {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert("idempotency-key", key.parse()?);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status == expected {
            Ok(body)
        } else {
            Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into())
        }
    }
}

/// A decimal string in millionths.
///
/// Written here once more: the checks of this crate share no arithmetic with what they check.
pub(crate) fn millionths(text: &str) -> Result<i128, Error> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !plain(whole) || !plain(fraction) {
        return Err(format!("{text:?} is not a decimal").into());
    }
    Ok(sign * format!("{whole}{fraction:0<6}").parse::<i128>()?)
}

/// An amount in millionths of its currency; absent means none.
pub(crate) fn amount(money: Option<&Money>) -> Result<i128, Error> {
    money.map_or(Ok(0), |money| millionths(&money.amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, expected) in
            [("0", 0), ("12.5", 12_500_000), ("-0.000001", -1), ("1000000000000", 10_i128.pow(18))]
        {
            assert_eq!(millionths(text).unwrap(), expected, "{text}");
        }
        for text in ["", "-", ".5", "1e3", "+1", "1.0000001", "1.2.3"] {
            assert!(millionths(text).is_err(), "{text}");
        }
    }
}
