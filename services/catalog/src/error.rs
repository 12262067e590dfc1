//! What a caller can do about it, one variant per decision. Explained in `errors.md`.

use calendar::Instant;
use ids::{BusinessId, PublicationId};
use journal::{Rejection, Seq};
use problem::{Code, Invalid, Problem, Violation, reason};

use crate::domain::Status;
use crate::records;

/// Businesses that an error names.
const BUSINESSES_NAMED_MAX: usize = 20;

/// Why the catalogue does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request has bad fields.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A page token or a precondition that cannot be read.
    #[error(transparent)]
    Refused(#[from] rpc::Refused),
    /// Unknown here; the same for an id of another tenant.
    #[error("no such {what}")]
    NotFound {
        /// `product`, `variant`, `price list`.
        what: &'static str,
    },
    /// Another variant of the tenant has the SKU.
    #[error("the SKU '{sku}' is taken")]
    SkuTaken {
        /// Which.
        sku: String,
    },
    /// Another variant of the tenant has the barcode.
    #[error("the barcode '{barcode}' is taken")]
    BarcodeTaken {
        /// Which; GTINs with 14 digits.
        barcode: String,
    },
    /// Another price list of the tenant has the code.
    #[error("the code '{code}' is taken")]
    CodeTaken {
        /// Which.
        code: String,
    },
    /// The caller has seen an older revision.
    #[error("the current revision is '{current}'")]
    StaleRevision {
        /// The revision now.
        current: Seq,
    },
    /// The status cannot follow the present one.
    #[error("'{}' cannot become '{}'", from.name(), to.name())]
    IllegalTransition {
        /// The present status.
        from: Status,
        /// The wanted one.
        to: Status,
    },
    /// There is room for no more of them.
    #[error("there can be at most '{max}' {what}")]
    LimitReached {
        /// `variants`, `unit conversions`, …
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// The variant does not say what the unit is in its base unit.
    #[error("the variant has no conversion from '{unit}' to '{base_unit}'")]
    UnitNotConvertible {
        /// The unit that was named.
        unit: &'static str,
        /// The base unit of the variant.
        base_unit: &'static str,
    },
    /// The variant has no price in the list and unit at that moment.
    #[error("no price is set")]
    PriceNotSet,
    /// Another price begins at the same moment.
    #[error("another price is scheduled for '{effective_at}'")]
    PriceAlreadyScheduled {
        /// The moment.
        effective_at: Instant,
    },
    /// A policy of a business above does not let the caller's business say otherwise.
    #[error("{locked}")]
    InheritedLocked {
        /// `product`, `price_list`.
        entity: &'static str,
        /// Which field, and whose policy.
        locked: inherit::Locked,
    },
    /// A lock that was to be refused while there are overrides met some.
    #[error("'{}' businesses say otherwise", businesses.len())]
    OverridesExist {
        /// Which.
        businesses: Vec<BusinessId>,
    },
    /// A publication of the field is under way.
    #[error("a publication of '{field}' is under way: let it reach everybody, or take it back")]
    PublicationUnderWay {
        /// Which publication.
        publication: PublicationId,
        /// Which field.
        field: String,
    },
    /// The publication was taken back, or is too old to be.
    #[error("the publication has ended")]
    PublicationEnded,
    /// Stages begin one after the other.
    #[error("the next stage is '{next}'")]
    StageNotNext {
        /// Which one is next, from 1.
        next: usize,
    },
    /// Another service did not answer.
    #[error("'{service}' is not available, try again")]
    Dependency {
        /// Which.
        service: &'static str,
    },
    /// What is wrong with one item of an atomic batch; none of them was done.
    #[error("item '{position}': {error}")]
    InBatch {
        /// Which, from 0.
        position: usize,
        /// What.
        error: Box<Error>,
    },
    /// The journal did not answer, or refused.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl From<Rejection<Error>> for Error {
    fn from(rejection: Rejection<Error>) -> Self {
        match rejection {
            Rejection::Domain(error) => error,
            Rejection::Claimed { claim, .. } => records::claimed(&claim),
            Rejection::Journal(error) => error.into(),
        }
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "catalog";

    fn code(&self) -> Code {
        match self {
            Error::Invalid(invalid) => invalid.code(),
            Error::Refused(refused) => refused.code(),
            Error::NotFound { .. } | Error::PriceNotSet => Code::NotFound,
            Error::SkuTaken { .. } | Error::BarcodeTaken { .. } | Error::CodeTaken { .. } => {
                Code::AlreadyExists
            }
            Error::StaleRevision { .. } => Code::Aborted,
            Error::InheritedLocked { .. } => Code::PermissionDenied,
            Error::IllegalTransition { .. }
            | Error::LimitReached { .. }
            | Error::UnitNotConvertible { .. }
            | Error::OverridesExist { .. }
            | Error::PublicationUnderWay { .. }
            | Error::PublicationEnded
            | Error::StageNotNext { .. }
            | Error::PriceAlreadyScheduled { .. } => Code::FailedPrecondition,
            Error::Dependency { .. } => Code::Unavailable,
            Error::InBatch { error, .. } => error.code(),
            Error::Journal(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(invalid) => invalid.reason(),
            Error::Refused(refused) => refused.reason(),
            Error::NotFound { .. } => "NOT_FOUND",
            Error::SkuTaken { .. } => "SKU_TAKEN",
            Error::BarcodeTaken { .. } => "BARCODE_TAKEN",
            Error::CodeTaken { .. } => "CODE_TAKEN",
            Error::StaleRevision { .. } => reason::STALE_REVISION,
            Error::IllegalTransition { .. } => "ILLEGAL_TRANSITION",
            Error::LimitReached { .. } => "LIMIT_REACHED",
            Error::UnitNotConvertible { .. } => "UNIT_NOT_CONVERTIBLE",
            Error::PriceNotSet => "PRICE_NOT_SET",
            Error::PriceAlreadyScheduled { .. } => "PRICE_ALREADY_SCHEDULED",
            Error::InheritedLocked { .. } => "INHERITED_LOCKED",
            Error::OverridesExist { .. } => "OVERRIDES_EXIST",
            Error::PublicationUnderWay { .. } => "PUBLICATION_UNDER_WAY",
            Error::PublicationEnded => "PUBLICATION_ENDED",
            Error::StageNotNext { .. } => "STAGE_NOT_NEXT",
            Error::Dependency { .. } => "UNAVAILABLE",
            Error::InBatch { error, .. } => error.reason(),
            Error::Journal(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::Refused(refused) => refused.metadata(),
            Error::SkuTaken { sku } => vec![("sku", sku.clone())],
            Error::BarcodeTaken { barcode } => vec![("barcode", barcode.clone())],
            Error::CodeTaken { code } => vec![("code", code.clone())],
            Error::StaleRevision { current } => vec![("current", rpc::etag(*current))],
            Error::IllegalTransition { from, to } => {
                vec![("from", from.name().to_owned()), ("to", to.name().to_owned())]
            }
            Error::LimitReached { max, .. } => vec![("max", max.to_string())],
            Error::UnitNotConvertible { unit, base_unit } => {
                vec![("unit", (*unit).to_owned()), ("base_unit", (*base_unit).to_owned())]
            }
            Error::PriceAlreadyScheduled { effective_at } => vec![("effective_at", effective_at.to_string())],
            Error::InheritedLocked { entity, locked } => vec![
                ("field", locked.field.clone()),
                ("owner", locked.owner.to_string()),
                ("policy", format!("{entity}/{}", locked.group)),
                ("policy_version", locked.version.to_string()),
                ("mode", locked.mode.name().to_owned()),
            ],
            Error::OverridesExist { businesses } => {
                let first = businesses.iter().take(BUSINESSES_NAMED_MAX).map(ToString::to_string);
                let named = first.collect::<Vec<_>>().join(",");
                vec![("count", businesses.len().to_string()), ("businesses", named)]
            }
            Error::PublicationUnderWay { publication, field } => {
                vec![("publication", publication.to_string()), ("field", field.clone())]
            }
            Error::StageNotNext { next } => vec![("next", next.to_string())],
            Error::InBatch { position, error } => {
                let mut metadata = error.metadata();
                metadata.push(("item", position.to_string()));
                metadata
            }
            Error::Journal(error) => error.metadata(),
            Error::Invalid(_)
            | Error::NotFound { .. }
            | Error::PriceNotSet
            | Error::PublicationEnded
            | Error::Dependency { .. } => vec![],
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Error::Invalid(invalid) => invalid.violations(),
            Error::InBatch { error, .. } => error.violations(),
            _ => &[],
        }
    }
}
