//! Price lists and prices.

use calendar::Instant;
use ids::{BusinessId, PriceListId, VariantId};
use journal::Posted;
use money::{Currency, UnitPrice};
use problem::{Invalid, Violations, reason};
use proto::api::v1 as api;
use proto::catalog::v1 as catalog;

use super::check::{self, TEXT_MAX, checked, output_only};
use super::timestamp;
use crate::app::{Cleared, NewIds, NewPrice, Page, PriceAt};
use crate::domain::{Change, Kind, NewPriceList, PRICE_LIST_REVISION, PriceList, UnitRef};

const REASON_MAX: usize = 500;

pub(crate) fn price_list_id(text: &str) -> Result<PriceListId, Invalid> {
    check::one_id("price_list_id", text, PriceListId::parse)
}

pub(crate) fn create_price_list(
    request: catalog::CreatePriceListRequest,
    business: BusinessId,
    ids: &NewIds<'_>,
) -> Result<NewPriceList, Invalid> {
    checked(|v| {
        let list = check::message(v, "price_list", request.price_list)?;
        v.within("price_list", |v| {
            output_only(v, "id", !list.id.is_empty());
            output_only(v, "business_id", !list.business_id.is_empty());
            output_only(v, "etag", !list.etag.is_empty());
            output_only(v, "created_at", list.created_at.is_some());
            let code = check::code(v, "code", &list.code);
            let name = check::name(v, "name", &list.name, TEXT_MAX);
            let kind = kind(v, list.kind);
            let currency = v.required("currency", &list.currency).map(Currency::parse);
            let currency = currency.and_then(|parsed| v.field("currency", parsed));
            Some(NewPriceList {
                id: ids.price_list(),
                business,
                code: code?,
                name: name?,
                kind: kind?,
                currency: currency?,
                tax_inclusive: list.tax_inclusive,
            })
        })
    })
}

fn kind(v: &mut Violations, number: i32) -> Option<Kind> {
    match catalog::PriceListKind::try_from(number) {
        Ok(catalog::PriceListKind::Sale) => Some(Kind::Sale),
        Ok(catalog::PriceListKind::Purchase) => Some(Kind::Purchase),
        Ok(catalog::PriceListKind::Transfer) => Some(Kind::Transfer),
        Ok(catalog::PriceListKind::StandardCost) => Some(Kind::StandardCost),
        Ok(catalog::PriceListKind::Unspecified) => {
            v.add("kind", reason::REQUIRED, "must be given");
            None
        }
        Err(_) => {
            v.add("kind", reason::UNKNOWN_VALUE, "must be 'SALE', 'PURCHASE', 'TRANSFER' or 'STANDARD_COST'");
            None
        }
    }
}

pub(crate) fn set_price(request: catalog::SetPriceRequest) -> Result<NewPrice, Invalid> {
    checked(|v| {
        let list = check::id(v, "price_list_id", &request.price_list_id, PriceListId::parse);
        let price = check::message(v, "price", request.price)?;
        v.within("price", |v| {
            let variant = check::id(v, "variant_id", &price.variant_id, VariantId::parse);
            let amount = amount(v, &price.amount);
            let unit = check::optional_unit(v, "unit", &price.unit);
            let effective_at = check::optional_instant(v, "effective_at", price.effective_at);
            let reason = check::name(v, "reason", &price.reason, REASON_MAX);
            Some(NewPrice {
                list: list?,
                variant: variant?,
                amount: amount?,
                unit: unit?,
                effective_at: effective_at?,
                reason: reason?,
            })
        })
    })
}

fn amount(v: &mut Violations, text: &str) -> Option<UnitPrice> {
    let text = v.required("amount", text)?;
    let amount = v.field("amount", UnitPrice::parse(text))?;
    if amount.is_negative() {
        v.add("amount", reason::OUT_OF_RANGE, "must not be negative");
        return None;
    }
    Some(amount)
}

pub(crate) fn clear_price(request: catalog::ClearPriceRequest) -> Result<(Line, String), Invalid> {
    checked(|v| {
        let list = check::id(v, "price_list_id", &request.price_list_id, PriceListId::parse);
        let variant = check::id(v, "variant_id", &request.variant_id, VariantId::parse);
        let unit = check::optional_unit(v, "unit", &request.unit);
        let reason = check::name(v, "reason", &request.reason, REASON_MAX);
        Some(((list?, variant?, unit?), reason?))
    })
}

/// List, variant and unit of a price.
pub(crate) type Line = (PriceListId, VariantId, Option<UnitRef>);

