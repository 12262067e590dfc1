//! Properties against an independent model: a plain recursion over the definition.

#![cfg(test)]

use std::collections::BTreeMap;

use calendar::Instant;
use ids::BusinessId;
use inherit::{
    Existing, Field, Group, Mode, Policies, Policy, Reach, Record, Said, Schema, Standing, Status, Value,
    Version, Visibility, Wave, conflicts, prepare, preview, resolve, version_for, walk,
};
use proptest::prelude::*;

const LIST: &[Field] = &[Field { name: "tags", is_list: true }];
const TEXT: &[Field] = &[Field { name: "name", is_list: false }];
const GROUPS: &[Group] = &[
    Group { name: "tags", fields: LIST, mode: Mode::Extend, fixed: false },
    Group { name: "text", fields: TEXT, mode: Mode::Overridable, fixed: false },
];
const SCHEMA: Schema = Schema { entity: "product", groups: GROUPS };
const BUSINESSES: usize = 24;

fn business(number: usize) -> BusinessId {
    BusinessId::from_bytes([u8::try_from(number + 1).unwrap(); 16])
}

fn at(second: i64) -> Instant {
    Instant::from_unix_micros(second * 1_000_000)
}

fn said(value: Value, revision: u64) -> Said {
    Said { value, revision, at: at(0), by: String::new(), reason: String::new() }
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(ToString::to_string).collect())
}

#[derive(Debug, Clone)]
struct World {
    /// The parent of each business but the first one; smaller than the business.
    parents: Vec<usize>,
    own: BTreeMap<&'static str, Vec<Version>>,
    overrides: BTreeMap<(BusinessId, &'static str), Said>,
    policies: Policies,
}

impl Record for World {
    fn own(&self, field: &str, line: &[BusinessId], at: Instant) -> Said {
        version_for(&self.own[field], line, at).unwrap().clone()
    }

    fn said(&self, business: BusinessId, field: &str) -> Option<&Said> {
        self.overrides
            .iter()
            .find(|((who, what), _)| *who == business && *what == field)
            .map(|(_, said)| said)
    }
}

impl World {
    fn path(&self, number: usize) -> Vec<BusinessId> {
        let mut path = vec![business(number)];
        let mut now = number;
        while now > 0 {
            now = self.parents[now - 1];
            path.insert(0, business(now));
        }
        path
    }

