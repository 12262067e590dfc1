//! Where an id can stand in a request.

use std::collections::BTreeSet;

use prost_reflect::Kind;

use crate::contract::{Rpc, public, routed};

/// A kind of place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Spot {
    /// A segment of the path.
    Path,
    /// A parameter of the query.
    Query,
    /// A field of the body.
    Body,
    /// A field of a message in the body.
    Nested,
    /// A field of one of several items, or an id in a list.
    Item,
}

/// A place for an id.
pub(crate) struct Place {
    pub(crate) rpc: Rpc,
    /// Where in the whole request: `/movements/0/variantId`.
    pub(crate) pointer: String,
    /// Of what kind: `var`.
    pub(crate) prefix: String,
    pub(crate) spot: Spot,
}

/// Texts that are called ids and are not ours: documents of other systems, and what searches compare with.
const NOT_OURS: [&str; 7] = ["/actorId", "/clientId", "/id", "/lineId", "/sourceId", "/number", "/paymentId"];

/// Every place of every public RPC.
pub(crate) fn all() -> Vec<Place> {
    public().into_iter().flat_map(|rpc| of(&rpc)).collect()
}

/// Every place of the RPCs that are for users alone.
pub(crate) fn of_users() -> Vec<Place> {
    let for_users = routed().into_iter().filter(|rpc| rpc.rule.permission.starts_with("self."));
    for_users.flat_map(|rpc| of(&rpc)).collect()
}

fn of(rpc: &Rpc) -> Vec<Place> {
    let fields = rpc.fields().into_iter();
    let references = fields.filter(|field| !field.options.reference.is_empty() && rpc.accepts(field));
    references
        .map(|field| {
            let list = field.descriptor.is_list();
            let pointer = if list { format!("{}/0", field.pointer) } else { field.pointer };
            assert!(
                !field.descriptor.is_map() && field.descriptor.kind() == Kind::String,
                "{} {pointer}: teach isolation/places.rs where its ids stand",
                rpc.name
            );
            let spot = spot(rpc, &pointer);
            Place { rpc: rpc.clone(), pointer, prefix: field.options.reference, spot }
        })
        .collect()
}

fn spot(rpc: &Rpc, pointer: &str) -> Spot {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let name = rpc.input.fields().find(|field| field.json_name() == parts[0]);
    let name = name.unwrap_or_else(|| panic!("{} has no field {pointer}", rpc.name));
    let route = rpc.rule.http.as_ref().expect("a route");
    let body = rpc.body();
    // A body that is one field of the request begins below it.
    let depth = if body == "*" { 1 } else { 2 };
    match parts.len() {
        _ if route.path.contains(&format!("{{{}}}", name.name())) => Spot::Path,
        _ if body.is_empty() || body != "*" && body != parts[0] => Spot::Query,
        _ if parts.contains(&"0") => Spot::Item,
        long if depth < long => Spot::Nested,
        _ => Spot::Body,
    }
}

/// TEN-2, that nothing is left out: a text that is called an id names what it is an id of, or is listed here as
/// one of another system; ids stand in every kind of place.
#[test]
fn every_id_has_a_place() {
    for rpc in public() {
        for field in rpc.fields().into_iter().filter(|field| rpc.accepts(field)) {
            let name = field.descriptor.name();
            let is_text = field.descriptor.kind() == Kind::String;
            let is_called_id =
                ["id", "ids"].contains(&name) || name.ends_with("_id") || name.ends_with("_ids");
            let is_ours = !field.options.reference.is_empty();
            let is_known = NOT_OURS.iter().any(|known| field.pointer.ends_with(known));
            assert!(
                !is_text || !is_called_id || is_ours || is_known,
                "{} {}: say with `reference` what it is an id of",
                rpc.name,
                field.pointer
            );
        }
    }
    let spots: BTreeSet<Spot> = all().into_iter().map(|place| place.spot).collect();
    for spot in [Spot::Path, Spot::Query, Spot::Body, Spot::Item] {
        assert!(spots.contains(&spot), "no id stands in a place like {spot:?}");
    }
}