/// List, variant, unit and moment of a price that is asked for.
pub(crate) type Asked = (PriceListId, VariantId, Option<UnitRef>, Option<Instant>);

pub(crate) fn get_price(request: &catalog::GetPriceRequest) -> Result<Asked, Invalid> {
    checked(|v| {
        let list = check::id(v, "price_list_id", &request.price_list_id, PriceListId::parse);
        let variant = check::id(v, "variant_id", &request.variant_id, VariantId::parse);
        let unit = check::optional_unit(v, "unit", &request.unit);
        let at = check::optional_instant(v, "at", request.at);
        Some((list?, variant?, unit?, at?))
    })
}

pub(crate) fn list_price_changes(
    request: &catalog::ListPriceChangesRequest,
) -> Result<(Line, Option<BusinessId>), Invalid> {
    checked(|v| {
        let list = check::id(v, "price_list_id", &request.price_list_id, PriceListId::parse);
        let variant = check::id(v, "variant_id", &request.variant_id, VariantId::parse);
        let unit = check::optional_unit(v, "unit", &request.unit);
        let business = match request.business_id.is_empty() {
            true => None,
            false => Some(check::id(v, "business_id", &request.business_id, BusinessId::parse)?),
        };
        Some(((list?, variant?, unit?), business))
    })
}

pub(crate) fn price_list(list: &PriceList) -> catalog::PriceList {
    let PriceList { list, created_at } = list;
    let kind = match list.kind {
        Kind::Sale => catalog::PriceListKind::Sale,
        Kind::Purchase => catalog::PriceListKind::Purchase,
        Kind::Transfer => catalog::PriceListKind::Transfer,
        Kind::StandardCost => catalog::PriceListKind::StandardCost,
    };
    catalog::PriceList {
        id: list.id.to_string(),
        business_id: list.business.to_string(),
        code: list.code.clone(),
        name: list.name.clone(),
        kind: kind.into(),
        currency: list.currency.code().to_owned(),
        tax_inclusive: list.tax_inclusive,
        etag: rpc::etag(PRICE_LIST_REVISION),
        created_at: timestamp(*created_at),
    }
}

pub(crate) fn price_lists(page: &Page<PriceList>) -> catalog::ListPriceListsResponse {
    catalog::ListPriceListsResponse {
        price_lists: page.items.iter().map(price_list).collect(),
        next_page_token: page.next.clone(),
    }
}

pub(crate) fn price_change(list: &PriceList, posted: &Posted<Change>) -> catalog::PriceChange {
    let change = &posted.event;
    let business = change.path.last().unwrap_or(&list.list.business);
    catalog::PriceChange {
        sequence: change.sequence,
        price_list_id: change.list.to_string(),
        variant_id: change.variant.to_string(),
        unit: change.unit.code.to_owned(),
        currency: change.currency.code().to_owned(),
        old_amount: change.old.map(UnitPrice::amount).unwrap_or_default(),
        new_amount: change.new.map(UnitPrice::amount).unwrap_or_default(),
        effective_at: timestamp(change.effective_at),
        recorded_at: timestamp(posted.recorded_at),
        actor: Some(api::Actor { kind: posted.actor.kind.clone(), id: posted.actor.id.clone() }),
        reason: change.reason.clone(),
        source: change.source.name().to_owned(),
        business_id: business.to_string(),
    }
}

pub(crate) fn price_changes(found: &(PriceList, Page<Posted<Change>>)) -> catalog::ListPriceChangesResponse {
    let (list, page) = found;
    catalog::ListPriceChangesResponse {
        changes: page.items.iter().map(|change| price_change(list, change)).collect(),
        next_page_token: page.next.clone(),
    }
}

pub(crate) fn price(found: &PriceAt) -> catalog::Price {
    let change = &found.change.event;
    catalog::Price {
        price_list_id: change.list.to_string(),
        variant_id: change.variant.to_string(),
        unit: change.unit.code.to_owned(),
        price: change.new.map(|amount| api::Money {
            currency: change.currency.code().to_owned(),
            amount: amount.amount(),
        }),
        tax_inclusive: found.list.list.tax_inclusive,
        change: Some(price_change(&found.list, &found.change)),
        next_change: found.next.as_ref().map(|next| price_change(&found.list, next)),
        origin: Some(super::inheritance::origin("prices", &found.origin)),
    }
}

pub(crate) fn cleared(list: &PriceList, cleared: &Cleared) -> catalog::ClearPriceResponse {
    catalog::ClearPriceResponse {
        change: cleared.change.as_ref().map(|change| price_change(list, change)),
        price: cleared.price.as_ref().map(price),
    }
}
