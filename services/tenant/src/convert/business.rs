//! Businesses.

use ids::BusinessId;
use money::Currency;
use problem::{Invalid, Violations, reason};
use proto::tenant::v1 as wire;

use super::{finish, name, page_size, refuse_output_only, required_id, snake, timestamp};
use crate::app::{CreateBusiness, Page};
use crate::domain::{Business, BusinessUpdate, Costing, Placed, Status};

pub(crate) fn create_business(request: wire::CreateBusinessRequest) -> Result<CreateBusiness, Invalid> {
    let mut violations = Violations::new();
    let Some(business) = request.business else {
        return Err(Invalid::field("business", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("business", |violations| {
        refuse_output_only(violations, &output_only_of_business(&business));
        if business.backdate_window_days != 0 {
            violations.add(
                "backdate_window_days",
                reason::NOT_ALLOWED,
                "is changed after the business is made",
            );
        }
        let parent = (!business.parent_id.is_empty())
            .then(|| violations.field("parent_id", BusinessId::parse(&business.parent_id)))
            .flatten();
        name(violations, "legal_name", &business.legal_name, Business::NAME_CHARS_MAX);
        if violations.required("country", &business.country).is_some() {
            country(violations, &business.country);
        }
        let currency = violations.required("base_currency", &business.base_currency);
        let currency = currency.and_then(|code| {
            let currency = Currency::parse(code).ok();
            if currency.is_none() {
                let detail = format!("must be a currency of ISO 4217, not '{code}'");
                violations.add("base_currency", reason::UNKNOWN_VALUE, detail);
            }
            currency
        });
        let costing = match business.costing_method {
            0 => Some(Costing::MovingAverage),
            method => costing(violations, method),
        };
        let base_currency = currency?;
        Some(CreateBusiness {
            parent,
            cost_scale: cost_scale(violations, business.cost_scale, base_currency)?,
            legal_name: business.legal_name,
            country: business.country,
            base_currency,
            costing: costing?,
        })
    });
    finish(violations, new)
}

/// Checks a code of ISO 3166-1.
/// Officially assigned codes of ISO 3166-1 alpha-2, as of 2026 (<https://www.iso.org/obp/ui/#iso:pub:PUB500001:en>).
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR \
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT \
    JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

pub(crate) fn country(violations: &mut Violations, code: &str) {
    if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        violations.add("country", reason::MALFORMED, "must be two upper-case letters of ISO 3166-1");
    } else if !COUNTRIES.split_ascii_whitespace().any(|known| known == code) {
        violations.add("country", reason::UNKNOWN_VALUE, format!("'{code}' is no country of ISO 3166-1"));
    }
}

/// The decimal places of stock values; 0 is those of the currency.
fn cost_scale(violations: &mut Violations, wanted: u32, currency: Currency) -> Option<u8> {
    let (finest, most) = (currency.minor_places(), Business::COST_SCALE_MAX);
    let scale = if wanted == 0 { finest } else { wanted };
    if (finest..=u32::from(most)).contains(&scale) {
        return u8::try_from(scale).ok();
    }
    violations.add("cost_scale", reason::OUT_OF_RANGE, format!("must be from '{finest}' to '{most}'"));
    None
}

pub(crate) fn move_business(
    request: &wire::MoveBusinessRequest,
) -> Result<(BusinessId, BusinessId), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "business_id", &request.business_id, BusinessId::parse);
    let parent = required_id(&mut violations, "parent_id", &request.parent_id, BusinessId::parse);
    finish(violations, id.zip(parent))
}

/// The business that the list begins with, and the size of a page.
pub(crate) fn list_businesses(
    request: &wire::ListBusinessesRequest,
) -> Result<(Option<BusinessId>, usize), Invalid> {
    let size = page_size(request.page_size)?;
    let mut violations = Violations::new();
    let within = (!request.within_id.is_empty())
        .then(|| violations.field("within_id", BusinessId::parse(&request.within_id)))
        .flatten();
    violations.into_result()?;
    Ok((within, size))
}

pub(crate) fn update_business(
    request: &wire::UpdateBusinessRequest,
) -> Result<(BusinessId, BusinessUpdate), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "business_id", &request.business_id, BusinessId::parse);
    let mut update = BusinessUpdate::default();
    match &request.business {
        None => violations.add("business", reason::REQUIRED, "must be given"),
        Some(business) => violations.within("business", |violations| {
            refuse_output_only(violations, &output_only_of_business(business));
            for (field, _) in fixed_of_business(business).iter().filter(|(_, set)| *set) {
                update_field(violations, business, field, &mut BusinessUpdate::default());
            }
            let mask = mask(business, &request.update_mask);
            let fixed = fixed_of_business(business);
            // What is set and fixed was reported already.
            for field in mask.iter().filter(|field| !fixed.contains(&(field.as_str(), true))) {
                update_field(violations, business, field, &mut update);
            }
        }),
    }
    finish(violations, id.map(|id| (id, update)))
}

