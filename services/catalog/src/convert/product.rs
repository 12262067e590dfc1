//! Products, one by one and in batches.

use std::collections::HashSet;

use ids::{BusinessId, ProductId};
use problem::{Invalid, VIOLATIONS_MAX, Violations, reason};
use proto::catalog::v1 as catalog;

use super::check::{self, Access, Mask, TEXT_MAX, checked, output_only};
use super::timestamp;
use super::variant::{OPTION_MAX, new_variant, required_status, status, status_number, variant_in};
use crate::Error;
use crate::app::{NewIds, Page, Saved};
use crate::domain::{
    AXES_MAX, DUPLICATE, Details, DetailsChange, NewProduct, Product, QUANTITY_SCALE_MAX, Status, TAGS_MAX,
    UnitRef, VARIANTS_MAX, units,
};

const NAME_MAX: usize = 300;
const DESCRIPTION_MAX: usize = 5_000;
/// Products of a batch.
const BATCH_MAX: usize = 1_000;

pub(crate) fn product_id(text: &str) -> Result<ProductId, Invalid> {
    check::one_id("product_id", text, ProductId::parse)
}

pub(crate) fn create_product(
    request: catalog::CreateProductRequest,
    business: BusinessId,
    ids: &NewIds<'_>,
) -> Result<NewProduct, Invalid> {
    checked(|v| {
        let product = check::message(v, "product", request.product)?;
        Some(v.within("product", |v| new_product(v, product, business, ids)))
    })
}

/// Reads the products of a batch, each by itself.
///
/// # Errors
/// When the batch itself is bad; and for `atomic` what is wrong with any of them.
pub(crate) fn batch_create<'a>(
    request: catalog::BatchCreateProductsRequest,
    business: BusinessId,
    ids: impl Iterator<Item = NewIds<'a>>,
) -> Result<Vec<Result<NewProduct, Invalid>>, Invalid> {
    let products = request.products;
    if products.is_empty() {
        return Err(Invalid::field("products", reason::REQUIRED, "must have at least one item"));
    }
    if products.len() > BATCH_MAX {
        return Err(Invalid::field(
            "products",
            reason::TOO_MANY,
            format!("must have at most '{BATCH_MAX}' items"),
        ));
    }
    let read = products.into_iter().zip(ids).enumerate().map(|(at, (product, ids))| {
        checked(|v| {
            Some(v.within(format_args!("products[{at}]"), |v| new_product(v, product, business, &ids)))
        })
    });
    let read: Vec<_> = read.collect();
    if request.atomic {
        let bad = read.iter().filter_map(|item| item.as_ref().err()).flat_map(|invalid| &invalid.violations);
        let violations: Vec<_> = bad.take(VIOLATIONS_MAX).cloned().collect();
        if !violations.is_empty() {
            return Err(Invalid { violations });
        }
    }
    Ok(read)
}

