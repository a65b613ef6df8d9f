//! Takes the descriptions out of the source of `k8s-openapi` and compresses them.
//!
//! That crate has them for its feature `schemars`, which would put them into the program as code. Its source is
//! generated, one construct a line: a definition's name is the text before `.into()` in `schema_name`, a property's
//! name a key one level into `"properties"`, a description a text after `"description"`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

/// The folder of the Kubernetes version whose feature the workspace enables.
const VERSION: &str = "v1_36";

/// There are 3,417 in that version; far fewer mean that the source is laid out in another way.
const AT_LEAST: usize = 3000;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Another version of the package is in another folder.
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let package = package();
    println!("cargo::rerun-if-changed={}", package.display());
    let mut files = Vec::new();
    rust_files(&package.join("src").join(VERSION), &mut files);
    files.sort();
    let mut text = String::new();
    for file in &files {
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        descriptions(&source, &mut text);
    }
    let count = text.matches('\u{2}').count();
    assert!(count >= AT_LEAST, "only {count} descriptions in {}", package.display());
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("memory can be written to");
    let bytes = encoder.finish().expect("memory can be written to");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("descriptions");
    fs::write(&out, bytes).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// The folder of the package `k8s-openapi`, without the network if all packages are there.
fn package() -> PathBuf {
    let metadata =
        metadata(&["--offline"]).or_else(|_| metadata(&[])).unwrap_or_else(|error| panic!("{error}"));
    let metadata: Value = serde_json::from_slice(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest =
        packages.filter(|package| package["name"] == "k8s-openapi").find_map(|p| p["manifest_path"].as_str());
    let manifest = Path::new(manifest.expect("k8s-openapi is a dependency of this crate"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

fn metadata(options: &[&str]) -> Result<Vec<u8>, String> {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = Command::new(variable("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &variable("TARGET")])
        .args(options)
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Appends `DEFINITION FIELD 1 TEXT 2` for each description, with the control characters 1 and 2.
fn descriptions(source: &str, out: &mut String) {
    let (mut definition, mut field) = (None, "");
    for line in source.lines() {
        let (code, depth) = (line.trim_start(), line.len() - line.trim_start().len());
        if let Some(name) = code.strip_prefix('"').and_then(|rest| rest.strip_suffix("\".into()")) {
            (definition, field) = (Some(name), "");
            continue;
        }
        let Some(definition) = definition else { continue };
        // Properties may be called so, too.
        let literal = if let Some(rest) = code.strip_prefix("\"description\": \"") {
            format!("\"{}", rest.trim_end_matches(','))
        } else if let Some((_, rest)) = code.split_once(".insert(\"description\".into(), ") {
            rest.trim_end_matches(".into());").to_owned()
        } else {
            let key = code.strip_prefix('"').and_then(|rest| rest.split_once("\": "));
            if let (Some((name, "{" | "({")), 16) = (key, depth) {
                field = name;
            }
            continue;
        };
        // A Rust literal with the escapes that JSON has too.
        let text: String =
            serde_json::from_str(&literal).unwrap_or_else(|error| panic!("{literal}: {error}"));
        out.push_str(&format!("{definition} {field}\u{1}{text}\u{2}"));
    }
}
