//! A price list: what the prices in it are for, and in which currency.

use calendar::Instant;
use ids::{BusinessId, PriceListId};
use inherit::{Locked, Mode};
use money::Currency;

use crate::Error;

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
        inherit::line(path, self.list.business).is_some()
    }

    /// The guard before a price is set: an inherited list is its owner's.
    ///
    /// # Errors
    /// [`Error::InheritedLocked`], [`Error::NotFound`].
    pub fn check_owner(&self, path: &[BusinessId]) -> Result<(), Error> {
        let owner = self.list.business;
        match inherit::line(path, owner) {
            Some([_]) => Ok(()),
            Some(_) => {
                let (field, group, mode) = ("prices".to_owned(), "prices", Mode::Locked);
                let locked = Locked { field, group, owner, version: 0, mode };
                Err(Error::InheritedLocked { entity: "price_list", locked })
            }
            None => Err(Error::NotFound { what: "price list" }),
        }
    }
}

/// Its revision: nothing changes a price list yet.
pub const REVISION: u64 = 1;