fn new_product(
    v: &mut Violations,
    product: catalog::Product,
    business: BusinessId,
    ids: &NewIds<'_>,
) -> NewProduct {
    output_only(v, "id", !product.id.is_empty());
    output_only(v, "business_id", !product.business_id.is_empty());
    output_only(v, "etag", !product.etag.is_empty());
    output_only(v, "created_at", product.created_at.is_some());
    output_only(v, "updated_at", product.updated_at.is_some());
    let name = check::name(v, "name", &product.name, NAME_MAX);
    let description = check::paragraphs(v, "description", &product.description, DESCRIPTION_MAX);
    let brand = check::line(v, "brand", &product.brand, TEXT_MAX);
    let category = check::line(v, "category", &product.category, TEXT_MAX);
    let base_unit =
        check::optional_unit(v, "base_unit", &product.base_unit).map(|unit| unit.unwrap_or(units::PIECE));
    let quantity_scale = quantity_scale(v, product.quantity_scale, base_unit);
    let axes = option_axes(v, product.option_axes);
    let tags = tags(v, product.tags);
    output_only(v, "origins", !product.origins.is_empty());
    let status = status(v, product.status);
    if product.variants.is_empty() {
        v.add("variants", reason::REQUIRED, "must have at least one item");
    }
    let few = check::at_most(v, "variants", &product.variants, VARIANTS_MAX);
    let variants = if few { product.variants } else { Vec::new() };
    let read = variants.into_iter().enumerate().map(|(at, variant)| {
        v.within(format_args!("variants[{at}]"), |v| new_variant(v, variant, ids.variant(at)))
    });
    let (variants, mut whole): (Vec<_>, Vec<_>) = read.unzip();
    if base_unit.is_none() || axes.is_none() {
        whole.fill(false); // nothing can be compared with them
    }
    let new = NewProduct {
        id: ids.product(),
        business,
        base_unit: base_unit.unwrap_or(units::PIECE),
        quantity_scale,
        details: Details {
            name: name.unwrap_or_default(),
            description: description.unwrap_or_default(),
            brand: brand.unwrap_or_default(),
            category: category.unwrap_or_default(),
            option_axes: axes.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
            status: status.unwrap_or(Status::Active),
        },
        variants,
    };
    new.check(&whole, v);
    new
}

fn quantity_scale(v: &mut Violations, scale: Option<u32>, base_unit: Option<UnitRef>) -> u8 {
    let default = base_unit.map_or(0, |unit| unit.default_scale());
    let Some(scale) = scale else { return default };
    match u8::try_from(scale) {
        Ok(scale) if scale <= QUANTITY_SCALE_MAX => scale,
        _ => {
            v.add(
                "quantity_scale",
                reason::OUT_OF_RANGE,
                format!("must be from '0' to '{QUANTITY_SCALE_MAX}'"),
            );
            default
        }
    }
}

fn option_axes(v: &mut Violations, axes: Vec<String>) -> Option<Vec<String>> {
    names(v, "option_axes", axes, AXES_MAX)
}

fn tags(v: &mut Violations, tags: Vec<String>) -> Option<Vec<String>> {
    names(v, "tags", tags, TAGS_MAX)
}

/// Names, each once.
fn names(v: &mut Violations, list: &str, names: Vec<String>, max: usize) -> Option<Vec<String>> {
    if !check::at_most(v, list, &names, max) {
        return None;
    }
    let mut good = true;
    let mut seen = HashSet::new();
    for (at, name) in names.iter().enumerate() {
        let field = format!("{list}[{at}]");
        good &= check::name(v, &field, name, OPTION_MAX).is_some();
        if !seen.insert(name) {
            v.add(&field, DUPLICATE, format!("must be unique; '{name}' is there twice"));
            good = false;
        }
    }
    good.then_some(names)
}

const FIELDS: [(&str, Access); 16] = [
    ("id", Access::OutputOnly),
    ("business_id", Access::OutputOnly),
    ("name", Access::Free),
    ("description", Access::Free),
    ("brand", Access::Free),
    ("category", Access::Free),
    ("base_unit", Access::Immutable),
    ("quantity_scale", Access::Immutable),
    ("option_axes", Access::Free),
    ("status", Access::Free),
    ("variants", Access::Elsewhere("UpdateVariant")),
    ("etag", Access::OutputOnly),
    ("created_at", Access::OutputOnly),
    ("updated_at", Access::OutputOnly),
    ("tags", Access::Free),
    ("origins", Access::OutputOnly),
];

pub(crate) fn update_product(
    request: catalog::UpdateProductRequest,
) -> Result<(ProductId, DetailsChange), Invalid> {
    checked(|v| {
        let id = check::id(v, "product_id", &request.product_id, ProductId::parse);
        let mask = Mask::read(v, &request.update_mask, &FIELDS);
        let product = check::message(v, "product", request.product)?;
        let change = v.within("product", |v| details_change(v, &mask, product));
        Some((id?, change))
    })
}

