//! Calls with raw bytes: the messages of a call are on the wire already.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};
use tower::Service;

/// Largest answer, in bytes: a page of 500 or a batch of 1,000 with room to spare.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Calls `path` of any service: one of this process or one behind a channel.
///
/// # Errors
/// What the service answers, or `UNAVAILABLE` when it takes no calls.
pub async fn unary<T>(
    transport: T,
    path: PathAndQuery,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Status>
where
    T: Service<http::Request<Body>, Response = http::Response<Body>>,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut client = Grpc::new(transport).max_decoding_message_size(ANSWER_BYTES_MAX);
    client.ready().await.map_err(|e| Status::unavailable(e.into().to_string()))?;
    client.unary(request, path, Raw).await
}

/// Leaves messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
