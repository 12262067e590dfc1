//! REST: JSON in, the RPC behind it, JSON out.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH, SET_COOKIE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use proto::{Idempotency, MethodRule};
use rpc::Refused;
use rpc::header::IDEMPOTENT_REPLAYED;
use rpc::header::name::{CONTEXT, GRPC_TIMEOUT, IDEMPOTENCY_KEY, IF_MATCH};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use transcode::{BODY_BYTES_MAX, Found, Operation, Problem};

use crate::trace::Trace;
use crate::{BoxError, Error, Inner, harden, session};

/// Longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

impl Inner {
    /// Answers a request to a route. Checked in this order: route, credential, what stands against the call
    /// (standing of the tenant, plan, business), permission, idempotency key, `If-Match`, body that arrives, whether
    /// the tenant has a place in service, body that is well-formed.
    ///
    /// # Errors
    /// The first of these that is wrong, or what the service answers.
    pub(crate) async fn rest<B>(
        &self,
        peer: IpAddr,
        request: Request<B>,
        trace: &Trace,
    ) -> Result<Response<Body>, Box<Problem>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let (operation, fields) = match self.catalogue.find(method, parts.uri.path()) {
            Found::Operation(operation, fields) => (operation, fields),
            Found::WrongMethod(methods) if parts.method == Method::OPTIONS => return Ok(options(&methods)),
            Found::WrongMethod(methods) => {
                return Err(Error::MethodNotAllowed { allow: allow(&methods) }.into());
            }
            Found::Nothing => return Err(Error::UnknownRoute.into()),
        };
        let rule = proto::rules().get(operation.path.as_str()).ok_or(Error::Internal)?;
        let known = match rule.is_public() {
            true => self.credentials.nobody(),
            false => self.credentials.check_http(peer, &parts.method, &parts.headers, rule).await?,
        };
        known.bars().check(rule).map_err(Error::from)?;
        let given = match known.permissions().lets_call(rule) {
            true => {
                let metadata = named(&parts.headers, rule)?;
                Some((metadata, self.unless_stopping(read(&parts.headers, body, operation)).await??))
            }
            // The service's guard refuses it before it looks at anything else, and has it written down.
            false => None,
        };
        // From here on the machine works; who sends a body slowly has held no place until now.
        let _place = self.places.take(known.tenant()).await?;
        let (mut metadata, message) = match given {
            Some((metadata, body)) => {
                (metadata, self.catalogue.request(operation, &fields, parts.uri.query(), &body)?)
            }
            None => Default::default(),
        };

        metadata.insert(CONTEXT, known.context(rule));
        metadata.insert(GRPC_TIMEOUT, self.timeout.clone());
        trace.mark(&mut metadata);
        let call =
            tonic::Request::from_parts(MetadataMap::from_headers(metadata), Default::default(), message);
        let answer = transcode::unary(self.transport.clone(), operation.path.clone(), call).await;
        let answer = answer.map_err(|status| {
            // Services log what they answer; what else comes was made up on the way.
            if problem::Code::from_grpc(status.code().into()).is_none() {
                tracing::error!(rpc = %operation.path, "a call failed on its way: {status}");
            }
            Problem::of_status(&self.catalogue, operation, &status)
        })?;

        let (answer, cookie) = session::to_cookie(operation, &parts.headers, answer);
        let replayed = answer.metadata().get(IDEMPOTENT_REPLAYED).is_some_and(|value| value == "true");
        let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let tag = parts.headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
        let answered =
            self.catalogue.answer(operation, answer.get_ref(), uri, tag, replayed).map_err(|e| {
                tracing::error!(rpc = %operation.path, "a service answered with {e}");
                Error::Internal
            })?;
        let mut response = Response::new(Body::new(Full::new(answered.body.into())));
        *response.status_mut() = answered.status;
        let headers = response.headers_mut();
        headers.extend(answered.headers);
        harden(headers);
        // Answers belong to one caller; what has a tag may be kept and asked for again.
        let keep = if operation.method == Method::GET { "private, no-cache" } else { "no-store" };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
        if let Some(cookie) = cookie {
            headers.insert(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// The headers that name the mutation and the revision, as metadata.
fn named(headers: &HeaderMap, rule: &'static MethodRule) -> Result<HeaderMap, Error> {
    let mut metadata = HeaderMap::with_capacity(8);
    match headers.get(&IDEMPOTENCY_KEY) {
        None if rule.idempotency == Idempotency::Required => {
            return Err(Refused::IdempotencyKeyRequired.into());
        }
        None => {}
        Some(key) => {
            let visible = key.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte));
            if !visible || !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
                return Err(Refused::IdempotencyKeyMalformed.into());
            }
            metadata.insert(IDEMPOTENCY_KEY, key.clone());
        }
    }
    match headers.get(&IF_MATCH) {
        None if rule.if_match => return Err(Refused::PreconditionRequired.into()),
        None => {}
        Some(tag) => drop(metadata.insert(IF_MATCH, tag.clone())),
    }
    Ok(metadata)
}

/// Reads a body of bounded size; a GET has none, whatever it carries.
async fn read<B>(headers: &HeaderMap, body: B, operation: &Operation) -> Result<Bytes, Box<Problem>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if operation.method == Method::GET {
        return Ok(Bytes::new());
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).is_ok_and(|length| BODY_BYTES_MAX < length)) {
        return Err(Box::new(transcode::too_large()));
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| -> Box<Problem> {
        match error.is::<LengthLimitError>() {
            true => Box::new(transcode::too_large()),
            false => Error::IncompleteBody.into(),
        }
    })?;
    let body = body.to_bytes();
    if !body.is_empty() && !is_json(headers) {
        return Err(Error::UnsupportedMediaType.into());
    }
    Ok(body)
}

/// `application/json` and what is built on it, `application/merge-patch+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// `GET, HEAD, OPTIONS, PATCH`.
fn allow(methods: &[Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.push("OPTIONS");
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.join(", ")
}

fn options(methods: &[Method]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(value) = HeaderValue::from_str(&allow(methods)) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}
