//! From descriptors to operations, and the route table.

use std::collections::{BTreeSet, HashMap};

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use proto::MethodRule;

use crate::schema::{Kind, Schema, Shape, comment};
use crate::url;

/// Everything that can be called over REST.
#[derive(Debug)]
pub struct Catalogue {
    pub(crate) schema: Schema,
    pub(crate) operations: Vec<Operation>,
    /// Name and comment of each service that has operations.
    pub(crate) services: Vec<(String, String)>,
    /// Segment count and verb to the operations that may match.
    routes: HashMap<(usize, Option<String>), Vec<usize>>,
}

/// One RPC with its route.
#[derive(Debug)]
pub struct Operation {
    /// `/cargopilot.stock.v1.StockService/PostMovement`.
    pub path: PathAndQuery,
    /// What the RPC says about itself.
    pub rule: MethodRule,
    /// `PostMovement`.
    pub name: String,
    /// `Stock`.
    pub service: String,
    /// The HTTP method.
    pub method: Method,
    pub(crate) doc: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) verb: Option<String>,
    pub(crate) body: Body,
    /// Fields of the request that a query may carry.
    pub(crate) query: Vec<usize>,
    /// The list of names that a PATCH fills from its keys.
    pub(crate) mask: Option<usize>,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) answer: Answer,
}

/// A part of a path between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    /// The request field with this index.
    Field(usize),
}

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// The whole request, apart from what the path carries.
    Whole,
    /// The request field with this index.
    Field(usize),
}

/// Which parts of an answer HTTP shows outside the body; field numbers.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) etag: Option<u32>,
    pub(crate) replayed: Option<u32>,
    pub(crate) next_page_token: Option<u32>,
    /// List of results, and the problem in a result.
    pub(crate) problem: Option<(u32, u32)>,
    pub(crate) location: Option<Location>,
}

/// Where a new resource is: `/v1/products/{id}`.
#[derive(Debug)]
pub(crate) struct Location {
    /// `/v1/products/`.
    pub(crate) prefix: String,
    /// The field that holds the resource, if it is not the answer itself.
    pub(crate) holder: Option<u32>,
    pub(crate) id: u32,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Found<'c, 'p> {
    /// An operation and what its path fields took.
    Operation(&'c Operation, PathFields<'p>),
    /// Something, but not for this method: the methods that are there.
    WrongMethod(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// Request fields by index, each with the segment that it took, as it came.
#[derive(Debug, Default)]
pub struct PathFields<'p>(pub(crate) Vec<(usize, &'p str)>);

/// The contract cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the contract cannot be served: {}", .0.join("; "))]
pub struct Unservable(pub Vec<String>);

impl Catalogue {
    /// Reads every RPC that has a route.
    ///
    /// # Errors
    /// Everything that is wrong: missing rules, routes that could mean two operations, fields that fit
    /// nowhere, created resources without an address, types that REST cannot carry.
    pub fn new(pool: &DescriptorPool) -> Result<Catalogue, Unservable> {
        let rules = proto::read(pool)
            .map_err(|refused| Unservable(refused.iter().map(ToString::to_string).collect()))?;
        let mut catalogue = Catalogue {
            schema: Schema::default(),
            operations: vec![],
            services: vec![],
            routes: HashMap::new(),
        };
        let mut faults = vec![];
        for service in pool.services() {
            let before = catalogue.operations.len();
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let Some(rule) = rules.get(&path).filter(|rule| rule.http.is_some()) else { continue };
                match catalogue.operation(&service, &method, &path, rule.clone()) {
                    Ok(operation) => catalogue.operations.push(operation),
                    Err(why) => faults.push(format!("{}: {why}", method.full_name())),
                }
            }
            if before < catalogue.operations.len() {
                let doc = comment(&service.parent_file(), service.path());
                catalogue.services.push((service_name(&service), doc));
            }
        }
        faults.extend(catalogue.ambiguities());
        faults.extend(catalogue.lost_resources());
        if !faults.is_empty() {
            return Err(Unservable(faults));
        }
        for (at, operation) in catalogue.operations.iter().enumerate() {
            let key = (operation.segments.len(), operation.verb.clone());
            catalogue.routes.entry(key).or_default().push(at);
        }
        Ok(catalogue)
    }

    /// All operations, in the order of the contract.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Finds what `path` (without the query, as it came) means for `method`.
    pub fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p> {
        let Some((segments, verb)) = url::split(path) else { return Found::Nothing };
        let Some(candidates) = self.routes.get(&(segments.len(), verb.map(str::to_owned))) else {
            return Found::Nothing;
        };
        let mut methods = vec![];
        for operation in candidates.iter().map(|at| &self.operations[*at]) {
            let Some(fields) = operation.matches(&segments) else { continue };
            if operation.method == method {
                return Found::Operation(operation, fields);
            }
            methods.push(operation.method.clone());
        }
        if methods.is_empty() { Found::Nothing } else { Found::WrongMethod(methods) }
    }

