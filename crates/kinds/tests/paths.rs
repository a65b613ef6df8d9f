//! Every path of field names that the code of this crate, of the registry and of the API server spells out exists in the schema: a typo
//! is an error. Paths in the files of one kind must be that kind's, others those of any kind or of what subresources
//! exchange.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use skiff_kinds::builtin;
use skiff_machinery::Catalogue;
use skiff_schema::Root;

/// What errors name that is no field: options of requests, the errors themselves, and Kubernetes' own spellings.
const NO_FIELDS: &[&str] = &[
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "patch",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "errors",
    "stream",
    // Options of connections, of which OpenAPI knows no definition.
    "command",
    "container",
    "path",
    // As Kubernetes spells it.
    "status.Phase",
    // Kubernetes names Go's struct of the source, and leaves out where it is.
    "spec.persistentvolumesource",
    "nodeAffinity",
    // Of configuration files.
    "authorizers",
    "kubeConfigFile",
    "staticManifestsDir",
];

/// The calls that take a path of keys.
const CALLS: &[&str] = &[".get(&[", ".str(&[", ".int(&[", ".set(&[", ".remove(&["];

#[test]
fn every_path_that_the_code_names_is_one_of_the_schema() {
    let catalogue = builtin();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in sources() {
        let roots = roots(&catalogue, &file);
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for path in key_paths(code).chain(error_paths(code)) {
            count += 1;
            let known = |root: &Root| root.schema().at(root.ty(), path.iter().map(String::as_str)).is_some();
            let joined = path.join(".");
            if !roots.iter().any(known) && !NO_FIELDS.contains(&&*joined) {
                wrong.push(format!("{}: {joined}", file.display()));
            }
        }
    }
    assert!(count > 250, "only {count} paths were found: has the code another form?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn selectable_fields_are_of_their_kind() {
    for kind in builtin().iter() {
        for field in kind.selectable.iter() {
            let found = kind.root.schema().at(kind.root.ty(), field.label.split('.'));
            // Kubernetes calls the count of a job's pods otherwise there.
            let is_known = found.is_some() || field.label == "status.successful";
            assert!(is_known, "{kind:?} has no {}", field.label);
        }
    }
}

/// The code of these crates, without files of tests.
fn sources() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open = vec![
        crates.join("machinery/src"),
        crates.join("kinds/src"),
        crates.join("registry/src"),
        crates.join("apiserver/src"),
    ];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("tests.rs") && !path.ends_with("testing.rs") {
                files.push(path);
            }
        }
    }
    files
}

/// Whose fields a file may name.
fn roots(catalogue: &Catalogue, file: &Path) -> Vec<Root> {
    let parts: Vec<String> = file.iter().map(|part| part.to_string_lossy().replace(".rs", "")).collect();
    let row = parts.iter().position(|part| part == "rows").and_then(|at| parts.get(at + 1));
    let own = |root: &Root| {
        row.is_some_and(|row| row.replace('_', "") == root.definition().short_name().to_lowercase())
    };
    let kinds: Vec<Root> = catalogue.iter().map(|kind| kind.root.clone()).collect();
    match kinds.iter().filter(|root| own(root)).cloned().collect::<Vec<_>>() {
        none if none.is_empty() => {
            let below = catalogue
                .iter()
                .flat_map(|kind| kind.subresources.iter().filter_map(|s| kind.exchange(*s).root));
            let options = kinds[0].sibling("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
            below.chain(options).chain(kinds.iter().cloned()).collect()
        }
        own => own,
    }
}

/// The string literals with which an array of keys begins.
fn key_paths(code: &str) -> impl Iterator<Item = Vec<String>> {
    let starts =
        CALLS.iter().flat_map(|call| code.match_indices(call).map(|(at, call)| &code[at + call.len()..]));
    starts.map(literals).filter(|path| !path.is_empty())
}

fn literals(mut rest: &str) -> Vec<String> {
    let mut out = Vec::new();
    while let Some((text, after)) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'))
    {
        out.push(text.to_owned());
        rest = after.trim_start().strip_prefix(',').unwrap_or_default();
    }
    out
}

/// The paths that errors name, without the places of items.
fn error_paths(code: &str) -> impl Iterator<Item = Vec<String>> {
    let calls = code.match_indices("FieldError::").map(|(at, _)| &code[at..]);
    let argument = |call| <str>::split_once(call, '(').map(|(_, rest): (_, &str)| rest.trim_start());
    let literal = |rest: &str| Some(rest.strip_prefix('"')?.split('"').next()?.to_owned());
    calls.filter_map(argument).filter_map(literal).filter(|path| !path.is_empty() && path != "[]").map(
        |path| path.split('.').map(|name| name.split('[').next().unwrap_or_default().to_owned()).collect(),
    )
}

/// What is special about a kind, its strategy says: neither the machinery nor the pipeline spells the name of one.
#[test]
fn the_pipeline_names_no_kind() {
    // An address that an object holds is kept as an IPAddress (KEP-1880), written with the object.
    // What is sent to a subresource may be a kind that can be sent elsewhere, too.
    const EXCEPT: &[(&str, &str)] = &[("allocate.rs", "IPAddress"), ("exchange.rs", "Binding")];
    let catalogue = builtin();
    let names: Vec<&str> =
        catalogue.iter().flat_map(|kind| [&*kind.names.kind, &*kind.names.plural]).collect();
    let is_ours = |file: &Path| {
        let text = file.to_string_lossy();
        let is_code = file.extension().is_some_and(|extension| extension == "rs");
        is_code && (text.contains("machinery/src") || text.contains("registry/src/pipeline"))
    };
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| is_ours(file)) {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for literal in lines.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_excepted = EXCEPT.iter().any(|(name, kind)| file.ends_with(name) && literal == *kind);
            if names.contains(&literal) && !is_excepted {
                found.push(format!("{}: {literal}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
