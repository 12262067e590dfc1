//! The session of a browser: its token goes into a cookie that no script can read.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use proto::tenant::v1::SignInResponse;
use tonic::Response;
use transcode::Operation;

use crate::credential::SESSION_COOKIE;

/// The calls that begin a session.
const SIGN_IN: [&str; 2] =
    ["/cargopilot.tenant.v1.IdentityService/SignIn", "/cargopilot.tenant.v1.IdentityService/FinishLogin"];
/// `cookie`: how the client wants the token.
const WISH: &str = "cp-session";
/// Longest life of a session: the server ends it sooner, never later.
const LONGEST_SECONDS: u32 = 12 * 60 * 60;

/// Moves the token of a new session from the answer into a cookie, if the client asks for it with
/// `cp-session: cookie`.
pub(crate) fn to_cookie(
    operation: &Operation,
    headers: &HeaderMap,
    answer: Response<Bytes>,
) -> (Response<Bytes>, Option<HeaderValue>) {
    let wished = headers.get(WISH).is_some_and(|wish| wish.as_bytes().eq_ignore_ascii_case(b"cookie"));
    if !SIGN_IN.contains(&operation.path.as_str()) || !wished {
        return (answer, None);
    }
    let Ok(mut done) = SignInResponse::decode(answer.get_ref().clone()) else { return (answer, None) };
    let token = std::mem::take(&mut done.token);
    let cookie = format!(
        "{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={LONGEST_SECONDS}"
    );
    let Ok(mut cookie) = HeaderValue::try_from(cookie) else { return (answer, None) };
    cookie.set_sensitive(true);
    let (metadata, _, extensions) = answer.into_parts();
    (Response::from_parts(metadata, done.encode_to_vec().into(), extensions), Some(cookie))
}
