//! Roles and assignments.

use ids::{ApiKeyId, AssignmentId, BusinessId, LocationId, RoleId, TenantId, UserId};
use money::{Currency, Money};
use problem::{Invalid, Violations, reason};
use proto::tenant::v1 as wire;
use rpc::{ActorKind, Limits, Permissions};

use super::{finish, instant, name, refuse_output_only, required_id, snake, timestamp};
use crate::app::{AnyRole, CreateAssignment, Explained, Explanation, Gate, Page, Source, Who};
use crate::domain::{Assignment, CustomRole, NewRole, Reach, RoleUpdate};
use crate::records;

/// Longest code of a role, in characters.
const CODE_CHARS_MAX: usize = 64;
/// Most locations and most categories of one assignment.
const LIMITS_MAX: usize = 20;
/// Most decimal places of an amount of any currency.
const PLACES_MAX: u32 = 6;
/// Longest category, in characters: as long as those of products.
const CATEGORY_CHARS_MAX: usize = 200;

pub(crate) fn role_id(text: &str) -> Result<RoleId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "role_id", text, RoleId::parse);
    finish(violations, id)
}

pub(crate) fn assignment_id(text: &str) -> Result<AssignmentId, Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "assignment_id", text, AssignmentId::parse);
    finish(violations, id)
}

