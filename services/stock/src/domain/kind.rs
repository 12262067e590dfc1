//! The kinds of movements, and what each permits.

use std::fmt;

/// What a movement is. Each posts from its own documents, in its own direction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Goods arrive from a supplier.
    PurchaseReceipt = 1,
    /// Goods leave to a customer.
    SaleShipment = 2,
    /// Goods move between two locations of one business.
    TransferDirect = 3,
    /// Stock that was there before the ledger.
    AdjustmentOpening = 4,
    /// A correction with a reason, either way.
    AdjustmentManual = 5,
    /// Goods are damaged.
    WriteOffDamage = 6,
    /// Goods are past their date.
    WriteOffExpiry = 7,
    /// Goods were stolen.
    WriteOffTheft = 8,
    /// Goods are gone.
    WriteOffLoss = 9,
    /// Goods were given as a sample.
    WriteOffSample = 10,
    /// Nobody wants the goods any more.
    WriteOffObsolete = 11,
    /// Goods were given away.
    WriteOffDonation = 12,
    /// Goods were destroyed by order.
    WriteOffDestruction = 13,
    /// A customer brings goods back.
    ReturnCustomer = 14,
    /// Goods go back to the supplier.
    ReturnSupplier = 15,
    /// The cost of goods that had left before they arrived becomes known. Made by the engine.
    ValueSettlement = 16,
}

/// Which way goods go, seen from the location of the movement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// They arrive.
    In,
    /// They leave.
    Out,
    /// The caller says.
    Either,
    /// They leave one location and arrive at another.
    Move,
    /// Only value changes.
    Value,
}

/// Who takes the other leg of a posting, so that quantity is conserved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Virtual {
    /// Where purchases come from.
    Supplier,
    /// Where sales go.
    Customer,
    /// Where adjustments come from and losses go.
    Loss,
}

impl Virtual {
    /// All of them.
    pub const ALL: [Virtual; 3] = [Virtual::Supplier, Virtual::Customer, Virtual::Loss];

    /// `supplier`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Virtual::Supplier => "supplier",
            Virtual::Customer => "customer",
            Virtual::Loss => "loss",
        }
    }
}

impl Kind {
    /// All kinds that a caller can post.
    pub const POSTABLE: [Kind; 15] = [
        Kind::PurchaseReceipt,
        Kind::SaleShipment,
        Kind::TransferDirect,
        Kind::AdjustmentOpening,
        Kind::AdjustmentManual,
        Kind::WriteOffDamage,
        Kind::WriteOffExpiry,
        Kind::WriteOffTheft,
        Kind::WriteOffLoss,
        Kind::WriteOffSample,
        Kind::WriteOffObsolete,
        Kind::WriteOffDonation,
        Kind::WriteOffDestruction,
        Kind::ReturnCustomer,
        Kind::ReturnSupplier,
    ];

    /// `purchase.receipt`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Kind::PurchaseReceipt => "purchase.receipt",
            Kind::SaleShipment => "sale.shipment",
            Kind::TransferDirect => "transfer.direct",
            Kind::AdjustmentOpening => "adjustment.opening",
            Kind::AdjustmentManual => "adjustment.manual",
            Kind::WriteOffDamage => "write_off.damage",
            Kind::WriteOffExpiry => "write_off.expiry",
            Kind::WriteOffTheft => "write_off.theft",
            Kind::WriteOffLoss => "write_off.loss",
            Kind::WriteOffSample => "write_off.sample",
            Kind::WriteOffObsolete => "write_off.obsolete",
            Kind::WriteOffDonation => "write_off.donation",
            Kind::WriteOffDestruction => "write_off.destruction",
            Kind::ReturnCustomer => "return.customer",
            Kind::ReturnSupplier => "return.supplier",
            Kind::ValueSettlement => "value.settlement",
        }
    }

    /// The kind with this code, if a caller can post it.
    #[must_use]
    pub fn parse(code: &str) -> Option<Kind> {
        Kind::POSTABLE.into_iter().find(|kind| kind.code() == code)
    }

    /// The kind with this number in a stored entry.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Kind> {
        let known = Kind::POSTABLE.into_iter().chain([Kind::ValueSettlement]);
        known.into_iter().find(|kind| u32::from(*kind as u8) == number)
    }

    /// The number in a stored entry; never reused.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self as u8)
    }

    /// `purchase`, `sale`, `transfer`, `adjustment`, `return`, `write_off` or `valuation`.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Kind::ValueSettlement => "valuation",
            other => other.code().split('.').next().unwrap_or_default(),
        }
    }

    /// Which way goods go.
    #[must_use]
    pub fn flow(self) -> Flow {
        match self {
            Kind::PurchaseReceipt | Kind::AdjustmentOpening | Kind::ReturnCustomer => Flow::In,
            Kind::AdjustmentManual => Flow::Either,
            Kind::TransferDirect => Flow::Move,
            Kind::ValueSettlement => Flow::Value,
            _ => Flow::Out,
        }
    }

    /// Who takes the other leg.
    #[must_use]
    pub fn counterpart(self) -> Virtual {
        match self {
            Kind::PurchaseReceipt | Kind::ReturnSupplier => Virtual::Supplier,
            Kind::SaleShipment | Kind::ReturnCustomer => Virtual::Customer,
            _ => Virtual::Loss,
        }
    }

    /// The documents that may cause it.
    #[must_use]
    pub fn sources(self) -> &'static [&'static str] {
        match self {
            Kind::PurchaseReceipt => &["goods_receipt", "purchase_order"],
            Kind::SaleShipment => &["shipment", "sales_order", "pos_receipt"],
            Kind::TransferDirect => &["transfer"],
            Kind::AdjustmentOpening => &["opening"],
            Kind::AdjustmentManual => &["adjustment"],
            Kind::ReturnCustomer => &["sales_return"],
            Kind::ReturnSupplier => &["supplier_return"],
            Kind::ValueSettlement => &["movement"],
            _ => &["write_off"],
        }
    }

    /// Whether a reason code must be given.
    #[must_use]
    pub fn needs_reason(self) -> bool {
        matches!(self.class(), "write_off") || self == Kind::AdjustmentManual
    }

    /// Whether the caller must say what arriving goods cost.
    #[must_use]
    pub fn needs_cost(self) -> bool {
        matches!(self, Kind::PurchaseReceipt | Kind::AdjustmentOpening)
    }

    /// Whether the caller may say what the goods cost.
    #[must_use]
    pub fn takes_cost(self) -> bool {
        self.needs_cost() || self == Kind::AdjustmentManual
    }

    /// The kind that a return of this kind returns.
    #[must_use]
    pub fn returns(self) -> Option<Kind> {
        match self {
            Kind::ReturnCustomer => Some(Kind::SaleShipment),
            Kind::ReturnSupplier => Some(Kind::PurchaseReceipt),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