    /// The model: what holds at the end of `line`, for a viewer to whom the owner says `own`.
    fn expected(
        &self,
        group: &Group,
        field: &str,
        line: &[BusinessId],
        own: &Value,
        now: Instant,
    ) -> Option<Value> {
        let Some((here, above)) = line.split_last().filter(|(_, above)| !above.is_empty()) else {
            return Some(own.clone());
        };
        // What each business above says to this one, from the top; the owner has a default.
        let mut says = vec![(0, group.mode)];
        for (level, who) in above.iter().enumerate() {
            let mut last: Option<&Policy> = None;
            for one in self.policies.all().iter().filter(|one| one.owner == *who && one.group == group.name) {
                let begun = match one.existing {
                    Existing::Grace(until) => until <= now && one.effective_from <= now,
                    _ => one.effective_from <= now,
                };
                if begun && last.is_none_or(|last| last.effective_from <= one.effective_from) {
                    last = Some(one);
                }
            }
            let Some(last) = last else { continue };
            let named = |names: &Vec<BusinessId>| names.iter().any(|name| line[level + 1..].contains(name));
            let applies = match &last.reach {
                Reach::Subtree => true,
                Reach::Only(names) => named(names),
                Reach::Except(names) => !named(names),
            };
            if applies && level == 0 {
                says = vec![(0, last.mode)];
            } else if applies {
                says.push((level, last.mode));
            }
        }
        let mine = self.said(*here, field).map(|said| said.value.clone());
        if let Some((lock, _)) = says.iter().find(|(_, mode)| *mode == Mode::Locked) {
            return self.expected(group, field, &line[..=*lock], own, now);
        }
        if says.iter().any(|(_, mode)| *mode == Mode::Extend) {
            let mut items = match self.expected(group, field, above, own, now) {
                Some(Value::List(items)) => items,
                _ => vec![],
            };
            if let Some(Value::List(more)) = &mine {
                let known = items.clone();
                items.extend(more.iter().filter(|item| !known.contains(item)).cloned());
            } else if items.is_empty() && self.expected(group, field, above, own, now).is_none() {
                return None;
            }
            return Some(Value::List(items));
        }
        let inherited = says.iter().any(|(_, mode)| *mode == Mode::Overridable);
        mine.or_else(|| if inherited { self.expected(group, field, above, own, now) } else { None })
    }
}

fn names() -> impl Strategy<Value = Vec<BusinessId>> {
    prop::collection::vec((0..BUSINESSES).prop_map(business), 1..3)
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![Just(Reach::Subtree), names().prop_map(Reach::Only), names().prop_map(Reach::Except)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let existing =
        prop_oneof![Just(Existing::Suspend), (10i64..20).prop_map(|second| Existing::Grace(at(second)))];
    (0..BUSINESSES, 0..2usize, 0..4usize, reach(), 0i64..10, existing).prop_map(
        |(owner, group, mode, reach, from, existing)| {
            let mode = [Mode::Local, Mode::Overridable, Mode::Extend, Mode::Locked][mode];
            let mode = if group == 1 && mode == Mode::Extend { Mode::Locked } else { mode };
            Policy {
                owner: business(owner),
                group: GROUPS[group].name.to_owned(),
                mode,
                reach,
                effective_from: at(from),
                version: 0,
                existing: if mode == Mode::Locked { existing } else { Existing::Suspend },
                recorded_at: at(0),
                by: String::new(),
                reason: String::new(),
            }
        },
    )
}

fn items() -> impl Strategy<Value = Value> {
    prop::collection::btree_set("[a-f]", 0..4).prop_map(|items| Value::List(items.into_iter().collect()))
}

fn world() -> impl Strategy<Value = World> {
    // The first nine businesses are a chain, so that there are at least nine levels; the others hang anywhere.
    let parents: Vec<BoxedStrategy<usize>> = (1..BUSINESSES)
        .map(|number| if number < 9 { Just(number - 1).boxed() } else { (0..number).boxed() })
        .collect();
    let overrides = prop::collection::vec((1..BUSINESSES, any::<bool>(), items(), "[a-z]{1,3}"), 0..30);
    let waves = prop::collection::vec((reach(), 0i64..20), 0..3);
    let policies = prop::collection::vec(policy(), 0..10);
    (parents, overrides, waves, policies, any::<bool>()).prop_map(
        |(parents, overrides, waves, policies, rolled_back)| {
            let base = |value| Version { said: said(value, 1), waves: vec![], rolled_back: false };
            let waves: Vec<Wave> =
                waves.into_iter().map(|(reach, second)| Wave { reach, at: at(second) }).collect();
            let later = |value| Version { said: said(value, 2), waves: waves.clone(), rolled_back };
            let own = BTreeMap::from([
                ("name", vec![base(Value::Text("own".into())), later(Value::Text("new".into()))]),
                ("tags", vec![base(list(&["a", "own"])), later(list(&["a", "new"]))]),
            ]);
            let mut world = World { parents, own, overrides: BTreeMap::new(), policies: Policies::default() };
            for (number, is_list, items, text) in overrides {
                let (field, value) = if is_list { ("tags", items) } else { ("name", Value::Text(text)) };
                world.overrides.insert((business(number), field), said(value, 3));
            }
            for mut policy in policies {
                policy.version = world.policies.next_version(policy.owner, &policy.group);
                assert_eq!(policy.check(SCHEMA.group(&policy.group).unwrap()), Ok(()));
                world.policies.add(policy);
            }
            world
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// HIE-2, HIE-6: over trees of nine levels and more, policies of every mode and overrides anywhere, the
    /// value that holds is the nearest that policy permits, and its origin is who said it.
    #[test]
    fn what_holds_is_what_the_definition_says(world in world(), second in 0i64..25) {
        for number in 0..BUSINESSES {
            let line = world.path(number);
            for group in GROUPS {
                let field = group.fields[0].name;
                let own = world.own(field, &line, at(second)).value;
                let found = resolve(&world, &world.policies, group, field, &line, at(second));
                prop_assert_eq!(&found.value, &world.expected(group, field, &line, &own, at(second)));
                if let Some(value) = &found.value {
                    prop_assert!(line.contains(&found.origin.business));
                    let origin = found.origin.business;
                    let source = if origin == line[0] { Some(&own) } else { world.said(origin, field).map(|said| &said.value) };
                    match value {
                        Value::Text(_) => prop_assert_eq!(source, Some(value)),
                        Value::List(items) => prop_assert_eq!(items.len(), found.items.len()),
                    }
                }
                let steps = walk(&world, &world.policies, group, field, &line, at(second));
                prop_assert_eq!(steps.len(), line.len());
                prop_assert_eq!(&steps.last().unwrap().effective, &found);
            }
        }
    }

    /// HIE-3: what the guard lets through holds in the business that said it; what it refuses is locked by the
    /// policy that it names. HIE-5: taking it back restores what held before.
    #[test]
    fn what_the_guard_lets_through_counts(world in world(), number in 1..BUSINESSES, wanted in items()) {
        let (line, now) = (world.path(number), at(25));
        for group in GROUPS {
            let field = group.fields[0].name;
            let wanted = if group.fields[0].is_list { wanted.clone() } else { Value::Text("mine".into()) };
            let mut without = world.clone();
            without.overrides.remove(&(business(number), field));
            let before = resolve(&without, &world.policies, group, field, &line, now);
            let mut with = without.clone();
            match prepare(&without, &world.policies, group, field, &line, &wanted, now) {
                Ok(kept) => {
                    with.overrides.insert((business(number), field), said(kept, 9));
                    let after = resolve(&with, &world.policies, group, field, &line, now);
                    let sorted = |value: Option<Value>| match value {
                        Some(Value::List(mut items)) => { items.sort(); Some(Value::List(items)) }
                        other => other,
                    };
                    prop_assert_eq!(sorted(after.value), sorted(Some(wanted)));
                    with.overrides.remove(&(business(number), field));
                    prop_assert_eq!(resolve(&with, &world.policies, group, field, &line, now), before);
                }
                Err(locked) => {
                    prop_assert!(line[..line.len() - 1].contains(&locked.owner));
                    prop_assert!(matches!(locked.mode, Mode::Locked | Mode::Extend));
                    if locked.mode == Mode::Locked {
                        with.overrides.insert((business(number), field), said(wanted, 9));
                        let after = resolve(&with, &world.policies, group, field, &line, now);
                        prop_assert_eq!(after.value, before.value);
                    }
                }
            }
        }
    }

    /// HIE-7: where lists are extended, nothing that comes from above is ever missing below.
    #[test]
    fn an_extended_list_keeps_what_comes_from_above(world in world()) {
        let mut world = world;
        world.policies = Policies::default(); // the default of the group: extend
        for number in 1..BUSINESSES {
            let line = world.path(number);
            let own = world.own("tags", &line, at(25)).value;
            let Some(Value::List(found)) = resolve(&world, &world.policies, &GROUPS[0], "tags", &line, at(25)).value
                else { panic!("a list") };
            let Value::List(own) = own else { panic!("a list") };
            prop_assert!(own.iter().all(|item| found.contains(item)));
        }
    }

    /// HIE-A: a preview lists every business in which another value would hold, and no other; taking the version
    /// back brings back every value.
    #[test]
    fn a_preview_lists_exactly_what_changes(world in world()) {
        let (mut before, mut after) = (world.clone(), world);
        for versions in before.own.values_mut() { versions[1].rolled_back = true; }
        for versions in after.own.values_mut() { versions[1].rolled_back = false; }
        let paths: Vec<Vec<BusinessId>> = (0..BUSINESSES).map(|number| before.path(number)).collect();
        let lines: Vec<&[BusinessId]> = paths.iter().map(Vec::as_slice).collect();
        let (old, new) = ((&before, &before.policies, at(25)), (&after, &after.policies, at(25)));
        let found = preview(&SCHEMA, old, new, &lines);
        for line in &lines {
            for group in GROUPS {
                let field = group.fields[0].name;
                let value = |world: &World| {
                    let own = world.own(field, line, at(25)).value;
                    world.expected(group, field, line, &own, at(25))
                };
                let listed = found.iter().any(|one| one.business == *line.last().unwrap() && one.field == field);
                prop_assert_eq!(listed, value(&before) != value(&after));
            }
        }
        for versions in after.own.values_mut() { versions[1].rolled_back = true; }
        prop_assert_eq!(preview(&SCHEMA, old, (&after, &after.policies, at(25)), &lines), vec![]);
    }
}

fn lock(existing: Existing) -> Policy {
    Policy {
        owner: business(0),
        group: "text".to_owned(),
        mode: Mode::Locked,
        reach: Reach::Subtree,
        effective_from: at(5),
        version: 1,
        existing,
        recorded_at: at(5),
        by: "key_a".to_owned(),
        reason: "one name everywhere".to_owned(),
    }
}

fn chain(policy: Option<Policy>) -> World {
    let own = BTreeMap::from([(
        "name",
        vec![Version { said: said(Value::Text("own".into()), 1), waves: vec![], rolled_back: false }],
    )]);
    let mut world =
        World { parents: (0..8).collect(), own, overrides: BTreeMap::new(), policies: Policies::default() };
    world.overrides.insert((business(3), "name"), said(Value::Text("mine".into()), 2));
    policy.into_iter().for_each(|policy| world.policies.add(policy));
    world
}

/// HIE-12: a lock over overrides is refused, or suspends them, or lets them count until a moment; none is lost.
#[test]
fn a_lock_over_overrides_asks_what_becomes_of_them() {
    let line = chain(None).path(3);
    let holds = |world: &World, second: i64| {
        let found = resolve(world, &world.policies, &GROUPS[1], "name", &line, at(second));
        let Some(Value::Text(text)) = found.value else { panic!("a text") };
        text
    };
    let writes = |world: &World, second: i64| {
        let wanted = Value::Text("other".into());
        prepare(world, &world.policies, &GROUPS[1], "name", &line, &wanted, at(second)).is_ok()
    };
    let standing = [Standing { line: &line, group: "text" }];
    assert_eq!(conflicts(&lock(Existing::Reject), &standing), [business(3)]);
    assert_eq!(conflicts(&lock(Existing::Suspend), &standing), []);

    let suspended = chain(Some(lock(Existing::Suspend)));
    assert_eq!([holds(&suspended, 4), holds(&suspended, 5)], ["mine", "own"]);
    let steps = walk(&suspended, &suspended.policies, &GROUPS[1], "name", &line, at(5));
    assert_eq!(steps.last().unwrap().said.as_ref().unwrap().1, Status::Suspended);
    // The lock goes: it counts again.
    let mut lifted = suspended;
    lifted.policies.add(Policy {
        mode: Mode::Overridable,
        version: 2,
        effective_from: at(9),
        ..lock(Existing::Suspend)
    });
    assert_eq!(holds(&lifted, 9), "mine");

    let grace = chain(Some(lock(Existing::Grace(at(8)))));
    assert_eq!([holds(&grace, 5), holds(&grace, 7), holds(&grace, 8)], ["mine", "mine", "own"]);
    assert_eq!([writes(&grace, 4), writes(&grace, 5)], [true, false]);
}

/// HIE-8: the nearest business that is named decides; the owner always sees its record.
#[test]
fn visibility_is_decided_by_the_nearest_name() {
    let path = chain(None).path(8);
    let check = |include: &[usize], exclude: &[usize], expected: &[usize]| {
        let named = |numbers: &[usize]| numbers.iter().copied().map(business).collect();
        let visibility = Visibility { include: named(include), exclude: named(exclude) };
        let seen: Vec<usize> = (0..=8).filter(|level| visibility.shows(&path[..=*level])).collect();
        assert_eq!(seen, expected);
    };
    check(&[], &[], &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    check(&[], &[3], &[0, 1, 2]);
    check(&[3], &[], &[0, 3, 4, 5, 6, 7, 8]);
    check(&[5], &[3], &[0, 5, 6, 7, 8]);
    check(&[2], &[4, 0], &[0, 2, 3]);
}

/// HIE-10: what belongs to a sister or to a business below is on nobody's line.
#[test]
fn a_line_leads_from_the_owner_down() {
    let path = [business(0), business(1), business(2)];
    assert_eq!(inherit::line(&path, business(1)), Some(&path[1..]));
    assert_eq!(inherit::line(&path, business(7)), None);
    assert_eq!(inherit::line(&path[..1], business(2)), None);
}
