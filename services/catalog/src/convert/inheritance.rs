//! Policies, overrides, visibility, explanations.

use calendar::Instant;
use ids::{BusinessId, ProductId};
use inherit::{
    BUSINESSES_MAX, Effective, Existing, Mode, Policy, Reach, Said, Status, Step, Value, Visibility,
};
use problem::{Invalid, Violations, reason};
use proto::catalog::v1 as catalog;
use rpc::Ctx;

use super::check::{self, checked, output_only};
use super::{product, timestamp};
use crate::app::Explained;
use crate::domain::{DUPLICATE, PRODUCTS, Product, SCHEMAS, SetPolicy};

pub(super) const REASON_MAX: usize = 500;
const FIELDS_MAX: usize = 20;

pub(crate) fn set_policy(
    request: catalog::SetInheritancePolicyRequest,
    ctx: &Ctx,
) -> Result<SetPolicy, Invalid> {
    checked(|v| {
        let policy = check::message(v, "policy", request.policy)?;
        v.within("policy", |v| wish(v, policy, ctx))
    })
}

fn wish(v: &mut Violations, policy: catalog::InheritancePolicy, ctx: &Ctx) -> Option<SetPolicy> {
    output_only(v, "business_id", !policy.business_id.is_empty());
    output_only(v, "version", policy.version != 0);
    output_only(v, "recorded_at", policy.recorded_at.is_some());
    output_only(v, "recorded_by", !policy.recorded_by.is_empty());
    let entity = v.required("entity_type", &policy.entity_type).map(str::to_owned);
    let schema = entity.as_ref().and_then(|entity| SCHEMAS.iter().find(|schema| schema.entity == entity));
    if entity.is_some() && schema.is_none() {
        let known: Vec<_> = SCHEMAS.iter().map(|schema| format!("'{}'", schema.entity)).collect();
        v.add("entity_type", reason::UNKNOWN_VALUE, format!("must be {}", known.join(" or ")));
    }
    let group = v.required("field_group", &policy.field_group).map(str::to_owned);
    if let (Some(schema), Some(group)) = (schema, &group)
        && schema.group(group).is_none()
    {
        let known = schema.groups.iter().filter(|group| !group.fixed);
        let known: Vec<_> = known.map(|group| format!("'{}'", group.name)).collect();
        v.add("field_group", reason::UNKNOWN_VALUE, format!("must be one of {}", known.join(", ")));
    }
    let mode = mode(v, policy.mode);
    let named = businesses(v, "businesses", &policy.businesses);
    let reach = reach(v, policy.reach, named);
    let effective_from = check::optional_instant(v, "effective_from", policy.effective_from);
    let grace_until = check::optional_instant(v, "grace_until", policy.grace_until);
    let existing = existing(v, policy.existing_overrides, grace_until.flatten());
    let why = check::line(v, "reason", &policy.reason, REASON_MAX);
    Some(SetPolicy {
        owner: ctx.business,
        group: group?,
        mode: mode?,
        reach: reach?,
        effective_from: effective_from?,
        existing: existing?,
        by: ctx.actor.id.to_string(),
        reason: why?,
        standing: vec![],
    })
}

fn mode(v: &mut Violations, number: i32) -> Option<Mode> {
    match catalog::InheritanceMode::try_from(number) {
        Ok(catalog::InheritanceMode::Locked) => Some(Mode::Locked),
        Ok(catalog::InheritanceMode::Overridable) => Some(Mode::Overridable),
        Ok(catalog::InheritanceMode::Extend) => Some(Mode::Extend),
        Ok(catalog::InheritanceMode::Local) => Some(Mode::Local),
        Ok(catalog::InheritanceMode::Unspecified) => {
            v.add("mode", reason::REQUIRED, "must be given");
            None
        }
        Err(_) => {
            v.add("mode", reason::UNKNOWN_VALUE, "must be 'LOCKED', 'OVERRIDABLE', 'EXTEND' or 'LOCAL'");
            None
        }
    }
}

fn mode_number(mode: Mode) -> i32 {
    let mode = match mode {
        Mode::Locked => catalog::InheritanceMode::Locked,
        Mode::Overridable => catalog::InheritanceMode::Overridable,
        Mode::Extend => catalog::InheritanceMode::Extend,
        Mode::Local => catalog::InheritanceMode::Local,
    };
    mode.into()
}

