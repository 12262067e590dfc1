//! OpenAPI 3.1 from the same tables that requests are read and answers printed by.
//!
//! The same contract gives the same bytes: keys are sorted, nothing depends on time or memory.

use http::Method;
use proto::{Idempotency, MethodRule};
use serde_json::{Map, Value, json};

use crate::catalogue::{Body, Catalogue, Operation, Segment};
use crate::openapi_schema::{PROBLEM, Schemas, View};
use crate::schema::Kind;

/// What the document says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Info<'a> {
    /// Name of the API.
    pub title: &'a str,
    /// Version of the software.
    pub version: &'a str,
    /// What a newcomer should know first, in Markdown.
    pub description: &'a str,
}

impl Catalogue {
    /// Writes the OpenAPI document of all operations, as JSON.
    pub fn openapi(&self, info: Info<'_>) -> String {
        let mut schemas = Schemas::new(self);
        let mut paths: Map<String, Value> = Map::new();
        for operation in &self.operations {
            let entry = self.operation_entry(operation, &mut schemas);
            let path = paths.entry(self.path_template(operation)).or_insert_with(|| json!({}));
            path[operation.method.as_str().to_ascii_lowercase()] = entry;
        }
        let mut components = schemas.into_components();
        components.insert(PROBLEM.to_owned(), problem_schema());
        let tags: Vec<Value> =
            self.services.iter().map(|(name, doc)| described(json!({"name": name}), doc)).collect();
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": info.title, "version": info.version, "description": info.description,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"apiKey": []}, {"session": []}],
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, `cp_live_…`, or the token of a session, `cp_ses_…`."},
                    "session": {
                        "type": "apiKey", "in": "cookie", "name": "__Host-cp_session",
                        "description": "A session in a browser: signing in with the header `cp-session: cookie` sets it. \
                                        Calls that change something carry `cp-csrf` with the `csrfToken` of that answer.",
                    },
                },
                "parameters": header_parameters(),
                "headers": answer_headers(),
                "responses": {
                    "Problem": {
                        "description": "A problem: `reason` is stable, `errors` lists every bad field.",
                        "headers": {"Request-Id": {"$ref": "#/components/headers/Request-Id"}},
                        "content": {
                            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
                        },
                    },
                },
            },
        });
        // Other crates may have a map of JSON keep the order of insertion: the document does not depend on them.
        document.sort_all_objects();
        // A value made of strings always prints.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// `/v1/movements/{movementId}:reverse`.
    fn path_template(&self, operation: &Operation) -> String {
        let request = &self.schema.messages[operation.input];
        let mut path = String::new();
        for segment in &operation.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Field(index) => path.push_str(&format!("{{{}}}", request.fields[*index].json)),
            }
        }
        if let Some(verb) = &operation.verb {
            path.push(':');
            path.push_str(verb);
        }
        path
    }

    fn operation_entry(&self, operation: &Operation, schemas: &mut Schemas) -> Value {
        let (summary, rest) = operation.doc.split_once("\n\n").unwrap_or((&operation.doc, ""));
        let mut description = rest.to_owned();
        if !operation.rule.errors.is_empty() {
            let reasons: Vec<String> = operation.rule.errors.iter().map(|r| format!("`{r}`")).collect();
            description.push_str(&format!("\n\nReasons beside the common ones: {}.", reasons.join(", ")));
        }
        let entry = json!({
            "operationId": lower_camel(&operation.name),
            "tags": [operation.service],
            "summary": summary.replace('\n', " "),
            "parameters": self.parameters(operation, schemas),
            "responses": self.responses(operation, schemas),
            "x-permission": operation.rule.permission,
        });
        let mut entry = described(entry, description.trim());
        if operation.rule.step_up {
            entry["x-step-up"] = json!(true);
        }
        if operation.rule.is_public() {
            entry["security"] = json!([]);
        }
        let taken: Vec<usize> = operation.fields().collect();
        let body = match operation.body {
            Body::None => None,
            Body::Whole => Some(schemas.request(operation.input, &taken)),
            Body::Field(index) => match self.schema.messages[operation.input].fields[index].kind {
                Kind::Message(id) => {
                    let view = if operation.mask.is_some() { View::Patch } else { View::Input };
                    Some(schemas.reference(id, view))
                }
                _ => None,
            },
        };
        if let Some(schema) = body {
            entry["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        entry
    }

    fn parameters(&self, operation: &Operation, schemas: &mut Schemas) -> Vec<Value> {
        let request = &self.schema.messages[operation.input];
        let mut parameters = vec![];
        for (place, index) in operation
            .fields()
            .map(|index| ("path", index))
            .chain(operation.query.iter().map(|index| ("query", *index)))
        {
            let field = &request.fields[index];
            let view = if place == "path" { View::Path } else { View::Input };
            let parameter = json!({
                "name": field.json,
                "in": place,
                "required": place == "path" || field.options.required,
                "schema": schemas.field_value(field, view),
            });
            parameters.push(described(parameter, &field.doc));
        }
        let mut header =
            |name: &str| parameters.push(json!({"$ref": format!("#/components/parameters/{name}")}));
        match operation.rule.idempotency {
            Idempotency::None => {}
            Idempotency::Optional => header("IdempotencyKey"),
            Idempotency::Required => header("IdempotencyKeyRequired"),
        }
        if operation.rule.if_match {
            header("IfMatch");
        }
        if operation.method == Method::GET && operation.answer.etag.is_some() {
            header("IfNoneMatch");
        }
        header("CargoBusiness");
        parameters
    }

    fn responses(&self, operation: &Operation, schemas: &mut Schemas) -> Value {
        let answer = &operation.answer;
        let mut headers = Map::new();
        let mut header = |name: &str, there: bool| {
            if there {
                let reference = json!({"$ref": format!("#/components/headers/{name}")});
                headers.insert(name.to_owned(), reference);
            }
        };
        header("Request-Id", true);
        header("ETag", answer.etag.is_some());
        header("Location", answer.location.is_some());
        header("Link", answer.next_page_token.is_some());
        header("Idempotent-Replayed", operation.rule.idempotency != Idempotency::None);
        let success = |description: &str, schema: Value| {
            json!({
                "description": description,
                "headers": headers.clone(),
                "content": {"application/json": {"schema": schema}},
            })
        };
        let schema = schemas.reference(operation.output, View::Output);
        let mut responses = Map::new();
        match answer.location {
            Some(_) => responses.insert("201".to_owned(), success("Made.", schema)),
            None => responses.insert("200".to_owned(), success("Done.", schema.clone())).or_else(|| {
                answer.problem?;
                let description = "Some items were refused; each result says which.";
                responses.insert("207".to_owned(), success(description, schema))
            }),
        };
        if operation.method == Method::GET && answer.etag.is_some() {
            responses.insert("304".to_owned(), json!({"description": "Unchanged since `If-None-Match`."}));
        }
        for status in error_statuses(&operation.rule, operation) {
            responses.insert(status.to_owned(), json!({"$ref": "#/components/responses/Problem"}));
        }
        Value::Object(responses)
    }
}

impl Operation {
    /// The request fields that the path carries.
    fn fields(&self) -> impl Iterator<Item = usize> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Field(index) => Some(*index),
            Segment::Literal(_) => None,
        })
    }
}