/// The fields to change: those of the mask; without a mask those that are set.
fn mask(business: &wire::Business, mask: &[String]) -> Vec<String> {
    if !mask.is_empty() {
        return mask.iter().map(|field| snake(field)).collect();
    }
    let set = [
        ("legal_name", !business.legal_name.is_empty()),
        ("costing_method", business.costing_method != 0),
        ("backdate_window_days", business.backdate_window_days != 0),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field.to_owned()).collect()
}

fn update_field(
    violations: &mut Violations,
    business: &wire::Business,
    field: &str,
    update: &mut BusinessUpdate,
) {
    match field {
        "legal_name" => {
            name(violations, field, &business.legal_name, Business::NAME_CHARS_MAX);
            update.legal_name = Some(business.legal_name.clone());
        }
        "costing_method" => update.costing = costing(violations, business.costing_method),
        "backdate_window_days" => {
            let (days, most) = (business.backdate_window_days, Business::BACKDATE_WINDOW_DAYS_MAX);
            if days > most {
                violations.add(field, reason::OUT_OF_RANGE, format!("must be at most '{most}'"));
            }
            update.backdate_window_days = Some(days);
        }
        "id" | "etag" | "created_at" | "updated_at" | "status" => {
            violations.add(field, reason::OUTPUT_ONLY, "is set by the server");
        }
        "parent_id" => violations.add(field, reason::IMMUTABLE, "is changed by moving the business"),
        "country" | "base_currency" | "cost_scale" => {
            violations.add(field, reason::IMMUTABLE, "is fixed");
        }
        unknown => violations.add(unknown, reason::UNKNOWN_FIELD, "is no field of a business"),
    }
}

fn costing(violations: &mut Violations, method: i32) -> Option<Costing> {
    match wire::CostingMethod::try_from(method) {
        Ok(wire::CostingMethod::MovingAverage) => Some(Costing::MovingAverage),
        Ok(wire::CostingMethod::Fifo) => Some(Costing::Fifo),
        Ok(wire::CostingMethod::Unspecified) => {
            violations.add("costing_method", reason::REQUIRED, "must be given");
            None
        }
        Err(_) => {
            let detail = format!("must be 'MOVING_AVERAGE' or 'FIFO', not '{method}'");
            violations.add("costing_method", reason::UNKNOWN_VALUE, detail);
            None
        }
    }
}

fn output_only_of_business(business: &wire::Business) -> [(&'static str, bool); 5] {
    [
        ("id", !business.id.is_empty()),
        ("etag", !business.etag.is_empty()),
        ("created_at", business.created_at.is_some()),
        ("updated_at", business.updated_at.is_some()),
        ("status", business.status != 0),
    ]
}

/// What is given once, at creation.
fn fixed_of_business(business: &wire::Business) -> [(&'static str, bool); 4] {
    [
        ("parent_id", !business.parent_id.is_empty()),
        ("country", !business.country.is_empty()),
        ("base_currency", !business.base_currency.is_empty()),
        ("cost_scale", business.cost_scale != 0),
    ]
}

pub(crate) fn business(placed: Placed) -> wire::Business {
    let etag = rpc::etag(placed.revision());
    let status = match placed.status {
        Status::Active => wire::BusinessStatus::Active,
        Status::Suspended => wire::BusinessStatus::Suspended,
        Status::Closing => wire::BusinessStatus::Closing,
        Status::Closed => wire::BusinessStatus::Closed,
    };
    let business = placed.business;
    let costing = match business.costing {
        Costing::MovingAverage => wire::CostingMethod::MovingAverage,
        Costing::Fifo => wire::CostingMethod::Fifo,
    };
    wire::Business {
        id: business.id.to_string(),
        parent_id: business.parent().map(|id| id.to_string()).unwrap_or_default(),
        legal_name: business.legal_name,
        country: business.country,
        base_currency: business.base_currency.code().to_owned(),
        cost_scale: business.cost_scale.into(),
        costing_method: costing.into(),
        backdate_window_days: business.backdate_window_days,
        etag,
        created_at: Some(timestamp(business.created_at)),
        updated_at: Some(timestamp(business.updated_at)),
        status: status.into(),
    }
}

pub(crate) fn businesses(page: Page<Placed>) -> wire::ListBusinessesResponse {
    wire::ListBusinessesResponse {
        businesses: page.items.into_iter().map(business).collect(),
        next_page_token: page.next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_one_that_there_is() {
        assert_eq!(COUNTRIES.split_ascii_whitespace().count(), 249);
        let refused = |code: &str| {
            let mut violations = Violations::new();
            country(&mut violations, code);
            violations.into_result().is_err()
        };
        for code in ["DE", "FR", "GB", "US", "SS"] {
            assert!(!refused(code), "{code}");
        }
        for code in ["", "D", "DEU", "de", "UK", "XX", "EL"] {
            assert!(refused(code), "{code}");
        }
    }
}
