//! gRPC goes through: the credential is swapped for the signed context, nothing else is looked at.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use rpc::header::name;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::trace::Trace;
use crate::{BoxError, Error, Inner};

/// Whether these headers are those of a gRPC request.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

impl Inner {
    /// Passes a request on. The body is not read here.
    ///
    /// # Errors
    /// The path is no public RPC, the credential is not valid, the time is over.
    pub(crate) async fn grpc<B>(
        &self,
        peer: IpAddr,
        mut request: Request<B>,
        trace: &Trace,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // What is internal is not there at all for those outside.
        let rule = proto::rules().get(request.uri().path()).filter(|rule| rule.http.is_some());
        let known = match rule.ok_or(rpc::Refused::UnknownMethod)? {
            rule if rule.is_public() => self.credentials.nobody(),
            rule => self.credentials.check(peer, request.headers(), rule).await?,
        };

        let headers = request.headers_mut();
        headers.remove(header::AUTHORIZATION);
        headers.remove(header::COOKIE);
        headers.insert(name::CONTEXT, known.context());
        trace.mark(headers);
        // A client that wishes less is cut off by itself and by the service.
        headers.entry(name::GRPC_TIMEOUT).or_insert_with(|| self.timeout.clone());
        self.transport.clone().oneshot(request.map(Body::new)).await.map_err(|error| {
            tracing::warn!("a service cannot be reached: {error}");
            Error::Unreachable
        })
    }
}

/// Writes a duration as gRPC does.
pub(crate) fn whole_ms(limit: Duration) -> HeaderValue {
    let ms = limit.as_millis().min(99_999_999);
    HeaderValue::try_from(format!("{ms}m")).expect("digits and a letter are a header value")
}
