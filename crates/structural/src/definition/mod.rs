//! CustomResourceDefinitions themselves: their defaults and what they may say.
//!
//! Objects are JSON of `apiextensions.k8s.io/v1`. Messages name fields as the API server does, which first moves what all
//! versions have in common out of them: `spec.validation.openAPIV3Schema` is the schema of every version.
//!
//! Source: the CustomResourceDefinition API reference. Metadata is checked where that of all kinds is.

mod approval;
mod columns;
mod conversion;
mod names;
mod selectable;
mod shown;
mod spec;
mod subresources;
mod version;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_machinery::{FieldError, FieldErrors};
use skiff_ordered::Ordered as _;

use crate::formats;
use crate::meta::ObjectMeta;
use crate::model::{Structural, Type};
use crate::path::Path;
use spec::{Spec, Version, text};

/// Selectable fields of a version.
pub const MOST_SELECTABLE_FIELDS: usize = 8;

/// Writes defaults: `singular`, `listKind`, the conversion strategy and port, and the stored version.
pub fn default(crd: &mut Value) {
    let kind = text(&crd["spec"]["names"], "kind").to_owned();
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let mut fill = |name: &str, value: String| {
            if names.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() && !value.is_empty() {
                names.insert(name.to_owned(), value.into());
            }
        };
        fill("singular", kind.to_lowercase());
        fill("listKind", if kind.is_empty() { String::new() } else { format!("{kind}List") });
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    }
    let service =
        crd.pointer_mut("/spec/conversion/webhook/clientConfig/service").and_then(Value::as_object_mut);
    if let Some(service) = service {
        service.entry("port").or_insert_with(|| 443.into());
    }
    if crd["status"]["storedVersions"].as_array().is_none_or(Vec::is_empty) {
        note_stored_version(crd);
    }
}

/// Adds the storage version to `status.storedVersions`, as every write of a definition does.
pub fn note_stored_version(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array();
    let storage = versions.into_iter().flatten().find(|version| version["storage"] == true);
    let Some(name) = storage.and_then(|version| version["name"].as_str()).map(str::to_owned) else { return };
    let Some(fields) = crd.as_object_mut() else { return };
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(stored) = stored.as_array_mut().filter(|stored| !stored.contains(&name.as_str().into())) {
        stored.push(name.into());
    }
}

/// What keeps a deleted definition until the objects of its kind are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Writes into a definition that it is being deleted: a finalizer and the condition `Terminating`. Once.
pub fn mark_deletion(crd: &mut Value, now: &str) {
    let has = |list: &Value, is_it: &dyn Fn(&Value) -> bool| {
        list.as_array().is_some_and(|list| list.iter().any(is_it))
    };
    if has(&crd["status"]["conditions"], &|one| one["type"] == "Terminating") {
        return;
    }
    let add = |list: &mut Value, item: Value| match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    };
    if !has(&crd["metadata"]["finalizers"], &|name| name == CLEANUP) {
        add(&mut crd["metadata"]["finalizers"], CLEANUP.into());
    }
    add(
        &mut crd["status"]["conditions"],
        json!({
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": now,
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        }),
    );
}

