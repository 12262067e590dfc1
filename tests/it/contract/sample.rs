//! A small valid request for any RPC.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use proto::api::v1::Format;
use serde_json::{Map, Value, json};

use super::home::Home;
use super::{Rpc, options};
use crate::door::unique;

/// Makes a request that `home` may send: what is required, and the field at `with`, a reference. Each
/// is made of fresh values, so that all can be sent one after the other.
pub(crate) async fn sample(rpc: &Rpc, home: &Home, with: &str) -> Value {
    let mut request =
        Value::Object(message(&rpc.input, home, Level { patch: false, mask: rpc.is_patch() }).await);
    complete(rpc, home, with, &mut request).await;
    if !with.is_empty() && request.pointer(with).is_none() {
        // An id in a list stands at `…/0`.
        let list = with.strip_suffix("/0").unwrap_or(with);
        let mut fields = rpc.fields().into_iter();
        let field = fields.find(|field| field.pointer == with || field.pointer == list);
        let field = field.expect("a field of the request");
        set(&mut request, with, home.id(&field.options.reference, with).await.into());
    }
    request
}

/// Puts a value where `pointer` says; what it lies in is made.
pub(crate) fn set(request: &mut Value, pointer: &str, value: Value) {
    let mut at = request;
    for part in pointer.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(_) => {
                if !at.is_array() {
                    *at = json!([{}]);
                }
                &mut at[0]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[part]
            }
        };
    }
    *at = value;
}

/// What the descriptors do not say: values that make sense together only.
async fn complete(rpc: &Rpc, home: &Home, with: &str, request: &mut Value) {
    let number = unique();
    match rpc.name.as_str() {
        "PostMovement" | "BatchPostMovements" => {
            let draft = if rpc.name == "PostMovement" { "/movement" } else { "/movements/0" };
            let (kind, source) = match with.rsplit('/').next() {
                Some("toLocationId") => ("transfer.direct", "transfer"),
                Some("returnOf") => ("return.customer", "sales_return"),
                _ => ("sale.shipment", "pos_receipt"),
            };
            set(request, &format!("{draft}/kind"), kind.into());
            set(request, &format!("{draft}/source/type"), source.into());
        }
        "ListMovements" => set(request, "/variantId", home.id("var", "/variantId").await.into()),
        // Either a key or a user.
        "CreateAssignment" if with != "/assignment/userId" => {
            set(request, "/assignment/apiKeyId", home.id("key", "/assignment/apiKeyId").await.into());
        }
        "CreateUser" => set(request, "/user/email", format!("user{number}@example.com").into()),
        "CreateIdentityProvider" => {
            set(request, "/provider/issuer", format!("https://idp{number}.example.com").into());
            set(request, "/provider/clientId", "cargo-pilot".into());
        }
        "UpdateIdentityProvider" => set(request, "/provider/clientId", format!("client-{number}").into()),
        // Only who has a password is locked.
        "LockUser" | "UnlockUser" => set(request, "/userId", home.active_user().await.into()),
        "ReassignUserKeys" => {
            let (leaver, heir) = home.owners().await;
            set(request, "/userId", leaver.clone().into());
            set(request, "/toUserId", heir.into());
            if with == "/apiKeyIds/0" {
                set(request, with, home.key_of_leaver().await.into());
            }
        }
        // Variants have a call of their own.
        "UpdateProduct" => drop(request["product"].as_object_mut().map(|product| product.remove("variants"))),
        "CreateBusiness" => {
            set(request, "/business/country", "DE".into());
            set(request, "/business/costScale", 2.into());
        }
        // The master stays where it is.
        "MoveBusiness" | "SuspendBusiness" | "ReactivateBusiness" | "CloseBusiness" => {
            set(request, "/businessId", home.new_business().await.into());
        }
        "CreateVariant" => set(request, "/variant/optionValues/size", format!("S{number}").into()),
        "SetUnitConversion" => {
            set(request, "/conversion/unit", "BX".into());
            set(request, "/conversion/numerator", (number + 2).to_string().into());
        }
        "CreateRole" | "UpdateRole" => {
            set(request, "/role/permissions", json!(["stock.read", "tenant.read"]))
        }
        // Repeated, they change nothing.
        "ClearProductOverrides" | "SetProductVisibility" | "CloseAccount" | "WithdrawClosure" => {
            set(request, "/reason", format!("reason {number}").into());
        }
        // Each once, and something new.
        "CreatePublication" | "PreviewPublication" => {
            let product = home.id("prd", "/productId").await;
            let change = json!({"productId": product, "product": {"name": format!("name {number}")}});
            set(request, "/publication/changes", json!([change]));
        }
        "AdvancePublication" => set(request, "/stage", json!(2)),
        "SetInheritancePolicy" => set(request, "/policy/reason", format!("reason {number}").into()),
        "ExplainPermission" => set(request, "/permission", "stock.post".into()),
        _ => {}
    }
}

#[derive(Clone, Copy)]
struct Level {
    /// Absent fields stay as they are.
    patch: bool,
    /// The message below is patched.
    mask: bool,
}

fn message<'a>(
    message: &'a MessageDescriptor,
    home: &'a Home,
    level: Level,
) -> BoxFuture<'a, Map<String, Value>> {
    async move {
        let mut made = Map::new();
        for field in message.fields() {
            let options = options(&field);
            if options.required && !options.output_only && !(level.patch && options.immutable) {
                let one = value(&field, home, level).await;
                let all = if field.is_list() { json!([one]) } else { one };
                made.insert(field.json_name().to_owned(), all);
            }
        }
        made
    }
    .boxed()
}

async fn value(field: &FieldDescriptor, home: &Home, level: Level) -> Value {
    let options = options(field);
    let number = unique();
    match field.kind() {
        Kind::String if !options.reference.is_empty() => {
            home.id(&options.reference, &format!("/{}", field.json_name())).await.into()
        }
        Kind::String if !options.values.is_empty() => options.values[0].clone().into(),
        Kind::String => match options.format() {
            Format::Unspecified => format!("text {number}").into(),
            Format::Quantity | Format::Amount | Format::UnitPrice => "1".into(),
            Format::Currency => "EUR".into(),
            Format::Date => "2026-11-23".into(),
            Format::Code => format!("C-{number}").into(),
            Format::Gtin => "4006381333931".into(),
        },
        Kind::Enum(of) => {
            of.values().find(|value| value.number() != 0).map(|value| value.name().into()).unwrap_or_default()
        }
        Kind::Int32 | Kind::Uint32 | Kind::Int64 | Kind::Uint64 => "1".into(),
        Kind::Bool => true.into(),
        Kind::Message(of) if of.package_name() != "google.protobuf" => {
            Value::Object(message(&of, home, Level { patch: level.mask, mask: false }).await)
        }
        other => panic!("{}: contract/sample.rs knows no value for {other:?}", field.full_name()),
    }
}