fn reach(v: &mut Violations, number: i32, named: Option<Vec<BusinessId>>) -> Option<Reach> {
    let named = named?;
    match catalog::InheritanceReach::try_from(number) {
        Ok(catalog::InheritanceReach::Unspecified | catalog::InheritanceReach::Subtree) => {
            if !named.is_empty() {
                v.add("businesses", reason::NOT_ALLOWED, "must be empty where all are reached");
            }
            Some(Reach::Subtree)
        }
        Ok(catalog::InheritanceReach::Only) => Some(Reach::Only(named)),
        Ok(catalog::InheritanceReach::Except) => Some(Reach::Except(named)),
        Err(_) => {
            v.add("reach", reason::UNKNOWN_VALUE, "must be 'SUBTREE', 'ONLY' or 'EXCEPT'");
            None
        }
    }
}

fn existing(v: &mut Violations, number: i32, grace_until: Option<Instant>) -> Option<Existing> {
    let found = match catalog::ExistingOverrides::try_from(number) {
        Ok(catalog::ExistingOverrides::Unspecified | catalog::ExistingOverrides::Reject) => Existing::Reject,
        Ok(catalog::ExistingOverrides::Suspend) => Existing::Suspend,
        Ok(catalog::ExistingOverrides::Grace) => {
            if grace_until.is_none() {
                v.add("grace_until", reason::REQUIRED, "must be given with 'GRACE'");
            }
            return grace_until.map(Existing::Grace);
        }
        Err(_) => {
            v.add("existing_overrides", reason::UNKNOWN_VALUE, "must be 'REJECT', 'SUSPEND' or 'GRACE'");
            return None;
        }
    };
    if grace_until.is_some() {
        v.add("grace_until", reason::NOT_ALLOWED, "must be given with 'GRACE' only");
    }
    Some(found)
}

/// Businesses, each once.
pub(super) fn businesses(v: &mut Violations, field: &str, texts: &[String]) -> Option<Vec<BusinessId>> {
    if !check::at_most(v, field, texts, BUSINESSES_MAX) {
        return None;
    }
    let mut found = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let Some(business) = check::id(v, &field, text, BusinessId::parse) else { continue };
        if found.contains(&business) {
            v.add(&field, DUPLICATE, format!("must be unique; '{text}' is there twice"));
        }
        found.push(business);
    }
    (found.len() == texts.len()).then_some(found)
}

pub(crate) fn policy(policy: &Policy) -> catalog::InheritancePolicy {
    let reach = match policy.reach {
        Reach::Subtree => catalog::InheritanceReach::Subtree,
        Reach::Only(_) => catalog::InheritanceReach::Only,
        Reach::Except(_) => catalog::InheritanceReach::Except,
    };
    let (existing, grace_until) = match policy.existing {
        Existing::Reject => (catalog::ExistingOverrides::Reject, None),
        Existing::Suspend => (catalog::ExistingOverrides::Suspend, None),
        Existing::Grace(until) => (catalog::ExistingOverrides::Grace, timestamp(until)),
    };
    catalog::InheritancePolicy {
        business_id: policy.owner.to_string(),
        entity_type: crate::domain::group(&policy.group).map_or("", |(schema, _)| schema.entity).to_owned(),
        field_group: policy.group.clone(),
        mode: mode_number(policy.mode),
        reach: reach.into(),
        businesses: policy.reach.names().iter().map(ToString::to_string).collect(),
        effective_from: timestamp(policy.effective_from),
        version: policy.version,
        existing_overrides: existing.into(),
        grace_until,
        reason: policy.reason.clone(),
        recorded_at: timestamp(policy.recorded_at),
        recorded_by: policy.by.clone(),
    }
}

pub(crate) fn policies(found: &[Policy]) -> catalog::GetInheritancePoliciesResponse {
    catalog::GetInheritancePoliciesResponse { policies: found.iter().map(policy).collect() }
}

pub(crate) fn clear_overrides(
    request: catalog::ClearProductOverridesRequest,
) -> Result<(ProductId, Vec<String>, String), Invalid> {
    checked(|v| {
        let id = check::id(v, "product_id", &request.product_id, ProductId::parse);
        check::at_most(v, "fields", &request.fields, FIELDS_MAX);
        let why = check::line(v, "reason", &request.reason, REASON_MAX);
        Some((id?, request.fields, why?))
    })
}

