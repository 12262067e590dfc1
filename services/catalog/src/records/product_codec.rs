//! Codecs of the rows and events of a product.

use std::collections::BTreeMap;

use calendar::Instant;
use ids::{BusinessId, ProductId, VariantId};
use inherit::Visibility;
use journal::{Damage, Seq};
use prost::Message;

use super::codec::{self, FactorRow, missing};
use super::editions::{AdvancedRow, EditionRow, PublishedRow, RolledBackRow};
use super::overrides::{OverriddenRow, VisibilitySetRow, businesses, path_bytes};
use crate::domain::{
    Barcode, Conversion, Details, Edition, Event, NewProduct, NewVariant, Product, Symbology, UnitFactor,
    Variant, VariantDetails,
};

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) id: ProductId,
    pub(super) revision: Seq,
    pub(super) updated_at: Instant,
}

/// The variant with these bytes.
pub(crate) fn variant_of(bytes: &[u8]) -> Result<VariantId, Damage> {
    codec::id(bytes).map(VariantId::from_bytes)
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) revision: u64,
    #[prost(int64, tag = "3")]
    pub(super) updated_at_us: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CoreRow {
    #[prost(bytes = "vec", tag = "1")]
    business: Vec<u8>,
    #[prost(string, tag = "2")]
    base_unit: String,
    #[prost(uint32, tag = "3")]
    quantity_scale: u32,
    #[prost(message, optional, tag = "4")]
    details: Option<DetailsRow>,
    #[prost(int64, tag = "5")]
    created_at_us: i64,
    /// 16 bytes each, as the two below.
    #[prost(bytes = "vec", tag = "6")]
    variants: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    include: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    exclude: Vec<u8>,
    #[prost(message, repeated, tag = "9")]
    editions: Vec<EditionRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DetailsRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    brand: String,
    #[prost(string, tag = "4")]
    category: String,
    #[prost(string, repeated, tag = "5")]
    option_axes: Vec<String>,
    #[prost(uint32, tag = "6")]
    status: u32,
    #[prost(string, repeated, tag = "7")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VariantRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    details: Option<VariantDetailsRow>,
    #[prost(message, repeated, tag = "3")]
    conversions: Vec<ConversionRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VariantDetailsRow {
    #[prost(string, tag = "1")]
    sku: String,
    #[prost(btree_map = "string, string", tag = "2")]
    option_values: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    barcodes: Vec<BarcodeRow>,
    #[prost(uint32, tag = "4")]
    status: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BarcodeRow {
    #[prost(string, tag = "1")]
    value: String,
    #[prost(bool, tag = "2")]
    gtin: bool,
    #[prost(string, tag = "3")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConversionRow {
    #[prost(message, optional, tag = "1")]
    factor: Option<FactorRow>,
    #[prost(int64, tag = "2")]
    valid_from_us: i64,
    #[prost(int64, optional, tag = "3")]
    superseded_at_us: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NewProductRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    business: Vec<u8>,
    #[prost(string, tag = "3")]
    base_unit: String,
    #[prost(uint32, tag = "4")]
    quantity_scale: u32,
    #[prost(message, optional, tag = "5")]
    details: Option<DetailsRow>,
    #[prost(message, repeated, tag = "6")]
    variants: Vec<NewVariantRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NewVariantRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    details: Option<VariantDetailsRow>,
    #[prost(message, repeated, tag = "3")]
    factors: Vec<FactorRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VariantChangedRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    details: Option<VariantDetailsRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FactorSetRow {
    #[prost(bytes = "vec", tag = "1")]
    variant: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    factor: Option<FactorRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EventRow {
    #[prost(oneof = "EventKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub(super) event: Option<EventKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum EventKind {
    #[prost(message, tag = "1")]
    Created(NewProductRow),
    #[prost(message, tag = "2")]
    DetailsChanged(DetailsRow),
    #[prost(message, tag = "3")]
    VariantAdded(NewVariantRow),
    #[prost(message, tag = "4")]
    VariantChanged(VariantChangedRow),
    #[prost(message, tag = "5")]
    FactorSet(FactorSetRow),
    #[prost(message, tag = "6")]
    Overridden(OverriddenRow),
    #[prost(message, tag = "7")]
    VisibilitySet(VisibilitySetRow),
    #[prost(message, tag = "8")]
    Published(PublishedRow),
    #[prost(message, tag = "9")]
    Advanced(AdvancedRow),
    #[prost(message, tag = "10")]
    RolledBack(RolledBackRow),
}

impl CoreRow {
    pub(super) fn of(product: &Product, ids: &[VariantId]) -> CoreRow {
        CoreRow {
            business: product.business.as_bytes().to_vec(),
            base_unit: product.base_unit.code.to_owned(),
            quantity_scale: u32::from(product.quantity_scale),
            details: Some((&product.details).into()),
            created_at_us: product.created_at.unix_micros(),
            variants: ids.iter().flat_map(|id| *id.as_bytes()).collect(),
            include: path_bytes(&product.visibility.include).to_vec(),
            exclude: path_bytes(&product.visibility.exclude).to_vec(),
            editions: product.editions.iter().map(EditionRow::from).collect(),
        }
    }

    pub(super) fn read(self, known: Known) -> Result<(Product, Vec<VariantId>), Damage> {
        let ids = self.variants.chunks(16).map(variant_of).collect::<Result<_, _>>()?;
        let product = Product {
            id: known.id,
            business: BusinessId::from_bytes(codec::id(&self.business)?),
            base_unit: codec::unit(&self.base_unit)?,
            quantity_scale: scale(self.quantity_scale)?,
            details: self.details.ok_or_else(|| missing("details"))?.try_into()?,
            variants: Vec::new(),
            said: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            visibility: Visibility {
                include: businesses(&self.include)?,
                exclude: businesses(&self.exclude)?,
            },
            editions: self.editions.into_iter().map(Edition::try_from).collect::<Result<_, _>>()?,
            created_at: codec::instant(self.created_at_us)?,
            updated_at: known.updated_at,
            revision: known.revision,
        };
        Ok((product, ids))
    }
}

fn scale(number: u32) -> Result<u8, Damage> {
    u8::try_from(number).map_err(|_| Damage("a quantity scale is too large".into()))
}

impl From<&Details> for DetailsRow {
    fn from(details: &Details) -> Self {
        DetailsRow {
            name: details.name.clone(),
            description: details.description.clone(),
            brand: details.brand.clone(),
            category: details.category.clone(),
            option_axes: details.option_axes.clone(),
            tags: details.tags.clone(),
            status: codec::status_number(details.status),
        }
    }
}

impl TryFrom<DetailsRow> for Details {
    type Error = Damage;

    fn try_from(row: DetailsRow) -> Result<Self, Damage> {
        Ok(Details {
            name: row.name,
            description: row.description,
            brand: row.brand,
            category: row.category,
            option_axes: row.option_axes,
            tags: row.tags,
            status: codec::status(row.status)?,
        })
    }
}

impl From<&Variant> for VariantRow {
    fn from(variant: &Variant) -> Self {
        let conversion = |one: &Conversion| ConversionRow {
            factor: Some((&one.factor).into()),
            valid_from_us: one.valid_from.unix_micros(),
            superseded_at_us: one.superseded_at.map(Instant::unix_micros),
        };
        VariantRow {
            id: variant.id.as_bytes().to_vec(),
            details: Some((&variant.details).into()),
            conversions: variant.conversions.iter().map(conversion).collect(),
        }
    }
}

impl TryFrom<VariantRow> for Variant {
    type Error = Damage;

    fn try_from(row: VariantRow) -> Result<Self, Damage> {
        let conversion = |one: ConversionRow| {
            Ok(Conversion {
                factor: one.factor.ok_or_else(|| missing("a factor"))?.try_into()?,
                valid_from: codec::instant(one.valid_from_us)?,
                superseded_at: one.superseded_at_us.map(codec::instant).transpose()?,
            })
        };
        Ok(Variant {
            id: variant_of(&row.id)?,
            details: variant_details(row.details)?,
            conversions: row.conversions.into_iter().map(conversion).collect::<Result<_, Damage>>()?,
        })
    }
}

fn variant_details(row: Option<VariantDetailsRow>) -> Result<VariantDetails, Damage> {
    row.ok_or_else(|| missing("the details of a variant"))?.try_into()
}

impl From<&VariantDetails> for VariantDetailsRow {
    fn from(details: &VariantDetails) -> Self {
        let barcode = |one: &Barcode| BarcodeRow {
            value: one.value.clone(),
            gtin: one.symbology == Symbology::Gtin,
            unit: one.unit.map_or("", |unit| unit.code).to_owned(),
        };
        VariantDetailsRow {
            sku: details.sku.clone(),
            option_values: details.option_values.clone(),
            barcodes: details.barcodes.iter().map(barcode).collect(),
            status: codec::status_number(details.status),
        }
    }
}

impl TryFrom<VariantDetailsRow> for VariantDetails {
    type Error = Damage;

    fn try_from(row: VariantDetailsRow) -> Result<Self, Damage> {
        let barcode = |one: BarcodeRow| {
            let unit = if one.unit.is_empty() { None } else { Some(codec::unit(&one.unit)?) };
            let symbology = if one.gtin { Symbology::Gtin } else { Symbology::Internal };
            Ok(Barcode { value: one.value, symbology, unit })
        };
        Ok(VariantDetails {
            sku: row.sku,
            option_values: row.option_values,
            barcodes: row.barcodes.into_iter().map(barcode).collect::<Result<_, Damage>>()?,
            status: codec::status(row.status)?,
        })
    }
}

impl From<&NewVariant> for NewVariantRow {
    fn from(new: &NewVariant) -> Self {
        NewVariantRow {
            id: new.id.as_bytes().to_vec(),
            details: Some((&new.details).into()),
            factors: new.factors.iter().map(FactorRow::from).collect(),
        }
    }
}

impl TryFrom<NewVariantRow> for NewVariant {
    type Error = Damage;

    fn try_from(row: NewVariantRow) -> Result<Self, Damage> {
        Ok(NewVariant {
            id: variant_of(&row.id)?,
            details: variant_details(row.details)?,
            factors: row.factors.into_iter().map(UnitFactor::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&NewProduct> for NewProductRow {
    fn from(new: &NewProduct) -> Self {
        NewProductRow {
            id: new.id.as_bytes().to_vec(),
            business: new.business.as_bytes().to_vec(),
            base_unit: new.base_unit.code.to_owned(),
            quantity_scale: u32::from(new.quantity_scale),
            details: Some((&new.details).into()),
            variants: new.variants.iter().map(NewVariantRow::from).collect(),
        }
    }
}

impl TryFrom<NewProductRow> for NewProduct {
    type Error = Damage;

    fn try_from(row: NewProductRow) -> Result<Self, Damage> {
        Ok(NewProduct {
            id: ProductId::from_bytes(codec::id(&row.id)?),
            business: BusinessId::from_bytes(codec::id(&row.business)?),
            base_unit: codec::unit(&row.base_unit)?,
            quantity_scale: scale(row.quantity_scale)?,
            details: row.details.ok_or_else(|| missing("details"))?.try_into()?,
            variants: row.variants.into_iter().map(NewVariant::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Event> for EventKind {
    fn from(event: &Event) -> Self {
        match event {
            Event::Created(new) => EventKind::Created((&**new).into()),
            Event::DetailsChanged(details) => EventKind::DetailsChanged(details.into()),
            Event::VariantAdded(new) => EventKind::VariantAdded(new.into()),
            Event::VariantChanged { id, details } => EventKind::VariantChanged(VariantChangedRow {
                id: id.as_bytes().to_vec(),
                details: Some(details.into()),
            }),
            Event::FactorSet { variant, factor } => EventKind::FactorSet(FactorSetRow {
                variant: variant.as_bytes().to_vec(),
                factor: Some(factor.into()),
            }),
            Event::Overridden(overridden) => EventKind::Overridden(overridden.into()),
            Event::VisibilitySet { visibility, reason } => {
                EventKind::VisibilitySet(VisibilitySetRow::of(visibility, reason))
            }
            Event::Published(published) => EventKind::Published((&**published).into()),
            Event::Advanced { publication, stage } => {
                EventKind::Advanced(AdvancedRow::of(*publication, *stage))
            }
            Event::RolledBack { publication, reason } => {
                EventKind::RolledBack(RolledBackRow::of(*publication, reason))
            }
        }
    }
}

impl TryFrom<EventKind> for Event {
    type Error = Damage;

    fn try_from(event: EventKind) -> Result<Self, Damage> {
        Ok(match event {
            EventKind::Created(row) => Event::Created(Box::new(row.try_into()?)),
            EventKind::DetailsChanged(row) => Event::DetailsChanged(row.try_into()?),
            EventKind::VariantAdded(row) => Event::VariantAdded(row.try_into()?),
            EventKind::VariantChanged(row) => {
                Event::VariantChanged { id: variant_of(&row.id)?, details: variant_details(row.details)? }
            }
            EventKind::FactorSet(row) => Event::FactorSet {
                variant: variant_of(&row.variant)?,
                factor: row.factor.ok_or_else(|| missing("a factor"))?.try_into()?,
            },
            EventKind::Overridden(row) => Event::Overridden(row.try_into()?),
            EventKind::VisibilitySet(row) => row.read()?,
            EventKind::Published(row) => Event::Published(Box::new(row.try_into()?)),
            EventKind::Advanced(row) => row.read()?,
            EventKind::RolledBack(row) => row.read()?,
        })
    }
}
