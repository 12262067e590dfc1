//! Lists show exactly what can be read one by one.

use ids::BusinessId;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use proto::tenant::v1::identity_service_client::IdentityServiceClient;
use proto::tenant::v1::*;
use rpc::Principal;

use crate::world::*;

/// A tree of businesses (the parent of each), the places of keys and of a user beside each, and the places and reach of assignments.
#[derive(Clone, Debug)]
struct Plan {
    parents: Vec<prop::sample::Index>,
    keys: Vec<(prop::sample::Index, &'static str)>,
    assignments: Vec<(prop::sample::Index, prop::sample::Index, bool)>,
    page_size: u32,
}

fn plans() -> impl Strategy<Value = Plan> {
    use proptest::collection::vec;
    let role = prop::sample::select(vec!["owner", "viewer", "clerk"]);
    let index = any::<prop::sample::Index>;
    (vec(index(), 1..6), vec((index(), role), 1..6), vec((index(), index(), any::<bool>()), 0..8), 1u32..5)
        .prop_map(|(parents, keys, assignments, page_size)| Plan { parents, keys, assignments, page_size })
}

/// Goes through all pages of a list.
macro_rules! all {
    ($world:expr, $client:expr, $caller:expr, $method:ident, $request:ident, $items:ident, $size:expr) => {{
        let (mut all, mut page_token, mut denied) = (vec![], String::new(), false);
        loop {
            let mut asked = $request::default();
            (asked.page_size, asked.page_token) = ($size, page_token);
            let request = $world.request($caller, asked);
            match $client.clone().$method(request).await {
                Ok(page) => {
                    let page = page.into_inner();
                    all.extend(page.$items);
                    page_token = page.next_page_token;
                }
                Err(status) => {
                    assert_eq!(reason(&status), "PERMISSION_DENIED");
                    denied = true;
                    break;
                }
            }
            if page_token.is_empty() {
                break;
            }
        }
        (all, denied)
    }};
}

async fn check(plan: Plan) -> Result<(), TestCaseError> {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let mut paths: Vec<Vec<BusinessId>> = vec![vec![owner.business]];
    for parent in &plan.parents {
        let above = parent.get(&paths).clone();
        let id = world.below(&owner, &above).await;
        paths.push([above, vec![id]].concat());
    }
    let mut callers: Vec<Principal> = vec![owner.clone()];
    let mut keys: Vec<(String, Vec<BusinessId>)> = vec![(owner.actor.id.to_string(), paths[0].clone())];
    let people = IdentityServiceClient::new(world.transport.clone());
    let (mut secrets, mut users) = (vec![], vec![]);
    for (place, role) in &plan.keys {
        let path = place.get(&paths);
        let business_id = path.last().unwrap().to_string();
        let (id, secret) = world.new_caller(&owner, ApiKey { business_id, ..new_key(role) }).await;
        keys.push((id, path.clone()));
        let user = User {
            email: format!("user{}@example.com", users.len()),
            name: "Ada".to_owned(),
            role: (*role).to_owned(),
            business_id: path.last().unwrap().to_string(),
            ..User::default()
        };
        let request = world.request(&owner, CreateUserRequest { user: Some(user) });
        users.push(people.clone().create_user(request).await.unwrap().into_inner().user.unwrap().id);
        secrets.push(secret);
    }
    let custom = world.role(&owner, "SEES", &["assignment.read", "descendants.read"]).await.unwrap();
    let mut assignments = vec![];
    for (key, place, subtree) in &plan.assignments {
        let (key, home) = key.get(&keys);
        let business_id = place.get(&paths).last().unwrap().to_string();
        let reach = if *subtree { Reach::Subtree } else { Reach::Self_ };
        let wanted = Assignment { business_id, ..of(key, &custom.id, reach) };
        match world.assign(&owner, wanted).await {
            Ok(made) => assignments.push(made.id),
            Err(status) => prop_assert_eq!(fields(&status).len(), 1, "{} at {:?}", status, home),
        }
    }
    for secret in secrets {
        callers.push(world.login(&secret).await.unwrap());
    }
    for caller in &callers {
        let size = plan.page_size;
        let (listed, _) =
            all!(world, world.client, caller, list_businesses, ListBusinessesRequest, businesses, size);
        let mut readable = vec![];
        for path in &paths {
            readable.extend(world.business(caller, &path.last().unwrap().to_string()).await.ok());
        }
        same(listed, readable, |business| business.id.clone())?;

        let (listed, denied) =
            all!(world, world.client, caller, list_api_keys, ListApiKeysRequest, api_keys, size);
        let mut readable = vec![];
        for (id, _) in &keys {
            let found = world.key(caller, id).await;
            prop_assert!(!denied || reason(found.as_ref().unwrap_err()) == "PERMISSION_DENIED");
            readable.extend(found.ok());
        }
        same(listed, readable, |key| key.id.clone())?;

        let (listed, denied) = all!(world, people, caller, list_users, ListUsersRequest, users, size);
        let mut readable = vec![];
        for id in &users {
            let request = world.request(caller, GetUserRequest { user_id: id.clone() });
            let found = people.clone().get_user(request).await;
            prop_assert!(!denied || reason(found.as_ref().unwrap_err()) == "PERMISSION_DENIED");
            readable.extend(found.ok().map(tonic::Response::into_inner));
        }
        same(listed, readable, |user| user.id.clone())?;

        let list = world.access.clone();
        let (listed, denied) =
            all!(world, list, caller, list_assignments, ListAssignmentsRequest, assignments, size);
        let mut readable = vec![];
        for id in &assignments {
            let request = world.request(caller, GetAssignmentRequest { assignment_id: id.clone() });
            let found = world.access.clone().get_assignment(request).await;
            prop_assert!(!denied || reason(found.as_ref().unwrap_err()) == "PERMISSION_DENIED");
            readable.extend(found.ok().map(tonic::Response::into_inner));
        }
        same(listed, readable, |assignment| assignment.id.clone())?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    mut listed: Vec<T>,
    mut readable: Vec<T>,
    id: impl Fn(&T) -> String,
) -> Result<(), TestCaseError> {
    listed.sort_by_key(&id);
    readable.sort_by_key(&id);
    prop_assert_eq!(listed, readable);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// API-2: over random trees, keys, roles and assignments, each caller's lists hold exactly what the caller can
    /// read one by one: `list = {x | check(get x)}`.
    #[test]
    fn a_list_shows_exactly_what_can_be_read(plan in plans()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(plan))?;
    }
}
