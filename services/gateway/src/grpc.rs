//! gRPC goes through: the credential is swapped for the signed context, nothing else is looked at.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use rpc::header::name;
use tonic::body::Body;
use tower::ServiceExt as _;
use transcode::BODY_BYTES_MAX;

use crate::trace::Trace;
use crate::{BoxError, Error, Inner};

/// What is read of a body before it is passed on, in bytes: all of it, but for the largest batches of the catalog.
const AHEAD_BYTES_MAX: usize = BODY_BYTES_MAX + 64 * 1024;

/// Whether these headers are those of a gRPC request.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

impl Inner {
    /// Passes a request on. Its body is kept, not looked at: who sends it slowly holds no place meanwhile, and a
    /// request that is refused for want of a place was read, so that HTTP/2 need not reset its stream. (Too many
    /// streams that are reset end the connection, with all other requests in it.)
    ///
    /// # Errors
    /// The path is no public RPC, the credential is not valid, the body ends too early, too many requests of the
    /// tenant wait, the time is over.
    pub(crate) async fn grpc<B>(
        &self,
        peer: IpAddr,
        request: Request<B>,
        trace: &Trace,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // What is internal is not there at all for those outside.
        let rule = proto::rules().get(request.uri().path()).filter(|rule| rule.http.is_some());
        let rule = rule.ok_or(rpc::Refused::UnknownMethod)?;
        let known = match rule.is_public() {
            true => self.credentials.nobody(),
            false => self.credentials.check(peer, request.headers(), rule).await?,
        };
        let (parts, body) = request.into_parts();
        let mut request = Request::from_parts(parts, self.unless_stopping(ahead(body)).await??);
        let _place = self.places.take(known.tenant()).await?;

        let headers = request.headers_mut();
        headers.remove(header::AUTHORIZATION);
        headers.remove(header::COOKIE);
        headers.insert(name::CONTEXT, known.context(rule));
        trace.mark(headers);
        // A client that wishes less is cut off by itself and by the service.
        headers.entry(name::GRPC_TIMEOUT).or_insert_with(|| self.timeout.clone());
        self.transport.clone().oneshot(request).await.map_err(|error| {
            tracing::warn!("a service cannot be reached: {error}");
            Error::Unreachable
        })
    }
}

/// Reads a body to its end. Of one that is larger than [`AHEAD_BYTES_MAX`], the rest is read by the service, which
/// has its own bound.
///
/// # Errors
/// [`Error::IncompleteBody`].
async fn ahead<B>(body: B) -> Result<Body, Error>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let (mut read, mut bytes) = (Vec::new(), 0);
    while bytes <= AHEAD_BYTES_MAX {
        let Some(frame) = body.frame().await else {
            return Ok(match read.len() {
                0 | 1 => Body::new(Full::new(read.pop().unwrap_or_default())),
                _ => Body::new(Full::new(Bytes::from(read.concat()))),
            });
        };
        // Requests have no trailers.
        let Ok(data) = frame.map_err(|_| Error::IncompleteBody)?.into_data() else { continue };
        bytes += data.len();
        if !data.is_empty() {
            read.push(data);
        }
    }
    let read = stream::iter(read).map(|data| Ok(Frame::data(data)));
    Ok(Body::new(StreamBody::new(read.chain(BodyStream::new(body)))))
}

/// Writes a duration as gRPC does.
pub(crate) fn whole_ms(limit: Duration) -> HeaderValue {
    let ms = limit.as_millis().min(99_999_999);
    HeaderValue::try_from(format!("{ms}m")).expect("digits and a letter are a header value")
}