/// Checks a new definition.
pub fn validate(crd: &Value, meta: &ObjectMeta) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let wanted = format!("{}.{}", text(&crd["spec"]["names"], "plural"), text(&crd["spec"], "group"));
    for (path, field) in [("metadata.generateName", "generateName"), ("metadata.name", "name")] {
        let name = text(&crd["metadata"], field);
        if !name.is_empty() && name != wanted {
            errors.push(FieldError::invalid(path, name, r#"must be spec.names.plural+"."+spec.group"#));
        }
    }
    check(crd, None, meta, &mut errors);
    errors
}

/// Checks a definition that replaces another.
pub fn validate_update(new: &Value, old: &Value, meta: &ObjectMeta) -> FieldErrors {
    let mut errors = FieldErrors::new();
    check(new, Some(old), meta, &mut errors);
    errors
}

/// Checks a change of the status.
pub fn validate_status(crd: &Value) -> FieldErrors {
    names::check(&crd["status"]["acceptedNames"], &Path::Root("status.acceptedNames"))
}

fn check(crd: &Value, old: Option<&Value>, meta: &ObjectMeta, errors: &mut FieldErrors) {
    let spec = Spec::of(&crd["spec"]);
    let context = spec::Context { meta, may_have_bad_bundle: old.is_none_or(may_have_bad_bundle) };
    spec::check(&spec, old.map(|old| Spec::of(&old["spec"])).as_ref(), &context, errors);
    if let Some(old) = old {
        check_immutable(&crd["spec"], &old["spec"], is_established(old), errors);
    }
    errors.extend(validate_status(crd));
    check_stored(crd, &spec, errors);
    errors.extend(approval::check(crd, old));
    let preserves = |crd: &Value| crd["spec"]["preserveUnknownFields"] == true;
    if preserves(crd) && !old.is_some_and(preserves) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", true, detail));
    }
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Established" && one["status"] == "True")
}

/// Whether certificates of a conversion webhook are let pass unread: those of a definition that is not served yet, or
/// that were bad before.
fn may_have_bad_bundle(old: &Value) -> bool {
    !is_established(old) || conversion::has_bad_bundle(&old["spec"]["conversion"])
}

fn check_immutable(new: &Value, old: &Value, is_established: bool, errors: &mut FieldErrors) {
    for (pointer, field, is_checked) in [
        ("/scope", "spec.scope", is_established),
        ("/names/kind", "spec.names.kind", is_established),
        ("/group", "spec.group", true),
        ("/names/plural", "spec.names.plural", true),
    ] {
        let value =
            |spec: &Value| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if is_checked && value(new) != value(old) {
            errors.push(FieldError::invalid(field, value(new), "field is immutable"));
        }
    }
}

fn check_stored(crd: &Value, spec: &Spec<'_>, errors: &mut FieldErrors) {
    let path = Path::Root("status.storedVersions");
    let stored = &crd["status"]["storedVersions"];
    let names: Vec<&str> = stored.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        errors.push(FieldError::invalid(path, Value::Null, "must have at least one stored version"));
        return;
    }
    // Each is found once.
    let repeated = |at: usize| spec.versions[..at].iter().any(|before| before.name == spec.versions[at].name);
    let missing = |(at, version): &(usize, &Version<'_>)| {
        version.storage && (repeated(*at) || !names.contains(&version.name))
    };
    for (_, version) in spec.versions.iter().enumerate().filter(missing) {
        let detail = format!("must have the storage version {}", version.name);
        errors.push(FieldError::invalid(path, stored.clone(), detail));
    }
    for (index, name) in names.iter().enumerate() {
        let is_repeated = names[index + 1..].contains(name);
        if is_repeated || spec.versions.iter().any(|version| version.name == *name) {
            continue;
        }
        let detail = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.push(FieldError::invalid(path.index(index), *name, detail));
    }
}

/// What a writer is warned of: formats that mean nothing, those of the definition before left out.
pub fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known: BTreeSet<String> = old.map(formats_without_meaning).unwrap_or_default().into_iter().to_set();
    let new = formats_without_meaning(new).into_iter().filter(|format| !known.contains(format));
    new.map(|format| format!("unrecognized format {format:?}")).collect()
}

fn formats_without_meaning(crd: &Value) -> Vec<String> {
    let spec = Spec::of(&crd["spec"]);
    let schemas = spec.schema.into_iter().chain(spec.versions.iter().filter_map(|version| version.schema));
    let mut out = Vec::new();
    for schema in schemas.filter_map(|schema| Structural::parse(schema).ok()) {
        visit_formats(&schema, &mut out);
    }
    out
}

fn visit_formats(schema: &Structural, out: &mut Vec<String>) {
    let format = &schema.checks().format;
    let ty = if schema.int_or_string { &Type::Any } else { &schema.ty };
    if !format.is_empty() && !formats::is_for(ty, format) {
        out.push(format.clone());
    }
    schema.children().for_each(|schema| visit_formats(schema, out));
}
