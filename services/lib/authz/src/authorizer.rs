//! Decides, and says which policy did.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use ids::{BusinessId, TenantId};

use crate::contract::{Contract, grants_of, is_internal};
use crate::text::{FORBIDS, groups_of, permits, schema};

/// What kind of principal asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A program with an API key.
    ApiKey,
    /// A person.
    User,
    /// The platform itself.
    System,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Principal<'a> {
    /// What kind.
    pub kind: Kind,
    /// `key_…`, `usr_…`, or the name of a job.
    pub id: &'a str,
    /// The tenant of the credential.
    pub tenant: TenantId,
    /// The business that the call works in.
    pub business: BusinessId,
    /// What was granted there: `stock.post`, `stock.*`, `*.read`, `*`.
    pub grants: Vec<String>,
}

/// What it is about.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// Its type in the contract: `Product`. A method whose decision depends on no row is about the `Business` that
    /// the call works in.
    pub kind: &'a str,
    /// Its id: `prd_…`.
    pub id: &'a str,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// From the master down to the business where it is seen. Never empty.
    pub path: &'a [BusinessId],
    /// The business whose record it is: the last of the path, or one above that it is inherited from.
    pub owner: BusinessId,
    /// Fields that the owner has locked for those below.
    pub locked: &'a [&'a str],
}

impl<'a> Resource<'a> {
    /// The business at the end of `path`, itself: where a call works.
    ///
    /// # Panics
    /// When `path` is empty.
    #[must_use]
    pub fn business(tenant: TenantId, id: &'a str, path: &'a [BusinessId]) -> Self {
        let owner = *path.last().expect("a business has a path");
        Resource { kind: "Business", id, tenant, path, owner, locked: &[] }
    }
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// The policies that decided, sorted: `permit:stock.*`, `forbid:tenant-mismatch`. Empty for a refusal because
    /// nothing permits it.
    pub by: Vec<String>,
    /// What would let it in, for people; empty when it is allowed.
    pub fix: String,
}

/// Policies that are no policies.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MadeWrong(String);

impl MadeWrong {
    fn new(error: impl ToString) -> Self {
        MadeWrong(error.to_string())
    }
}

/// What is prepared for one permission, so that a decision looks only at policies that may speak to it.
struct Prepared {
    action: EntityUid,
    /// The action and its groups.
    entities: Vec<Entity>,
    policies: PolicySet,
    reads: bool,
    resources: Vec<String>,
}

/// Decides by the policies of a contract. Default deny: what no policy permits is refused, and so is everything
/// while a policy cannot be evaluated.
pub struct Authorizer {
    cedar: cedar_policy::Authorizer,
    by_permission: HashMap<String, Prepared>,
    types: BTreeMap<String, EntityTypeName>,
    fixes: BTreeMap<String, String>,
    grants: BTreeSet<String>,
}

impl Authorizer {
    /// Makes one from the contract, after checking every policy against the schema.
    ///
    /// # Errors
    /// What Cedar says about a schema or a policy.
    pub fn new(contract: &Contract) -> Result<Self, MadeWrong> {
        let (schema, _) = Schema::from_cedarschema_str(&schema(contract)).map_err(MadeWrong::new)?;
        let forbids = read_forbids()?;
        let mut by_grant = HashMap::new();
        let mut all = PolicySet::new();
        for (grant, text) in permits(contract) {
            let policy = Policy::parse(Some(PolicyId::new(format!("permit:{grant}"))), text);
            let policy = policy.map_err(MadeWrong::new)?;
            all.add(policy.clone()).map_err(MadeWrong::new)?;
            by_grant.insert(grant, policy);
        }
        for forbid in &forbids {
            all.add(forbid.clone()).map_err(MadeWrong::new)?;
        }
        let verdict = Validator::new(schema).validate(&all, ValidationMode::Strict);
        if !verdict.validation_passed_without_warnings() {
            return Err(MadeWrong::new(verdict));
        }

        let mut by_permission = HashMap::new();
        for (name, operation) in &contract.operations {
            let mut policies = PolicySet::new();
            for policy in forbids.iter().chain(grants_of(name).filter_map(|grant| by_grant.get(&grant))) {
                policies.add(policy.clone()).map_err(MadeWrong::new)?;
            }
            let action = uid(&type_name("Action")?, name);
            let groups: HashSet<EntityUid> = groups_of(name, operation.reads)
                .map(|group| Ok(uid(&type_name("Action")?, &group)))
                .collect::<Result<_, MadeWrong>>()?;
            let mut entities = vec![Entity::new_no_attrs(action.clone(), groups.clone())];
            entities.extend(groups.into_iter().map(|group| Entity::new_no_attrs(group, HashSet::new())));
            let resources = operation.resources.iter().cloned().collect();
            let prepared = Prepared { action, entities, policies, reads: operation.reads, resources };
            by_permission.insert(name.clone(), prepared);
        }
        let own = ["Tenant", "Business", "KeyPrincipal", "UserPrincipal", "SystemPrincipal"];
        let names = own.into_iter().map(str::to_owned).chain(contract.resources.values().cloned());
        let types =
            names.map(|name| Ok((name.clone(), type_name(&name)?))).collect::<Result<_, MadeWrong>>()?;
        let fix = |policy: &Policy| Some((policy.id().to_string(), policy.annotation("fix")?.to_owned()));
        let fixes = forbids.iter().filter_map(fix).collect();
        let public = contract.operations.keys().filter(|name| !is_internal(name));
        let grants = public.flat_map(|name| grants_of(name)).collect();
        Ok(Authorizer { cedar: cedar_policy::Authorizer::new(), by_permission, types, fixes, grants })
    }

