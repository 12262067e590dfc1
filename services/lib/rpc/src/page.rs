//! Page tokens: where a list goes on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::hash::keyed;
use crate::{Ctx, Refused};

const MAC_BYTES: usize = 16;
/// Longest token, as the contract says.
const TOKEN_BYTES_MAX: usize = 1024;
const PAGE_SIZE_DEFAULT: usize = 50;
const PAGE_SIZE_MAX: usize = 500;

/// A position in a list, sealed: it opens for the same tenant, principal and list only.
pub struct PageToken;

impl PageToken {
    /// Seals a position. `scope` names the list and its filters; `payload` is at most 700 bytes.
    pub fn seal(ctx: &Ctx, scope: &str, payload: &[u8]) -> String {
        let mut bytes = mac(ctx, scope, payload).to_vec();
        bytes.extend_from_slice(payload);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        assert!(token.len() <= TOKEN_BYTES_MAX, "a position fits in a page token");
        token
    }

    /// Opens a token; an empty one is the beginning of the list, `None`.
    ///
    /// # Errors
    /// [`Refused::PageTokenInvalid`] for a token of another list or filter, of another principal, or
    /// made up.
    pub fn open(ctx: &Ctx, scope: &str, token: &str) -> Result<Option<Vec<u8>>, Refused> {
        if token.is_empty() {
            return Ok(None);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::PageTokenInvalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Refused::PageTokenInvalid)?;
        let (found, payload) = bytes.split_first_chunk::<MAC_BYTES>().ok_or(Refused::PageTokenInvalid)?;
        let genuine: bool = mac(ctx, scope, payload).ct_eq(found).into();
        if genuine { Ok(Some(payload.to_vec())) } else { Err(Refused::PageTokenInvalid) }
    }
}

fn mac(ctx: &Ctx, scope: &str, payload: &[u8]) -> [u8; MAC_BYTES] {
    let whole = keyed(
        &ctx.secret,
        &[
            b"page-token",
            ctx.tenant.as_bytes(),
            ctx.business.as_bytes(),
            ctx.actor.kind.name().as_bytes(),
            ctx.actor.id.as_bytes(),
            scope.as_bytes(),
            payload,
        ],
    );
    std::array::from_fn(|at| whole[at])
}

/// How many rows to read for a requested page size: 0 is the default, 50; at most 500.
///
/// # Errors
/// The number itself when it is above the limit.
pub fn page_size(requested: u32) -> Result<usize, u32> {
    match usize::try_from(requested) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size) if size <= PAGE_SIZE_MAX => Ok(size),
        _ => Err(requested),
    }
}

#[cfg(test)]
mod tests {
    use ids::{BusinessId, TenantId};
    use proptest::prelude::*;

    use super::*;
    use crate::{Actor, ActorKind, Permissions, Principal};

    fn ctx(tenant: u8, actor: &str, secret: u8) -> Ctx {
        Ctx::internal(Principal {
            tenant: TenantId::from_bytes([tenant; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: Actor::new(ActorKind::ApiKey, actor),
            permissions: Permissions::default(),
            secret: [secret; 32],
        })
    }

    #[test]
    fn no_token_is_the_beginning() {
        assert_eq!(PageToken::open(&ctx(1, "key_a", 7), "products", ""), Ok(None));
    }

    /// TEN-5: a token opens for nobody but the principal that got it.
    #[test]
    #[rustfmt::skip] // columns
    fn a_token_opens_for_its_own_list_and_principal_only() {
        let token = PageToken::seal(&ctx(1, "key_a", 7), "products?status=ACTIVE", b"here");
        let check = |ctx: &Ctx, scope: &str, token: &str, ok: bool| {
            let opened = PageToken::open(ctx, scope, token);
            assert_eq!(opened, if ok { Ok(Some(b"here".to_vec())) } else { Err(Refused::PageTokenInvalid) });
        };
        check(&ctx(1, "key_a", 7), "products?status=ACTIVE", &token,               true);
        check(&ctx(1, "key_b", 7), "products?status=ACTIVE", &token,               false);
        check(&ctx(2, "key_a", 7), "products?status=ACTIVE", &token,               false);
        check(&ctx(1, "key_a", 8), "products?status=ACTIVE", &token,               false);
        check(&ctx(1, "key_a", 7), "products",               &token,               false);
        check(&ctx(1, "key_a", 7), "products?status=ACTIVE", &token[1..],          false);
        check(&ctx(1, "key_a", 7), "products?status=ACTIVE", "aGVyZQ",             false);
        check(&ctx(1, "key_a", 7), "products?status=ACTIVE", "not base64!",        false);
        check(&ctx(1, "key_a", 7), "products?status=ACTIVE", &"A".repeat(2000),    false);
    }

    proptest! {
        #[test]
        fn any_position_comes_back(payload in proptest::collection::vec(any::<u8>(), 0..700)) {
            let ctx = ctx(1, "key_a", 7);
            let token = PageToken::seal(&ctx, "list", &payload);
            prop_assert_eq!(PageToken::open(&ctx, "list", &token), Ok(Some(payload)));
        }
    }

    #[test]
    fn a_page_has_1_to_500_rows() {
        assert_eq!([0, 1, 500].map(page_size), [Ok(50), Ok(1), Ok(500)]);
        assert_eq!([501, u32::MAX].map(page_size), [Err(501), Err(u32::MAX)]);
    }
}
