//! What the contract says about a method that matters when its call goes wrong.

use std::collections::HashMap;
use std::sync::LazyLock;

use proto::{Audit, Idempotency};

/// What a method is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Method {
    /// It changes nothing.
    pub(crate) reads: bool,
    /// A repeated call with the same idempotency key has no second effect.
    pub(crate) keyed: bool,
    /// It has one answer.
    pub(crate) unary: bool,
}

/// The method at a path such as `/cargopilot.stock.v1.StockService/PostMovement`; of one that is not in the contract
/// nothing good is assumed.
pub(crate) fn method(path: &str) -> Method {
    static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(all);
    METHODS.get(path).copied().unwrap_or_default()
}

fn all() -> HashMap<String, Method> {
    let methods = proto::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let method = |method: prost_reflect::MethodDescriptor| {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let rule = proto::rules().get(&path);
        let method = Method {
            reads: rule.is_some_and(|rule| rule.audit == Audit::Read),
            keyed: rule.is_some_and(|rule| rule.idempotency != Idempotency::None),
            unary: !method.is_server_streaming() && !method.is_client_streaming(),
        };
        (path, method)
    };
    methods.map(method).collect()
}

/// The role that answers for a service: `stock` for `/cargopilot.stock.v1.StockService/PostMovement`.
pub(crate) fn role(path: &str) -> Option<&str> {
    let service = path.strip_prefix('/')?.split('/').next()?;
    let mut parts = service.split('.');
    let (package, role, _version, _name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (package == "cargopilot" && parts.next().is_none()).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn the_contract_says_what_may_be_repeated() {
        let check = |path: &str, reads, keyed, unary| {
            assert_eq!(method(path), Method { reads, keyed, unary }, "{path}");
        };
        check("/cargopilot.stock.v1.StockService/PostMovement",     false, true,  true);
        check("/cargopilot.stock.v1.StockService/GetMovement",      true,  false, true);
        check("/cargopilot.tenant.v1.TenantService/CreateApiKey",   false, false, true);
        check("/cargopilot.catalog.v1.CatalogService/SetPrice",     false, true,  true);
        check("/cargopilot.stock.v1.StockService/Nothing",          false, false, false);
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_service_names_its_role() {
        let check = |path: &str, expected: Option<&str>| assert_eq!(role(path), expected, "{path}");
        check("/cargopilot.stock.v1.StockService/PostMovement", Some("stock"));
        check("/cargopilot.stock.v1.StockService",              Some("stock"));
        check("/grpc.health.v1.Health/Check",                   None);
        check("/cargopilot.stock.StockService/A",               None);
        check("/cargopilot.a.b.v1.StockService/A",              None);
        check("",                                               None);
    }
}