/// Fields that can change in stages.
const PUBLISHED: [(&str, Access); 5] = [
    ("name", Access::Free),
    ("description", Access::Free),
    ("brand", Access::Free),
    ("category", Access::Free),
    ("tags", Access::Free),
];

/// Reads what is to be published of a product.
pub(super) fn published(
    v: &mut Violations,
    fields: Option<catalog::PublishedFields>,
    update_mask: &[String],
) -> Option<DetailsChange> {
    let mask = Mask::read(v, update_mask, &PUBLISHED);
    let catalog::PublishedFields { name, description, brand, category, tags } =
        check::message(v, "product", fields)?;
    let product =
        catalog::Product { name, description, brand, category, tags, ..catalog::Product::default() };
    Some(v.within("product", |v| details_change(v, &mask, product)))
}

fn details_change(v: &mut Violations, mask: &Mask<'_>, product: catalog::Product) -> DetailsChange {
    let is_set = |field: &str| match field {
        "id" => !product.id.is_empty(),
        "business_id" => !product.business_id.is_empty(),
        "base_unit" => !product.base_unit.is_empty(),
        "quantity_scale" => product.quantity_scale.is_some(),
        "variants" => !product.variants.is_empty(),
        "etag" => !product.etag.is_empty(),
        "created_at" => product.created_at.is_some(),
        "updated_at" => product.updated_at.is_some(),
        "origins" => !product.origins.is_empty(),
        _ => false,
    };
    for (field, access) in FIELDS {
        mask.deny(v, field, access, is_set(field));
    }
    let mut change = DetailsChange::default();
    if mask.has("name", !product.name.is_empty()) {
        change.name = check::name(v, "name", &product.name, NAME_MAX);
    }
    if mask.has("description", !product.description.is_empty()) {
        change.description = check::paragraphs(v, "description", &product.description, DESCRIPTION_MAX);
    }
    if mask.has("brand", !product.brand.is_empty()) {
        change.brand = check::line(v, "brand", &product.brand, TEXT_MAX);
    }
    if mask.has("category", !product.category.is_empty()) {
        change.category = check::line(v, "category", &product.category, TEXT_MAX);
    }
    if mask.has("option_axes", !product.option_axes.is_empty()) {
        change.option_axes = option_axes(v, product.option_axes);
    }
    if mask.has("tags", !product.tags.is_empty()) {
        change.tags = tags(v, product.tags);
    }
    if mask.has("status", product.status != 0) {
        change.status = required_status(v, product.status);
    }
    change
}

pub(crate) fn product(product: &Product) -> catalog::Product {
    let details = &product.details;
    catalog::Product {
        id: product.id.to_string(),
        business_id: product.business.to_string(),
        name: details.name.clone(),
        description: details.description.clone(),
        brand: details.brand.clone(),
        category: details.category.clone(),
        base_unit: product.base_unit.code.to_owned(),
        quantity_scale: Some(u32::from(product.quantity_scale)),
        option_axes: details.option_axes.clone(),
        tags: details.tags.clone(),
        origins: vec![],
        status: status_number(details.status),
        variants: product.variants.iter().map(|variant| variant_in(product, variant)).collect(),
        etag: rpc::etag(product.revision),
        created_at: timestamp(product.created_at),
        updated_at: timestamp(product.updated_at),
    }
}

pub(crate) fn products(page: &Page<Product>) -> catalog::ListProductsResponse {
    catalog::ListProductsResponse {
        products: page.items.iter().map(product).collect(),
        next_page_token: page.next.clone(),
    }
}

/// The results of a batch, in the order of the request.
pub(crate) fn results(results: &[Result<Saved<Product>, Error>]) -> catalog::BatchCreateProductsResponse {
    use catalog::product_result::Result as One;
    let one = |result: &Result<Saved<Product>, Error>| catalog::ProductResult {
        result: Some(match result {
            Ok(saved) => One::Product(product(&saved.value)),
            Err(error) => One::Problem(rpc::item_problem(error)),
        }),
    };
    catalog::BatchCreateProductsResponse { results: results.iter().map(one).collect() }
}
