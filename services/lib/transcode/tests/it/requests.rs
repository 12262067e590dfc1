//! JSON, path and query to the request, and everything that is wrong with them.

use http::Method;
use proptest::prelude::*;
use proto::catalog::v1 as catalog;
use proto::stock::v1 as stock;
use proto::tenant::v1 as tenant;
use transcode::{Found, PathFields, Problem};

use crate::CATALOGUE;

const VARIANT: &str = "var_01jd7qz3fve0e8v6fbz2x9n3kq";
const LOCATION: &str = "loc_01jd7qz3fve0e8v6fbz2x9n3kq";
const MOVEMENT: &str = "mov_01jd7qz3fve0e8v6fbz2x9n3kq";
const PRODUCT: &str = "prd_01jd7qz3fve0e8v6fbz2x9n3kq";

fn send(method: Method, uri: &str, body: &str) -> Result<Vec<u8>, Box<Problem>> {
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let Found::Operation(operation, fields) = CATALOGUE.find(&method, path) else { panic!("{uri}") };
    CATALOGUE.request(operation, &fields, query, body.as_bytes()).map(|bytes| bytes.to_vec())
}

fn decoded<M: prost_reflect::prost::Message + Default>(method: Method, uri: &str, body: &str) -> M {
    M::decode(send(method, uri, body).unwrap_or_else(|p| panic!("{p:?}")).as_slice()).unwrap()
}

/// `pointer REASON` of every violation.
fn refused(method: Method, uri: &str, body: &str) -> Vec<String> {
    let problem = send(method, uri, body).expect_err("a bad request");
    assert_eq!((problem.status, problem.code), (400, "INVALID_ARGUMENT"));
    if problem.errors.is_empty() {
        return vec![problem.reason.into_owned()];
    }
    assert_eq!(problem.reason, "INVALID_REQUEST");
    problem.errors.iter().map(|error| format!("{} {}", error.pointer, error.reason)).collect()
}

fn draft(fields: &str) -> String {
    format!(
        r#"{{"kind": "sale.shipment", "variantId": "{VARIANT}", "locationId": "{LOCATION}",
            "source": {{"type": "pos_receipt", "id": "1"}}, {fields}}}"#
    )
}

