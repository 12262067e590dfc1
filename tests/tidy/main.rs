//! House rules as tests: they read the repository, not the product.
//!
//! In reading order: `tree` (files and packages), `lexer` (what of a Rust file is code, text, comment), then
//! one file per group of rules: `edges` (who may depend on whom), `purity` (clocks, environment, floats),
//! `layout` (sizes, READMEs, links, versions), `reasons` (error pages), `rows` (ids of product rows).
//!
//! Each rule lists everything that breaks it, as `file:line: what`.

mod edges;
mod layout;
mod lexer;
mod purity;
mod reasons;
mod rows;
mod tree;

/// Fails with all of `broken`, one per line.
fn hold(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}\n", broken.join("\n"));
}