pub(crate) fn create_role(request: wire::CreateRoleRequest) -> Result<NewRole, Invalid> {
    let mut violations = Violations::new();
    let Some(role) = request.role else {
        return Err(Invalid::field("role", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("role", |violations| {
        refuse_output_only(violations, &output_only_of_role(&role));
        code(violations, &role.code);
        description(violations, &role.description);
        let members = members(violations, role.permissions);
        NewRole { code: role.code, description: role.description, members }
    });
    finish(violations, Some(new))
}

pub(crate) fn update_role(request: &wire::UpdateRoleRequest) -> Result<(RoleId, RoleUpdate), Invalid> {
    let mut violations = Violations::new();
    let id = required_id(&mut violations, "role_id", &request.role_id, RoleId::parse);
    let mut update = RoleUpdate::default();
    match &request.role {
        None => violations.add("role", reason::REQUIRED, "must be given"),
        Some(role) => violations.within("role", |violations| {
            refuse_output_only(violations, &output_only_of_role(role));
            for field in mask(role, &request.update_mask) {
                match field.as_str() {
                    "description" => {
                        description(violations, &role.description);
                        update.description = Some(role.description.clone());
                    }
                    "permissions" => update.members = Some(members(violations, role.permissions.clone())),
                    "code" => violations.add("code", reason::IMMUTABLE, "cannot be changed"),
                    "id" | "system" | "etag" | "created_at" | "updated_at" => {
                        violations.add(&field, reason::OUTPUT_ONLY, "is set by the server");
                    }
                    unknown => violations.add(unknown, reason::UNKNOWN_FIELD, "is no field of a role"),
                }
            }
        }),
    }
    finish(violations, id.map(|id| (id, update)))
}

/// The fields to change: those of the mask; without a mask those that are set.
fn mask(role: &wire::Role, mask: &[String]) -> Vec<String> {
    if !mask.is_empty() {
        return mask.iter().map(|field| snake(field)).collect();
    }
    let set = [
        ("code", !role.code.is_empty()),
        ("description", !role.description.is_empty()),
        ("permissions", !role.permissions.is_empty()),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field.to_owned()).collect()
}

fn output_only_of_role(role: &wire::Role) -> [(&'static str, bool); 5] {
    [
        ("id", !role.id.is_empty()),
        ("system", role.system),
        ("etag", !role.etag.is_empty()),
        ("created_at", role.created_at.is_some()),
        ("updated_at", role.updated_at.is_some()),
    ]
}

fn code(violations: &mut Violations, text: &str) {
    if violations.required("code", text).is_none() {
        return;
    }
    violations.at_most("code", text, CODE_CHARS_MAX);
    if !text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/#".contains(letter)) {
        violations.add("code", reason::MALFORMED, "must be letters, digits and '. _ - / #'");
    }
}

fn description(violations: &mut Violations, text: &str) {
    if !text.is_empty() {
        name(violations, "description", text, CustomRole::DESCRIPTION_CHARS_MAX);
    }
}

/// Members of a role: each one that something in the contract asks for.
fn members(violations: &mut Violations, mut members: Vec<String>) -> Vec<String> {
    if members.is_empty() {
        violations.add("permissions", reason::REQUIRED, "must be given");
    }
    if CustomRole::MEMBERS_MAX < members.len() {
        let detail = format!("must be at most '{}'", CustomRole::MEMBERS_MAX);
        violations.add("permissions", reason::TOO_MANY, detail);
        return vec![];
    }
    for (at, member) in members.iter().enumerate() {
        let field = format!("permissions[{at}]");
        if Permissions::parse([member]).is_none() {
            let detail = format!("'{member}' is not of the form 'resource.action'");
            violations.add(&field, reason::MALFORMED, detail);
        } else if !authz::authorizer().grants(member) {
            violations.add(&field, reason::UNKNOWN_VALUE, format!("there is no permission '{member}'"));
        }
    }
    members.sort_unstable();
    members.dedup();
    members
}

pub(crate) fn create_assignment(request: wire::CreateAssignmentRequest) -> Result<CreateAssignment, Invalid> {
    let mut violations = Violations::new();
    let Some(assignment) = request.assignment else {
        return Err(Invalid::field("assignment", reason::REQUIRED, "must be given"));
    };
    let new = violations.within("assignment", |violations| {
        refuse_output_only(
            violations,
            &[
                ("id", !assignment.id.is_empty()),
                ("created_at", assignment.created_at.is_some()),
                ("revoked_at", assignment.revoked_at.is_some()),
                ("created_by", assignment.created_by.is_some()),
            ],
        );
        let who = who(violations, &assignment.api_key_id, &assignment.user_id);
        if assignment.api_key_id.is_empty() && assignment.user_id.is_empty() {
            violations.add("api_key_id", reason::REQUIRED, "must be given, or 'user_id'");
        }
        let role = required_id(violations, "role_id", &assignment.role_id, RoleId::parse);
        let business = (!assignment.business_id.is_empty())
            .then(|| violations.field("business_id", BusinessId::parse(&assignment.business_id)))
            .flatten();
        let reach = match wire::Reach::try_from(assignment.reach) {
            Ok(wire::Reach::Self_) => Some(Reach::Itself),
            Ok(wire::Reach::Subtree) => Some(Reach::Subtree),
            Ok(wire::Reach::Unspecified) => {
                violations.add("reach", reason::REQUIRED, "must be given");
                None
            }
            Err(_) => {
                let detail = format!("must be 'SELF' or 'SUBTREE', not '{}'", assignment.reach);
                violations.add("reach", reason::UNKNOWN_VALUE, detail);
                None
            }
        };
        let valid_from = assignment.valid_from.and_then(|at| instant(violations, "valid_from", &at));
        let valid_to = assignment.valid_to.and_then(|at| instant(violations, "valid_to", &at));
        if let (Some(from), Some(to)) = (valid_from, valid_to)
            && to <= from
        {
            violations.add("valid_to", reason::OUT_OF_RANGE, "must be after 'valid_from'");
        }
        let limits = assignment.limits.map_or(Limits::default(), |wire| {
            if wire == wire::Limits::default() {
                violations.add("limits", reason::REQUIRED, "must limit something, or be absent");
            }
            violations.within("limits", |violations| limits(violations, wire, reach))
        });
        let (who, role, reach) = (who?, role?, reach?);
        Some(CreateAssignment { who, role, business, reach, valid_from, valid_to, limits })
    });
    finish(violations, new)
}

fn limits(violations: &mut Violations, wire: wire::Limits, reach: Option<Reach>) -> Limits {
    for (field, count) in [("location_ids", wire.location_ids.len()), ("categories", wire.categories.len())] {
        if LIMITS_MAX < count {
            violations.add(field, reason::TOO_MANY, format!("must be at most '{LIMITS_MAX}'"));
        }
    }
    if reach == Some(Reach::Subtree) && !wire.location_ids.is_empty() {
        let detail = "are of one business, so that 'reach' must be 'SELF'";
        violations.add("location_ids", reason::NOT_ALLOWED, detail);
    }
    let mut locations = Vec::new();
    for (at, id) in wire.location_ids.iter().enumerate().take(LIMITS_MAX) {
        let id = violations.field(&format!("location_ids[{at}]"), LocationId::parse(id));
        locations.extend(id.filter(|id| !locations.contains(id)));
    }
    let mut categories: Vec<String> = Vec::new();
    for (at, category) in wire.categories.into_iter().enumerate().take(LIMITS_MAX) {
        name(violations, &format!("categories[{at}]"), &category, CATEGORY_CHARS_MAX);
        if !categories.contains(&category) {
            categories.push(category);
        }
    }
    let amount_max = wire.amount_max.and_then(|max| {
        violations.within("amount_max", |violations| {
            let currency = violations.field("currency", Currency::parse(&max.currency));
            // All that is wrong is said at once.
            let places = currency.map_or(PLACES_MAX, Currency::minor_places);
            let minor = violations.field("amount", money::parse_decimal(&max.amount, places));
            let amount = Money { minor: minor?, currency: currency? };
            if amount.minor <= 0 {
                violations.add("amount", reason::OUT_OF_RANGE, "must be more than 0");
            }
            Some(amount)
        })
    });
    Limits { locations, categories, amount_max }
}

/// A key or a user; `None` for neither, and for what is wrong.
fn who(violations: &mut Violations, key: &str, user: &str) -> Option<Who> {
    if !key.is_empty() && !user.is_empty() {
        violations.add("user_id", reason::NOT_ALLOWED, "cannot be given beside 'api_key_id'");
    }
    let key = (!key.is_empty()).then(|| violations.field("api_key_id", ApiKeyId::parse(key))).flatten();
    let user = (!user.is_empty()).then(|| violations.field("user_id", UserId::parse(user))).flatten();
    key.map(Who::Key).or(user.map(Who::User))
}

pub(crate) fn explain(request: &wire::ExplainPermissionRequest) -> Result<Explanation, Invalid> {
    let mut violations = Violations::new();
    let who = who(&mut violations, &request.api_key_id, &request.user_id);
    let business = (!request.business_id.is_empty())
        .then(|| violations.field("business_id", BusinessId::parse(&request.business_id)))
        .flatten();
    violations.required("permission", &request.permission);
    finish(violations, Some(Explanation { who, permission: request.permission.clone(), business }))
}

pub(crate) fn role(tenant: TenantId, role: AnyRole) -> wire::Role {
    let id = role.id(tenant).to_string();
    match role {
        AnyRole::System(role) => wire::Role {
            id,
            code: role.code().to_owned(),
            description: role.description().to_owned(),
            permissions: role.members().iter().map(ToString::to_string).collect(),
            system: true,
            etag: rpc::etag(1),
            ..wire::Role::default()
        },
        AnyRole::Custom(role) => custom_role(tenant, role),
    }
}

pub(crate) fn custom_role(tenant: TenantId, role: CustomRole) -> wire::Role {
    wire::Role {
        id: records::role_id(tenant, &role.code).to_string(),
        code: role.code,
        description: role.description,
        permissions: role.members,
        system: false,
        etag: rpc::etag(role.revision),
        created_at: Some(timestamp(role.created_at)),
        updated_at: Some(timestamp(role.updated_at)),
    }
}

pub(crate) fn roles(tenant: TenantId, page: Page<AnyRole>) -> wire::ListRolesResponse {
    wire::ListRolesResponse {
        roles: page.items.into_iter().map(|item| role(tenant, item)).collect(),
        next_page_token: page.next,
    }
}

pub(crate) fn assignment(assignment: Assignment) -> wire::Assignment {
    let made = assignment.made;
    let reach = match made.reach {
        Reach::Itself => wire::Reach::Self_,
        Reach::Subtree => wire::Reach::Subtree,
    };
    let id_of =
        |kind| if made.principal.kind == kind { made.principal.id.to_string() } else { String::new() };
    wire::Assignment {
        id: made.id.to_string(),
        api_key_id: id_of(ActorKind::ApiKey),
        user_id: id_of(ActorKind::User),
        role_id: made.role.to_string(),
        business_id: made.business.to_string(),
        reach: reach.into(),
        valid_from: made.valid_from.map(timestamp),
        valid_to: made.valid_to.map(timestamp),
        created_at: Some(timestamp(assignment.created_at)),
        revoked_at: assignment.revoked_at.map(timestamp),
        created_by: Some((&made.created_by).into()),
        limits: on_the_wire(&made.limits),
    }
}

fn on_the_wire(limits: &Limits) -> Option<wire::Limits> {
    (!limits.is_none()).then(|| limits.into())
}

pub(crate) fn assignments(page: Page<Assignment>) -> wire::ListAssignmentsResponse {
    wire::ListAssignmentsResponse {
        assignments: page.items.into_iter().map(assignment).collect(),
        next_page_token: page.next,
    }
}

pub(crate) fn explained(explained: Explained) -> wire::ExplainPermissionResponse {
    let gate = match explained.gate {
        Gate::Credential => "credential",
        Gate::BusinessScope => "business_scope",
        Gate::Permission => "permission",
    };
    let grant = |source: Source| wire::Grant {
        source: source.kind.to_owned(),
        id: source.id,
        role: source.role,
        permissions: source.members,
        limits: on_the_wire(&source.limits),
    };
    wire::ExplainPermissionResponse {
        allowed: explained.allowed,
        gate: gate.to_owned(),
        policies: explained.policies,
        fix: explained.fix,
        grants: explained.grants.into_iter().map(grant).collect(),
        limited: explained.limited,
    }
}
