//! Who may do what: Cedar policies over a schema that is generated from the contract.
//!
//! In reading order: [`Contract`] (the permissions and resources that the contract names), [`schema`] and
//! [`permits`] (texts made from it), [`FORBIDS`] (what holds for everybody), [`Authorizer`] (decides, and says
//! which policy did).

mod authorizer;
mod contract;
mod text;

use std::sync::LazyLock;

pub use authorizer::{Authorizer, Decision, Kind, MadeWrong, Principal, Resource};
pub use contract::{Contract, Operation, PLATFORM_WIDE};
pub use text::{FORBIDS, permits, schema};

/// The authorizer over the contract of this build.
#[must_use]
pub fn authorizer() -> &'static Authorizer {
    static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| {
        let contract = Contract::read(proto::pool(), proto::rules());
        // A test makes the same from the same bytes.
        Authorizer::new(&contract).unwrap_or_else(|wrong| panic!("policies of the build: {wrong}"))
    });
    &AUTHORIZER
}
