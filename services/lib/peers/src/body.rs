//! Bodies that were read in part or in full before they are passed on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Sleep;
use tonic::Status;

/// What was read of a body, then the rest of it.
pub(crate) struct Pieces<B> {
    read: VecDeque<Frame<Bytes>>,
    rest: Option<B>,
}

impl<B: Body<Data = Bytes> + Unpin> Pieces<B> {
    /// Reads `body` until it ends or more than `bytes_max` are there.
    ///
    /// # Errors
    /// Those of the body.
    pub(crate) async fn read(body: B, bytes_max: usize) -> Result<Self, B::Error> {
        let mut pieces = Pieces { read: VecDeque::new(), rest: Some(body) };
        let mut bytes: usize = 0;
        while let Some(body) = &mut pieces.rest {
            match body.frame().await.transpose()? {
                None => pieces.rest = None,
                Some(frame) => {
                    bytes = bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                    pieces.read.push_back(frame);
                    if bytes > bytes_max {
                        break;
                    }
                }
            }
        }
        Ok(pieces)
    }

    /// Whether all of it was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// The whole body; `None` when it goes on.
    pub(crate) fn whole(&self) -> Option<Whole> {
        if !self.is_whole() {
            return None;
        }
        // Trailers of a request say nothing in gRPC.
        Some(Whole(self.read.iter().filter_map(Frame::data_ref).cloned().collect()))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}

/// A whole body that can be sent again and again.
#[derive(Clone)]
pub(crate) struct Whole(VecDeque<Bytes>);

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

impl Whole {
    /// The one message of it; `None` if it is compressed, or anything else.
    pub(crate) fn message(&self) -> Option<Bytes> {
        let mut all = match self.0.len() {
            1 => self.0[0].clone(),
            _ => Bytes::from(self.0.iter().flatten().copied().collect::<Vec<u8>>()),
        };
        if all.len() < PREFIX_BYTES {
            return None;
        }
        let prefix = all.split_to(PREFIX_BYTES);
        let [compressed, length @ ..] = *prefix.first_chunk::<PREFIX_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        (compressed == 0 && length == all.len()).then_some(all)
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.0.iter().map(Bytes::len).sum::<usize>();
        SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

/// An answer that comes bit by bit, ends at its deadline, and holds `held` until it has ended.
pub(crate) struct Timed<B, H> {
    /// `None` when it is over.
    pub(crate) body: Option<B>,
    pub(crate) deadline: Option<(Pin<Box<Sleep>>, Status)>,
    pub(crate) held: Option<H>,
}

impl<B, H> Body for Timed<B, H>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
    H: Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            if !matches!(frame, Some(Ok(_))) {
                (self.body, self.held) = (None, None);
            }
            let lost = |error| {
                tracing::warn!("an answer broke off: {error}");
                Status::unavailable("the answer broke off")
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(lost)));
        }
        let Some((sleep, _)) = &mut self.deadline else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        (self.body, self.held) = (None, None);
        Poll::Ready(self.deadline.take().map(|(_, late)| Err(late)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