pub(crate) fn set_visibility(
    request: catalog::SetProductVisibilityRequest,
) -> Result<(ProductId, Visibility, String), Invalid> {
    checked(|v| {
        let id = check::id(v, "product_id", &request.product_id, ProductId::parse);
        let include = businesses(v, "include", &request.include);
        let exclude = businesses(v, "exclude", &request.exclude);
        let why = check::line(v, "reason", &request.reason, REASON_MAX);
        let (include, exclude) = (include?, exclude?);
        for (at, business) in exclude.iter().enumerate() {
            if include.contains(business) {
                v.add(&format!("exclude[{at}]"), reason::NOT_ALLOWED, "must not be included as well");
            }
        }
        Some((id?, Visibility { include, exclude }, why?))
    })
}

pub(crate) fn visibility(product: &Product) -> catalog::ProductVisibility {
    let texts = |businesses: &[BusinessId]| businesses.iter().map(ToString::to_string).collect();
    catalog::ProductVisibility {
        product_id: product.id.to_string(),
        include: texts(&product.visibility.include),
        exclude: texts(&product.visibility.exclude),
        etag: rpc::etag(product.revision),
    }
}

pub(crate) fn product_with_origins(
    found: &Product,
    origins: &[(&'static str, Effective)],
) -> catalog::Product {
    let origins = origins.iter().map(|(field, effective)| origin(field, effective));
    catalog::Product { origins: origins.collect(), ..product(found) }
}

/// Where a field comes from.
pub(super) fn origin(field: &str, effective: &Effective) -> catalog::FieldOrigin {
    catalog::FieldOrigin {
        field: field.to_owned(),
        business_id: effective.origin.business.to_string(),
        revision: effective.origin.revision,
        mode: effective.ruling.mode.name().to_owned(),
        policy_business_id: effective.ruling.owner.to_string(),
        policy_version: effective.ruling.version,
        item_business_ids: effective.items.iter().map(|item| item.business.to_string()).collect(),
    }
}

type Explain = (ProductId, Option<&'static str>, Option<Instant>);

pub(crate) fn explain(request: &catalog::ExplainProductRequest) -> Result<Explain, Invalid> {
    checked(|v| {
        let id = check::id(v, "product_id", &request.product_id, ProductId::parse);
        let at = check::optional_instant(v, "at", request.at);
        let field = PRODUCTS.fields().map(|field| field.name).find(|name| *name == request.field);
        if field.is_none() && !request.field.is_empty() {
            v.add("field", reason::UNKNOWN_FIELD, "must be a field that is inherited, such as 'name'");
        }
        Some((id?, field, at?))
    })
}

pub(crate) fn explained(found: &[Explained]) -> catalog::ExplainProductResponse {
    let one = |one: &Explained| catalog::FieldExplanation {
        field: one.field.to_owned(),
        steps: one.steps.iter().zip(&one.policies).map(|(one, policy)| step(one, policy.as_ref())).collect(),
    };
    catalog::ExplainProductResponse { fields: found.iter().map(one).collect() }
}

fn step(step: &Step, policy: Option<&Policy>) -> catalog::InheritanceStep {
    let (said, status): (Option<&Said>, _) = match &step.said {
        Some((said, status)) => (Some(said), *status),
        None => (None, Status::Active),
    };
    catalog::InheritanceStep {
        business_id: step.business.to_string(),
        mode: mode_number(step.ruling.mode),
        policy_business_id: step.ruling.owner.to_string(),
        policy_version: step.ruling.version,
        policy_recorded_at: policy.and_then(|policy| timestamp(policy.recorded_at)),
        policy_recorded_by: policy.map(|policy| policy.by.clone()).unwrap_or_default(),
        said: said.map(|said| value(&said.value)),
        suspended: status == Status::Suspended,
        said_revision: said.map(|said| said.revision).unwrap_or_default(),
        said_at: said.and_then(|said| timestamp(said.at)),
        said_by: said.map(|said| said.by.clone()).unwrap_or_default(),
        said_reason: said.map(|said| said.reason.clone()).unwrap_or_default(),
        effective: step.effective.value.as_ref().map(value),
        origin_business_id: step.effective.origin.business.to_string(),
    }
}

pub(super) fn value(value: &Value) -> catalog::InheritedValue {
    match value {
        Value::Text(text) => catalog::InheritedValue { text: text.clone(), items: vec![] },
        Value::List(items) => catalog::InheritedValue { text: String::new(), items: items.clone() },
    }
}
