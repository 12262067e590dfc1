//! Identity providers, and who comes in with them.

mod bearer;
mod issuers;
mod login;
mod login_token;
mod providers;
mod secret;

pub(super) use issuers::Issuers;
pub use login::{FinishLogin, StartLogin, Started};
pub use providers::{CreateProvider, UpdateProvider};
