//! A price list: what the prices in it are for, and in which currency.

use calendar::Instant;
use ids::{BusinessId, PriceListId};
use money::Currency;

/// What prices are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What customers pay.
    Sale,
    /// What suppliers are paid.
    Purchase,
    /// What businesses of the tenant pay each other.
    Transfer,
    /// What stock is expected to cost.
    StandardCost,
}

/// A price list to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPriceList {
    /// Its id.
    pub id: PriceListId,
    /// The business that owns it.
    pub business: BusinessId,
    /// Unique in the tenant.
    pub code: String,
    /// Never empty.
    pub name: String,
    /// What its prices are for.
    pub kind: Kind,
    /// What they are in.
    pub currency: Currency,
    /// Whether they contain the tax.
    pub tax_inclusive: bool,
}

/// A price list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    /// Everything that was said when it was made.
    pub list: NewPriceList,
    /// When that was.
    pub created_at: Instant,
}

impl PriceList {
    /// Whether the business at the end of `path` sees it: its owner and those below it do.
    pub fn is_seen_from(&self, path: &[BusinessId]) -> bool {
        self.line(path).is_some()
    }

    /// The way from its owner down to the business at the end of `path`.
    pub fn line<'a>(&self, path: &'a [BusinessId]) -> Option<&'a [BusinessId]> {
        inherit::line(path, self.list.business)
    }
}

/// Its revision: nothing changes a price list yet.
pub const REVISION: u64 = 1;