    fn operation(
        &mut self,
        service: &ServiceDescriptor,
        method: &MethodDescriptor,
        path: &str,
        rule: MethodRule,
    ) -> Result<Operation, String> {
        if method.is_client_streaming() || method.is_server_streaming() {
            return Err("streams have no REST form".to_owned());
        }
        let route = rule.http.as_ref().ok_or("has no route")?;
        let input = self.schema.message(&method.input())?;
        let output = self.schema.message(&method.output())?;
        let request = &self.schema.messages[input];

        let template = route.path.replace(['{', '}'], "");
        let (names, verb) = url::split(&template).ok_or("its path is not a path")?;
        let (raw, _) = url::split(&route.path).ok_or("its path is not a path")?;
        let mut segments = vec![];
        for (name, raw) in names.iter().zip(&raw) {
            let is_field = raw.starts_with('{');
            segments.push(match request.field(name) {
                Some((index, field)) if is_field && field.kind == Kind::String => Segment::Field(index),
                _ if is_field => {
                    return Err(format!("its path names {name}, which is no string of the request"));
                }
                _ => Segment::Literal((*name).to_owned()),
            });
        }
        let body = match route.body.as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            name => match request.field(name) {
                Some((index, field)) if is_single_message(field) => Body::Field(index),
                _ => return Err(format!("its body {name} is no message of the request")),
            },
        };
        let mut query = vec![];
        for (index, field) in request.fields.iter().enumerate() {
            if body == Body::Whole || body == Body::Field(index) || segments.contains(&Segment::Field(index))
            {
                continue;
            }
            if matches!(field.kind, Kind::Message(_)) || field.shape == Shape::Map {
                return Err(format!("{} fits neither path, body nor query", field.name));
            }
            query.push(index);
        }
        let mask = request
            .field("update_mask")
            .filter(|(_, field)| route.method == "PATCH" && field.shape == Shape::List)
            .map(|(index, _)| index);
        if route.method == "PATCH" && (mask.is_none() || !matches!(body, Body::Field(_))) {
            return Err("a PATCH has an update_mask and a body field".to_owned());
        }
        Ok(Operation {
            path: PathAndQuery::try_from(path).map_err(|e| e.to_string())?,
            name: method.name().to_owned(),
            service: service_name(service),
            method: Method::from_bytes(route.method.as_bytes()).map_err(|e| e.to_string())?,
            doc: comment(&method.parent_file(), method.path()),
            verb: verb.map(str::to_owned),
            answer: self.shown_outside(output, &rule)?,
            segments,
            body,
            query,
            mask,
            input,
            output,
            rule,
        })
    }

    /// What HTTP shows of an answer beside its body.
    fn shown_outside(&self, output: usize, rule: &MethodRule) -> Result<Answer, String> {
        let message = &self.schema.messages[output];
        let number = |name: &str, kind: Kind| {
            let field = message.field(name).map(|(_, field)| field);
            field.filter(|field| field.kind == kind && field.shape == Shape::Plain).map(|field| field.number)
        };
        let mut answer = Answer {
            etag: number("etag", Kind::String),
            replayed: number("replayed", Kind::Bool),
            next_page_token: number("next_page_token", Kind::String),
            problem: None,
            location: None,
        };
        if rule.multi_status {
            let problem = message.field("results").and_then(|(_, results)| {
                let Kind::Message(result) = results.kind else { return None };
                let (_, problem) = self.schema.messages[result].field("problem")?;
                Some((results.number, problem.number))
            });
            answer.problem = Some(problem.ok_or("its answer has no results with a problem")?);
        }
        if rule.creates {
            let own = message.resource.as_ref().map(|resource| (None, resource, message));
            let held = message.fields.iter().find_map(|field| {
                let Kind::Message(id) = field.kind else { return None };
                let held = &self.schema.messages[id];
                Some((Some(field.number), held.resource.as_ref()?, held))
            });
            let (holder, resource, held) = own.or(held).ok_or("its answer holds no resource")?;
            let (_, id) = held.field("id").ok_or("its resource has no id")?;
            let prefix = format!("/v1/{}/", resource.plural);
            answer.location = Some(Location { prefix, holder, id: id.number });
        }
        Ok(answer)
    }

    /// Two operations that one request could mean.
    fn ambiguities(&self) -> Vec<String> {
        let mut found = vec![];
        for (at, a) in self.operations.iter().enumerate() {
            for b in &self.operations[at + 1..] {
                let alike = a.method == b.method
                    && a.verb == b.verb
                    && a.segments.len() == b.segments.len()
                    && a.segments.iter().zip(&b.segments).all(|pair| match pair {
                        (Segment::Literal(a), Segment::Literal(b)) => a == b,
                        _ => true,
                    });
                if alike {
                    found.push(format!("{} and {} share a route", a.name, b.name));
                }
            }
        }
        found
    }

    /// Creates whose `Location` no operation serves.
    fn lost_resources(&self) -> Vec<String> {
        let served: BTreeSet<String> = self
            .operations
            .iter()
            .filter(|operation| operation.method == Method::GET && operation.verb.is_none())
            .filter_map(|operation| match operation.segments.as_slice() {
                [Segment::Literal(version), Segment::Literal(plural), Segment::Field(_)] => {
                    Some(format!("/{version}/{plural}/"))
                }
                _ => None,
            })
            .collect();
        let lost = |operation: &&Operation| match &operation.answer.location {
            Some(location) => !served.contains(&location.prefix),
            None => false,
        };
        self.operations
            .iter()
            .filter(lost)
            .map(|o| format!("{}: nothing serves what it makes", o.name))
            .collect()
    }
}

impl Operation {
    /// The fields that the segments carry, if they fit.
    fn matches<'p>(&self, segments: &[&'p str]) -> Option<PathFields<'p>> {
        let mut fields = vec![];
        for (own, given) in self.segments.iter().zip(segments) {
            match own {
                Segment::Literal(text) if text == given => {}
                Segment::Literal(_) => return None,
                Segment::Field(index) => fields.push((*index, *given)),
            }
        }
        Some(PathFields(fields))
    }
}

fn is_single_message(field: &crate::schema::Field) -> bool {
    matches!(field.kind, Kind::Message(_)) && !matches!(field.shape, Shape::List | Shape::Map)
}

/// `StockService` becomes `Stock`.
fn service_name(service: &ServiceDescriptor) -> String {
    service.name().trim_end_matches("Service").to_owned()
}