fn error_statuses(rule: &MethodRule, operation: &Operation) -> Vec<&'static str> {
    let body = operation.body != Body::None;
    let keyed = rule.idempotency != Idempotency::None;
    [
        ("400", true),
        ("401", true),
        ("403", true),
        ("404", true),
        ("409", body),
        ("412", rule.if_match),
        ("413", body),
        ("415", body),
        ("422", keyed),
        ("428", rule.if_match),
        ("default", true),
    ]
    .into_iter()
    .filter_map(|(status, applies)| applies.then_some(status))
    .collect()
}

fn header_parameters() -> Value {
    let header = |name: &str, required: bool, schema: Value, description: &str| json!({"name": name, "in": "header", "required": required, "schema": schema, "description": description});
    let key = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"});
    let key_doc = "Names the mutation: repeating it with the same key and body answers the same and does \
                   nothing again.";
    json!({
        "IdempotencyKey": header("Idempotency-Key", false, key.clone(), key_doc),
        "IdempotencyKeyRequired": header("Idempotency-Key", true, key, key_doc),
        "IfMatch": header("If-Match", true, json!({"type": "string"}), "The `ETag` that the change is based on."),
        "IfNoneMatch": header("If-None-Match", false, json!({"type": "string"}), "Answers 304 when unchanged."),
        "CargoBusiness": header(
            "cp-business", false, json!({"type": "string"}),
            "The business to work in; that of the key when absent."
        ),
    })
}

fn answer_headers() -> Value {
    let header = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "Request-Id": header("Names the request in logs."),
        "ETag": header("The revision, for `If-Match` and `If-None-Match`."),
        "Location": header("Where the new resource is."),
        "Link": header("`rel=\"next\"`: the next page, if there is one."),
        "Idempotent-Replayed": header("`true` when the answer was given before."),
    })
}

/// The document of RFC 9457 with our members.
fn problem_schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "A problem as RFC 9457 describes it.",
        "required": ["type", "title", "status", "detail", "instance", "code", "reason", "traceId", "errors"],
        "properties": {
            "type": text("Address of a page about the reason."),
            "title": text("The reason in words."),
            "status": {"type": "integer", "format": "int32", "description": "HTTP status."},
            "detail": text("What happened, for a person."),
            "instance": text("What was asked for."),
            "code": text("Canonical code: `FAILED_PRECONDITION`."),
            "reason": text("Stable reason: `INSUFFICIENT_STOCK`."),
            "traceId": text("W3C trace id."),
            "errors": {
                "type": "array",
                "description": "Every bad field.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "reason", "detail"],
                    "properties": {
                        "pointer": text("JSON pointer into the body, or the parameter: `/movements/3/quantity`."),
                        "reason": text("Stable reason: `NOT_A_DECIMAL`."),
                        "detail": text("What is wrong, for a person."),
                    },
                },
            },
            "metadata": {
                "type": "object",
                "description": "Values for a program.",
                "additionalProperties": {"type": "string"},
            },
            "retryAfterMs": {"type": "integer", "description": "When trying again makes sense."},
        },
    })
}

/// Adds a description, if there is one.
pub(crate) fn described(mut value: Value, doc: &str) -> Value {
    if !doc.is_empty() {
        value["description"] = Value::from(doc);
    }
    value
}

fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
