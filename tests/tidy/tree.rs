//! The files of the repository and the packages of the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 4] = ["target", "data", "node_modules", "__pycache__"];

/// A file of the repository.
pub(crate) struct SourceFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files whose name ends in one of `endings`, in the order of their paths.
pub(crate) fn files(endings: &[&str]) -> Vec<SourceFile> {
    let mut found = Vec::new();
    walk(&root(), "", endings, &mut found);
    found.sort_by(|a: &SourceFile, b| a.path.cmp(&b.path));
    found
}

/// All Rust files below one of `folders`.
pub(crate) fn rust_below(folders: &[&str]) -> Vec<SourceFile> {
    let below = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
    let found: Vec<_> = files(&[".rs"]).into_iter().filter(|file| below(&file.path)).collect();
    assert!(!found.is_empty(), "no Rust files in {folders:?}");
    found
}

fn walk(folder: &Path, prefix: &str, endings: &[&str], found: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let hidden = name.starts_with('.') || SKIPPED.contains(&name.as_str());
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("the kind of a file");
        if kind.is_dir() && !hidden {
            walk(&entry.path(), &format!("{path}/"), endings, found);
        } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            // A file that went away in the meantime was an editor's.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                found.push(SourceFile { path, text });
            }
        }
    }
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// Folder from the root, with `/`.
    pub(crate) folder: String,
    /// Names of what it is built with: normal and build dependencies.
    pub(crate) uses: Vec<String>,
    /// Names of what only its tests use.
    pub(crate) tests_use: Vec<String>,
}

/// The packages of the workspace by name, as cargo reads their manifests.
pub(crate) fn packages() -> BTreeMap<String, Package> {
    let root = root().canonicalize().expect("the root of the repository");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let metadata = cargo
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&root)
        .output()
        .expect("cargo, which runs this test");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON from cargo");

    let package = |package: &serde_json::Value| {
        let names = |wanted: fn(Option<&str>) -> bool| {
            let all = package["dependencies"].as_array().expect("a list of dependencies").iter();
            let kept = all.filter(|dependency| wanted(dependency["kind"].as_str()));
            kept.map(|dependency| text(&dependency["name"]).to_owned()).collect()
        };
        let folder = Path::new(text(&package["manifest_path"])).parent().expect("a folder");
        let folder = folder.strip_prefix(&root).expect("a package of this repository");
        Package {
            folder: folder.to_str().expect("a path in UTF-8").to_owned(),
            uses: names(|kind| kind != Some("dev")),
            tests_use: names(|kind| kind == Some("dev")),
        }
    };
    let all = metadata["packages"].as_array().expect("a list of packages").iter();
    all.map(|found| (text(&found["name"]).to_owned(), package(found))).collect()
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("a text")
}
