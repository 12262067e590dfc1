//! Compiles the `.proto` files without protoc and refuses an RPC that does not say who may call it.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[allow(dead_code, unreachable_pub)]
#[path = "src/rules.rs"]
mod rules;

/// Every file of the contract; what they import comes along.
const FILES: [&str; 13] = [
    "cargopilot/api/v1/common.proto",
    "cargopilot/api/v1/options.proto",
    "cargopilot/audit/v1/audit.proto",
    "cargopilot/catalog/v1/catalog.proto",
    "cargopilot/catalog/v1/inheritance.proto",
    "cargopilot/catalog/v1/publication.proto",
    "cargopilot/journal/v1/journal.proto",
    "cargopilot/stock/v1/stock.proto",
    "cargopilot/tenant/v1/access.proto",
    "cargopilot/tenant/v1/account.proto",
    "cargopilot/tenant/v1/identity.proto",
    "cargopilot/tenant/v1/operator.proto",
    "cargopilot/tenant/v1/tenant.proto",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for folder in ["cargopilot", "google"] {
        println!("cargo::rerun-if-changed={folder}");
    }

    let mut compiler = protox::Compiler::new([Path::new(".")]).expect("this folder holds the contract");
    compiler.include_imports(true).include_source_info(true);
    // `{:?}` of a protox error shows file, line and the offending text.
    if let Err(error) = compiler.open_files(FILES) {
        panic!("{error:?}");
    }

    if let Err(refused) = rules::read(&compiler.descriptor_pool()) {
        let lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
        panic!("refused RPCs:\n  {}", lines.join("\n  "));
    }

    // The bytes that protox encodes keep our options; a set of prost-types has no room for them.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())
        .expect("OUT_DIR is writable");

    let mut set = compiler.file_descriptor_set();
    // Routes are read by reflection; their Rust types would only be noise.
    set.file.retain(|file| file.package() != "google.api");
    tonic_prost_build::configure()
        .out_dir(&out)
        // Ordered, so that equal messages have equal encodings: requests are compared by their hash.
        .btree_map(".")
        .compile_fds(set)
        .expect("the descriptors were compiled above");
}
