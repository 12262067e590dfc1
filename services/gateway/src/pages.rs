//! Documents that need no credential: health, OpenAPI and its viewer, explanations of problems.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tonic::body::Body;
use transcode::{Catalogue, Info};
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::problem_pages::ProblemPages;
use crate::{respond, without_body};

const DESCRIPTION: &str = "Multi-tenant inventory ledger. Decimals are strings, instants are RFC 3339 in UTC, \
    errors are `application/problem+json`. Whatever posts to a ledger takes an `Idempotency-Key`.";

/// Only what this server serves: a page can neither load from nor send to anywhere else. Swagger UI sets
/// styles on elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Everything that is served without a credential.
pub(crate) struct Pages {
    openapi: Bytes,
    /// Entity tag of the document.
    openapi_tag: HeaderValue,
    viewer: Arc<Config<'static>>,
    problems: ProblemPages,
}

impl Pages {
    pub(crate) fn new(catalogue: &Catalogue, version: &str, error_pages: &[&str]) -> Self {
        let openapi = catalogue.openapi(Info { title: "Cargo Pilot", version, description: DESCRIPTION });
        let hash = Sha256::digest(openapi.as_bytes());
        let tag =
            format!("\"{:016x}\"", hash.iter().take(8).fold(0u64, |tag, byte| tag << 8 | u64::from(*byte)));
        // Without a validator: the viewer would ask one on the internet.
        let viewer = Config::from("/openapi.json").validator_url("none").persist_authorization(false);
        Pages {
            openapi: openapi.into(),
            openapi_tag: HeaderValue::try_from(tag).expect("quoted digits are a header value"),
            viewer: Arc::new(viewer),
            problems: ProblemPages::new(error_pages),
        }
    }

    /// The document that a request asks for, if it asks for one.
    pub(crate) fn find<B>(&self, request: &Request<B>, is_ready: bool) -> Option<Response<Body>> {
        let is_head = request.method() == Method::HEAD;
        if request.method() != Method::GET && !is_head {
            return None;
        }
        let response = match request.uri().path() {
            "/livez" => respond(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" if is_ready => respond(StatusCode::OK, TEXT, "ready\n"),
            "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
            "/" | "/docs" => redirect("/docs/"),
            "/openapi.json" => self.document(request.headers().get(header::IF_NONE_MATCH)),
            path => match (path.strip_prefix("/docs/"), path.strip_prefix("/problems/")) {
                (Some(file), _) => self.viewer_file(file)?,
                (_, Some(reason)) => guarded(respond(StatusCode::OK, HTML, self.problems.page(reason)?)),
                _ => return None,
            },
        };
        Some(if is_head { without_body(response) } else { response })
    }

    fn document(&self, known: Option<&HeaderValue>) -> Response<Body> {
        let is_known = known == Some(&self.openapi_tag);
        let (status, body) = if is_known {
            (StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            (StatusCode::OK, self.openapi.clone())
        };
        let mut response = respond(status, "application/json", body);
        response.headers_mut().insert(header::ETAG, self.openapi_tag.clone());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn viewer_file(&self, name: &str) -> Option<Response<Body>> {
        let SwaggerFile { bytes, content_type, gzpipped, .. } =
            utoipa_swagger_ui::serve(name, Arc::clone(&self.viewer)).ok()??;
        let mut response = guarded(respond(StatusCode::OK, TEXT, bytes.into_owned()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(content_type).ok()?);
        if gzpipped {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Some(response)
    }
}

fn redirect(to: &'static str) -> Response<Body> {
    let mut response = respond(StatusCode::SEE_OTHER, TEXT, Bytes::new());
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