#[test]
fn a_body_becomes_the_field_that_the_contract_names() {
    let body = r#""quantity": "12.5", "unitCost": {"currency": "EUR", "amount": "1.05"}, "direction": "OUT",
        "occurredAt": "2026-11-23T12:00:00+02:00", "note": "Größe\n", "unit": null"#;
    let request: stock::PostMovementRequest = decoded(Method::POST, "/v1/movements", &draft(body));
    let movement = request.movement.unwrap();
    assert_eq!(movement.variant_id, VARIANT);
    assert_eq!(movement.quantity, "12.5");
    assert_eq!(movement.unit_cost.unwrap().amount, "1.05");
    assert_eq!(movement.direction, stock::Direction::Out as i32);
    assert_eq!(movement.occurred_at.unwrap().seconds, 1_795_428_000);
    assert_eq!(movement.note, "Größe\n");
    assert_eq!(movement.source.unwrap().r#type, "pos_receipt");
    assert_eq!(movement.unit, "");
}

#[test]
fn both_spellings_of_names_and_enums_are_read() {
    let body = draft(
        r#""quantity": "1", "direction": "DIRECTION_IN", "unit_cost": {"currency": "EUR", "amount": "1"}"#,
    );
    let request: stock::PostMovementRequest = decoded(Method::POST, "/v1/movements", &body);
    let movement = request.movement.unwrap();
    assert_eq!(movement.direction, stock::Direction::In as i32);
    assert!(movement.unit_cost.is_some());
}

#[test]
fn path_and_query_fill_the_rest() {
    let uri = format!("/v1/movements/{MOVEMENT}:reverse");
    let request: stock::ReverseMovementRequest = decoded(Method::POST, &uri, r#"{"reasonCode": "typo"}"#);
    assert_eq!((request.movement_id.as_str(), request.reason_code.as_str()), (MOVEMENT, "typo"));

    let uri = format!(
        "/v1/movements?variantId={VARIANT}&kind=sale.shipment&kind=return.customer&sourceId=a%20b+c\
         &occurredFrom=2026-11-23T10:00:00Z&orderBy=OLDEST&pageSize=5"
    );
    let request: stock::ListMovementsRequest = decoded(Method::GET, &uri, "");
    assert_eq!(request.kind, ["sale.shipment", "return.customer"]);
    assert_eq!(request.source_id, "a b c");
    assert_eq!(request.occurred_from.unwrap().seconds, 1_795_428_000);
    assert_eq!(request.order_by, stock::MovementOrder::Oldest as i32);
    assert_eq!(request.page_size, 5);

    // An empty body is an empty object.
    let key = "key_01jd7qz3fve0e8v6fbz2x9n3kq";
    let request: tenant::RevokeApiKeyRequest =
        decoded(Method::POST, &format!("/v1/apiKeys/{key}:revoke"), "");
    assert_eq!(request.api_key_id, key);
}

#[test]
fn a_patch_names_the_fields_that_it_has() {
    let uri = format!("/v1/products/{PRODUCT}");
    let request: catalog::UpdateProductRequest =
        decoded(Method::PATCH, &uri, r#"{"name": "Tea", "description": null}"#);
    assert_eq!(request.update_mask, ["name", "description"]);
    let product = request.product.unwrap();
    assert_eq!((product.name.as_str(), product.description.as_str()), ("Tea", ""));

    let given = format!("{uri}?updateMask=name,baseUnit");
    let request: catalog::UpdateProductRequest = decoded(Method::PATCH, &given, r#"{"name": "Tea"}"#);
    assert_eq!(request.update_mask, ["name", "base_unit"]);
    assert_eq!(refused(Method::PATCH, &format!("{uri}?updateMask=nom"), "{}"), ["/updateMask UNKNOWN_VALUE"]);

    // What the service owns and what is fixed cannot be sent; what is required cannot be cleared.
    let body = r#"{"id": "x", "etag": "1", "name": null}"#;
    assert_eq!(
        refused(Method::PATCH, &uri, body),
        ["/id OUTPUT_ONLY", "/etag OUTPUT_ONLY", "/name REQUIRED"]
    );
    let uri = format!("/v1/locations/{LOCATION}");
    assert_eq!(refused(Method::PATCH, &uri, r#"{"code": "B"}"#), ["/code IMMUTABLE"]);
}

#[test]
fn numbers_maps_and_lists_are_read() {
    let uri = format!("/v1/variants/{VARIANT}:setUnitConversion");
    for numerator in [r#""12""#, "12"] {
        let body = format!(r#"{{"unit": "BX", "numerator": {numerator}}}"#);
        let request: catalog::SetUnitConversionRequest = decoded(Method::POST, &uri, &body);
        assert_eq!(request.conversion.unwrap().numerator, 12);
    }
    let negative: catalog::SetUnitConversionRequest =
        decoded(Method::POST, &uri, r#"{"unit": "BX", "numerator": "-9223372036854775808"}"#);
    assert_eq!(negative.conversion.unwrap().numerator, i64::MIN);

    let body = r#"{"sku": "A-1", "optionValues": {"size": "XL", "a/b": "c"}, "barcodes": [{"value": "1"}, {"value": "2"}]}"#;
    let request: catalog::CreateVariantRequest =
        decoded(Method::POST, &format!("/v1/products/{PRODUCT}/variants"), body);
    let variant = request.variant.unwrap();
    assert_eq!(variant.option_values["size"], "XL");
    assert_eq!(variant.option_values["a/b"], "c");
    assert_eq!(variant.barcodes[1].value, "2");
}

/// What bad input gets: each class of mistakes with its pointer and reason.
#[test]
#[rustfmt::skip] // columns
fn bad_fields_are_named() {
    let check = |fields: &str, expected: &[&str]| {
        assert_eq!(refused(Method::POST, "/v1/movements", &draft(fields)), expected, "{fields}");
    };
    let with = |field: &str| format!(r#""quantity": "1", {field}"#);
    check(r#""colour": 1, "quantity": "1""#,                 &["/colour UNKNOWN_FIELD"]);
    check(r#""quantity": 1.5"#,                              &["/quantity WRONG_TYPE"]);
    check(r#""quantity": 12"#,                               &["/quantity WRONG_TYPE"]);
    check(r#""quantity": ["1"]"#,                            &["/quantity WRONG_TYPE"]);
    check(r#""quantity": "1e3""#,                            &["/quantity NOT_A_DECIMAL"]);
    check(r#""quantity": "1.2345678""#,                      &["/quantity TOO_MANY_PLACES"]);
    check(r#""quantity": """#,                               &["/quantity REQUIRED"]);
    check(r#""quantity": null"#,                             &["/quantity REQUIRED"]);
    check(r#""note": "x""#,                                  &["/quantity REQUIRED"]);
    check(r#""quantity": "1", "quantity": "2""#,             &["/quantity DUPLICATE_KEY"]);
    check(&with(r#""direction": "SIDEWAYS""#),               &["/direction UNKNOWN_VALUE"]);
    check(&with(r#""direction": 1"#),                        &["/direction WRONG_TYPE"]);
    check(&with(r#""toLocationId": "prd_01jd7qz3fve0e8v6fbz2x9n3kq""#), &["/toLocationId WRONG_ID_PREFIX"]);
    check(&with(r#""toLocationId": "7""#),                   &["/toLocationId MALFORMED_ID"]);
    check(&with(r#""unitCost": "1.00 EUR""#),                &["/unitCost WRONG_TYPE"]);
    check(&with(r#""unitCost": {"currency": "eur"}"#),       &["/unitCost/currency MALFORMED", "/unitCost/amount REQUIRED"]);
    check(&with(r#""unitCost": {"currency": "EUR", "amount": 1.5}"#), &["/unitCost/amount WRONG_TYPE"]);
    check(&with(r#""occurredAt": "yesterday""#),             &["/occurredAt MALFORMED"]);
    check(&with(r#""occurredAt": 1764000000"#),              &["/occurredAt WRONG_TYPE"]);
    check(&with(r#""reasonCode": "two words""#),             &["/reasonCode MALFORMED"]);
    check(&with(&format!(r#""note": "{}""#, "ä".repeat(1001))), &["/note TOO_LONG"]);
    check(&with(r#""a/b~c": 1"#),                            &["/a~1b~0c UNKNOWN_FIELD"]);
}

#[test]
fn an_unknown_kind_is_answered_with_the_known_ones() {
    let body = draft(r#""quantity": "1""#).replace("sale.shipment", "sale.gift");
    let problem = send(Method::POST, "/v1/movements", &body).unwrap_err();
    assert_eq!(problem.errors[0].pointer, "/kind");
    assert_eq!(problem.errors[0].reason, "UNKNOWN_VALUE");
    assert!(problem.errors[0].detail.contains("'sale.shipment'"), "{}", problem.errors[0].detail);
}

#[test]
fn a_float_is_answered_with_a_hint() {
    let problem = send(Method::POST, "/v1/movements", &draft(r#""quantity": 1.5"#)).unwrap_err();
    assert!(problem.errors[0].detail.contains("send decimals as strings"));
}

#[test]
fn all_mistakes_come_at_once_and_not_without_end() {
    let body = r#"{"kind": 1, "quantity": 1.5, "size": 2}"#;
    assert_eq!(
        refused(Method::POST, "/v1/movements", body),
        [
            "/kind WRONG_TYPE",
            "/quantity WRONG_TYPE",
            "/size UNKNOWN_FIELD",
            "/variantId REQUIRED",
            "/locationId REQUIRED",
            "/source REQUIRED",
        ]
    );
    let items = vec!["{}"; 1_000].join(",");
    let body = format!(r#"{{"movements": [{items}]}}"#);
    let found = refused(Method::POST, "/v1/movements:batchCreate", &body);
    assert_eq!(found.len(), problem::VIOLATIONS_MAX);
    assert_eq!(found[5], "/movements/1/kind REQUIRED");
}

#[test]
#[rustfmt::skip] // columns
fn other_bad_requests_are_named_too() {
    let check = |method, uri: &str, body: &str, expected: &[&str]| assert_eq!(refused(method, uri, body), expected, "{uri} {body}");
    let batch = "/v1/movements:batchCreate";
    check(Method::POST, batch, &format!(r#"{{"movements": [{}]}}"#, vec!["{}"; 1_001].join(",")), &["/movements TOO_MANY"]);
    check(Method::POST, batch, r#"{"movements": []}"#,               &["/movements REQUIRED"]);
    check(Method::POST, batch, r#"{"movements": {}}"#,               &["/movements WRONG_TYPE"]);
    check(Method::POST, batch, r#"{"movements": [null]}"#,           &["/movements/0 WRONG_TYPE"]);
    check(Method::POST, batch, r#"{}"#,                              &["/movements REQUIRED"]);
    check(Method::POST, batch, r#"[]"#,                              &[" WRONG_TYPE"]);
    check(Method::POST, batch, "{",                                  &["MALFORMED_JSON"]);
    check(Method::POST, batch, &"[".repeat(33),                      &["JSON_TOO_DEEP"]);

    let reverse = format!("/v1/movements/{MOVEMENT}:reverse");
    check(Method::POST, &reverse, r#"{"reasonCode": "a", "movementId": "b"}"#, &["/movementId NOT_ALLOWED"]);
    check(Method::POST, "/v1/movements/prd_01jd7qz3fve0e8v6fbz2x9n3kq:reverse", r#"{"reasonCode": "a"}"#, &["/movementId WRONG_ID_PREFIX"]);
    check(Method::GET,  "/v1/movements/7",                           "", &["/movementId MALFORMED_ID"]);
    check(Method::GET,  "/v1/movements/%FF",                         "", &["/movementId MALFORMED"]);
    check(Method::GET,  "/v1/movements?size=3",                      "", &["/size UNKNOWN_FIELD"]);
    check(Method::GET,  "/v1/movements?pageSize=3&pageSize=4",       "", &["/pageSize DUPLICATE_KEY"]);
    check(Method::GET,  "/v1/movements?pageSize=many",               "", &["/pageSize WRONG_TYPE"]);
    check(Method::GET,  "/v1/movements?pageSize=-1",                 "", &["/pageSize OUT_OF_RANGE"]);
    check(Method::GET,  "/v1/movements?pageSize=4294967296",         "", &["/pageSize OUT_OF_RANGE"]);
    check(Method::GET,  "/v1/movements?pageSize=1.0",                "", &["/pageSize WRONG_TYPE"]);
    check(Method::GET,  &format!("/v1/movements?{}", "kind=a&".repeat(21)), "", &["/kind TOO_MANY"]);
    check(Method::GET,  "/v1/movements?sourceId=%zz",                "", &["/sourceId MALFORMED"]);
}

#[test]
fn a_body_has_a_largest_size() {
    let body = format!(r#"{{"movements": "{}"}}"#, "x".repeat(transcode::BODY_BYTES_MAX));
    let problem = send(Method::POST, "/v1/movements:batchCreate", &body).unwrap_err();
    assert_eq!((problem.status, problem.reason.as_ref()), (413, "PAYLOAD_TOO_LARGE"));
}

/// What the service owns cannot be set by a client, in any request of the contract.
#[test]
fn every_output_only_field_is_refused() {
    let mut refusals = 0;
    for operation in CATALOGUE.operations() {
        let rule = operation.rule.http.as_ref().unwrap();
        let (service, method) = operation.path.as_str()[1..].split_once('/').unwrap();
        let service = proto::pool().get_service_by_name(service).unwrap();
        let input = service.methods().find(|m| m.name() == method).unwrap().input();
        let Some(body) = input.get_field_by_name(&rule.body) else { continue };
        let Some(message) = body.kind().as_message().cloned() else { continue };
        let extension = proto::pool().get_extension_by_name("cargopilot.api.v1.field").unwrap();
        for field in message.fields() {
            let options = field.options();
            let option = options.get_extension(&extension);
            let is_output = option.as_message().unwrap().get_field_by_name("output_only").unwrap().as_bool();
            if is_output != Some(true) {
                continue;
            }
            let body = format!(r#"{{"{}": null}}"#, field.json_name());
            let problem =
                CATALOGUE.request(operation, &PathFields::default(), None, body.as_bytes()).unwrap_err();
            let expected = format!("/{}", field.json_name());
            let found = problem.errors.iter().any(|e| e.pointer == expected && e.reason == "OUTPUT_ONLY");
            assert!(found, "{} {}", operation.name, field.name());
            refusals += 1;
        }
    }
    assert!(0 < refusals);
}

/// JSON made of the words of the contract, so that it gets past the first look-up.
fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "movements",
        "products",
        "variants",
        "quantity",
        "kind",
        "unitCost",
        "amount",
        "optionValues",
        "atomic",
        "occurredAt",
        "numerator",
        "barcodes",
        "direction",
        "source",
        "id",
        "x",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1.5e300".to_owned()),
        "[ -~äß]{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|entries| {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever comes, the answer is a request of the right type or a problem with a place.
    #[test]
    fn any_request_is_made_or_refused(
        which in any::<prop::sample::Index>(),
        json in json(),
        query in "[a-zA-Z=&%+0-9]{0,30}",
        segment in "[a-z0-9_%~ ]{1,12}",
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let operation = which.get(CATALOGUE.operations());
        let (service, method) = operation.path.as_str()[1..].split_once('/').unwrap();
        let service = proto::pool().get_service_by_name(service).unwrap();
        let input = service.methods().find(|m| m.name() == method).unwrap().input();
        let template = &operation.rule.http.as_ref().unwrap().path;
        let path: Vec<String> = template
            .split('/')
            .map(|part| match part.split_once('}') {
                Some((_, verb)) => format!("{segment}{verb}"),
                None => part.to_owned(),
            })
            .collect();
        let path = path.join("/");
        let Found::Operation(found, fields) = CATALOGUE.find(&operation.method, &path) else {
            panic!("{path}")
        };
        prop_assert_eq!(&found.name, &operation.name);
        for body in [json.as_bytes(), noise.as_slice()] {
            match CATALOGUE.request(operation, &fields, Some(&query), body) {
                Ok(bytes) => {
                    prop_assert!(prost_reflect::DynamicMessage::decode(input.clone(), bytes).is_ok());
                }
                Err(problem) => {
                    prop_assert_eq!(problem.status, 400);
                    prop_assert!(problem.errors.len() <= problem::VIOLATIONS_MAX);
                }
            }
        }
    }
}
