//! What stands against calls whatever the permissions of the caller are.

use proto::{Audit, MethodRule};

use crate::Refused;

/// A reason for which some calls are refused, carried in the signed context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bar {
    /// The business, or one above it, is suspended: it is read and not changed.
    BusinessSuspended,
    /// The business, or one above it, is closed: it is read and not changed.
    BusinessClosed,
}

impl Bar {
    const ALL: [Bar; 2] = [Bar::BusinessSuspended, Bar::BusinessClosed];

    /// `BUSINESS_SUSPENDED`, `BUSINESS_CLOSED`: in answers and in the signed context.
    pub fn reason(self) -> &'static str {
        match self {
            Bar::BusinessSuspended => "BUSINESS_SUSPENDED",
            Bar::BusinessClosed => "BUSINESS_CLOSED",
        }
    }

    /// Reads what [`Bar::reason`] writes.
    pub fn parse(reason: &str) -> Option<Bar> {
        Bar::ALL.into_iter().find(|bar| bar.reason() == reason)
    }

    /// Whether calls with this rule may pass: reads, and changes to who may do what.
    ///
    /// # Errors
    /// [`Refused::Barred`] for the others.
    pub fn check(self, rule: &MethodRule) -> Result<(), Refused> {
        match rule.audit {
            Audit::Read | Audit::Security => Ok(()),
            Audit::Write => Err(Refused::Barred(self)),
        }
    }
}
