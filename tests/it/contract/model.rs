//! An RPC and its fields.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _};
use proto::MethodRule;
use proto::api::v1::Field as Options;

/// An RPC.
#[derive(Clone)]
pub(crate) struct Rpc {
    /// `/cargopilot.stock.v1.StockService/PostMovement`.
    pub(crate) path: String,
    /// `PostMovement`.
    pub(crate) name: String,
    pub(crate) rule: &'static MethodRule,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
}

/// A field of a request, at any depth.
pub(crate) struct Field {
    /// Where it is in the whole request: `/movements/0/variantId`.
    pub(crate) pointer: String,
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) options: Options,
}

/// All RPCs, public and internal, in the order of their paths.
pub(crate) fn all() -> Vec<Rpc> {
    let methods = proto::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let mut all: Vec<Rpc> = methods
        .map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let rule = &proto::rules()[&path];
            let (input, output) = (method.input(), method.output());
            Rpc { path, name: method.name().to_owned(), rule, input, output }
        })
        .collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// The RPC with this name.
pub(crate) fn rpc(name: &str) -> Rpc {
    all().into_iter().find(|rpc| rpc.name == name).unwrap_or_else(|| panic!("no RPC is called '{name}'"))
}

/// The RPCs with a route. The last one leaves its tenant for reading only.
pub(crate) fn routed() -> Vec<Rpc> {
    let mut rpcs: Vec<Rpc> = all().into_iter().filter(|rpc| rpc.rule.http.is_some()).collect();
    rpcs.sort_by_key(|rpc| !rpc.leaves_open());
    rpcs
}

/// The RPCs with a route that keys use. What needs no credential (`public.*`), and what users do with their own
/// password, codes and sessions (`self.*`), has stories of its own.
pub(crate) fn public() -> Vec<Rpc> {
    let of_people =
        |rpc: &Rpc| ["public.", "self."].iter().any(|prefix| rpc.rule.permission.starts_with(prefix));
    routed().into_iter().filter(|rpc| !of_people(rpc)).collect()
}

impl Rpc {
    /// Whether the tenant may be changed after it.
    pub(crate) fn leaves_open(&self) -> bool {
        self.name != "CloseAccount"
    }

    /// All fields that a request can have, those of messages in it too.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = vec![];
        walk(&self.input, "", &mut fields);
        fields
    }

    /// True if a caller may send the field.
    pub(crate) fn accepts(&self, field: &Field) -> bool {
        let in_body = field.pointer.matches('/').count() == 2;
        let fixed = self.is_patch() && in_body && field.options.immutable;
        !field.options.output_only && !fixed
    }

    /// The JSON name of the field that the body becomes; `*` for all, empty for no body.
    pub(crate) fn body(&self) -> String {
        let body = &self.rule.http.as_ref().expect("a route").body;
        match self.input.get_field_by_name(body) {
            Some(field) => field.json_name().to_owned(),
            None => body.clone(),
        }
    }

    /// True if absent fields of the body stay as they are.
    pub(crate) fn is_patch(&self) -> bool {
        self.input.get_field_by_name("update_mask").is_some()
    }
}

fn walk(message: &MessageDescriptor, prefix: &str, found: &mut Vec<Field>) {
    for descriptor in message.fields() {
        let options = options(&descriptor);
        let pointer = format!("{prefix}/{}", descriptor.json_name());
        let output_only = options.output_only;
        if let (Kind::Message(inner), false, false) = (descriptor.kind(), descriptor.is_map(), output_only)
            && inner.package_name() != "google.protobuf"
        {
            walk(&inner, &if descriptor.is_list() { format!("{pointer}/0") } else { pointer.clone() }, found);
        }
        found.push(Field { pointer, descriptor, options });
    }
}

/// What the contract says about a field.
pub(crate) fn options(field: &FieldDescriptor) -> Options {
    let options = field.options();
    let pool = options.descriptor().parent_pool().clone();
    let extension = pool.get_extension_by_name("cargopilot.api.v1.field").expect("our option");
    let value = options.get_extension(&extension);
    value.as_message().and_then(|message| message.transcode_to().ok()).unwrap_or_default()
}