    /// Every permission that can be decided about, sorted.
    #[must_use]
    pub fn permissions(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.by_permission.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether a member of a role grants anything that is not internal: `stock.post`, `stock.*`, `*.read`, `*`.
    #[must_use]
    pub fn grants(&self, member: &str) -> bool {
        self.grants.contains(member)
    }

    /// Whether a permission changes nothing.
    #[must_use]
    pub fn reads(&self, permission: &str) -> bool {
        self.by_permission.get(permission).is_some_and(|prepared| prepared.reads)
    }

    /// Resource types that a permission is about.
    #[must_use]
    pub fn resources(&self, permission: &str) -> &[String] {
        self.by_permission.get(permission).map_or(&[], |prepared| &prepared.resources)
    }

    /// Decides whether `principal` may do what needs `permission` to `resource`; `fields` are those that it writes.
    /// Some microseconds: remember it where nothing depends on the row.
    #[must_use]
    pub fn decide(
        &self,
        principal: &Principal<'_>,
        permission: &str,
        resource: &Resource<'_>,
        fields: &[&str],
    ) -> Decision {
        let Some(prepared) = self.by_permission.get(permission) else {
            return refused(vec![], format!("there is no permission '{permission}'"));
        };
        let Some((request, entities)) = self.question(prepared, principal, resource, fields) else {
            return refused(vec![], String::from("nothing: the question cannot be asked"));
        };
        let response = self.cedar.is_authorized(&request, &prepared.policies, &entities);
        let mut by: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        by.sort_unstable();
        let sound = response.diagnostics().errors().next().is_none();
        if sound && response.decision() == cedar_policy::Decision::Allow {
            return Decision { allowed: true, by, fix: String::new() };
        }
        // A policy that permits decided nothing when the answer is no.
        by.retain(|policy| self.fixes.contains_key(policy));
        let fix = match by.first().and_then(|policy| self.fixes.get(policy)) {
            Some(fix) => fix.clone(),
            None => format!("have a role with '{permission}' assigned"),
        };
        refused(by, fix)
    }

    /// The question as Cedar wants it; `None` for an entity type that is not in the contract.
    fn question(
        &self,
        prepared: &Prepared,
        principal: &Principal<'_>,
        resource: &Resource<'_>,
        fields: &[&str],
    ) -> Option<(Request, Entities)> {
        let business_type = self.types.get("Business")?;
        let business = |id: BusinessId| uid(business_type, &id.to_string());
        let tenant = |id: TenantId| Some(entity(uid(self.types.get("Tenant")?, &id.to_string())));
        let who = uid(
            self.types.get(match principal.kind {
                Kind::ApiKey => "KeyPrincipal",
                Kind::User => "UserPrincipal",
                Kind::System => "SystemPrincipal",
            })?,
            principal.id,
        );
        let attributes = HashMap::from([
            ("tenant".to_owned(), tenant(principal.tenant)?),
            ("business".to_owned(), entity(business(principal.business))),
            ("grants".to_owned(), strings(principal.grants.iter().map(String::as_str))),
        ]);
        let mut entities = prepared.entities.clone();
        entities.push(Entity::new(who.clone(), attributes, HashSet::new()).ok()?);

        let place = *resource.path.last()?;
        let attributes = HashMap::from([
            ("tenant".to_owned(), tenant(resource.tenant)?),
            ("business".to_owned(), entity(business(place))),
            ("owner".to_owned(), entity(business(resource.owner))),
            ("locked".to_owned(), strings(resource.locked.iter().copied())),
        ]);
        let what = match resource.kind {
            "Business" => business(place),
            kind => uid(self.types.get(kind)?, resource.id),
        };
        // The tree as far as it is asked about: each business within all that lie above it.
        for (depth, id) in resource.path.iter().enumerate() {
            let above: HashSet<EntityUid> = resource.path[..depth].iter().map(|id| business(*id)).collect();
            if business(*id) != what {
                entities.push(Entity::new_no_attrs(business(*id), above));
            } else {
                entities.push(Entity::new(what.clone(), attributes.clone(), above).ok()?);
            }
        }
        if resource.kind != "Business" {
            entities.push(Entity::new(what.clone(), attributes, HashSet::new()).ok()?);
        }
        let context = Context::from_pairs([("fields".to_owned(), strings(fields.iter().copied()))]).ok()?;
        let request = Request::new(who, prepared.action.clone(), what, context, None).ok()?;
        Some((request, Entities::from_entities(entities, None).ok()?))
    }
}

fn refused(by: Vec<String>, fix: String) -> Decision {
    Decision { allowed: false, by, fix }
}

/// The static policies under the names that they give themselves.
fn read_forbids() -> Result<Vec<Policy>, MadeWrong> {
    let read: PolicySet =
        FORBIDS.parse().map_err(|error: cedar_policy::ParseErrors| MadeWrong::new(error))?;
    let named = |policy: &Policy| {
        let id = policy.annotation("id").ok_or_else(|| MadeWrong::new("a static policy without an id"))?;
        Ok(policy.new_id(PolicyId::new(id)))
    };
    read.policies().map(named).collect()
}

fn type_name(name: &str) -> Result<EntityTypeName, MadeWrong> {
    name.parse().map_err(|error: cedar_policy::ParseErrors| MadeWrong::new(error))
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(uid: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid)
}

fn strings<'a>(values: impl Iterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(|value| RestrictedExpression::new_string(value.to_owned())))
}
