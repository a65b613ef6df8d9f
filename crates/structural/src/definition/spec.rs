//! `spec`.

use serde_json::{Value, json};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::{columns, conversion, names, selectable, shown, subresources, version};
use crate::meta::ObjectMeta;
use crate::model::Structural;
use crate::path::Path;

/// A specification, with what all versions have in common moved out of them.
pub(super) struct Spec<'v> {
    value: &'v Value,
    pub(super) versions: Vec<Version<'v>>,
    /// The schema of every version.
    pub(super) schema: Option<&'v Value>,
    subresources: Option<&'v Value>,
    columns: &'v [Value],
    selectable: &'v [Value],
}

/// What a version has for itself.
pub(super) struct Version<'v> {
    pub(super) value: &'v Value,
    pub(super) name: &'v str,
    pub(super) storage: bool,
    /// `schema.openAPIV3Schema`
    pub(super) schema: Option<&'v Value>,
    pub(super) subresources: Option<&'v Value>,
    pub(super) columns: &'v [Value],
    pub(super) selectable: &'v [Value],
}

/// What the checks need besides the specification.
pub(super) struct Context<'c> {
    pub(super) meta: &'c ObjectMeta,
    pub(super) may_have_bad_bundle: bool,
}

pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn given<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|value| !value.is_null())
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn list_is_absent(value: &Value, name: &str) -> bool {
    value.get(name).is_none_or(Value::is_null)
}

impl<'v> Version<'v> {
    /// The schema that stands in the version, also where all have the same.
    pub(super) fn own_schema(&self) -> Option<&'v Value> {
        given(self.value, "schema").and_then(|schema| given(schema, "openAPIV3Schema"))
    }
}

impl<'v> Spec<'v> {
    pub(super) fn of(value: &'v Value) -> Self {
        let read = |value: &'v Value| Version {
            value,
            name: text(value, "name"),
            storage: value["storage"] == true,
            schema: given(value, "schema").and_then(|schema| given(schema, "openAPIV3Schema")),
            subresources: given(value, "subresources"),
            columns: list(value, "additionalPrinterColumns"),
            selectable: list(value, "selectableFields"),
        };
        let mut versions: Vec<Version<'v>> = list(value, "versions").iter().map(read).collect();
        let mut spec = Self {
            value,
            versions: Vec::new(),
            schema: None,
            subresources: None,
            columns: &[],
            selectable: &[],
        };
        if let [first, rest @ ..] = versions.as_mut_slice() {
            if rest.iter().all(|version| version.schema == first.schema) {
                spec.schema = first.schema.take();
                rest.iter_mut().for_each(|version| version.schema = None);
            }
            if rest.iter().all(|version| version.subresources == first.subresources) {
                spec.subresources = first.subresources.take();
                rest.iter_mut().for_each(|version| version.subresources = None);
            }
            if rest.iter().all(|version| version.columns == first.columns) {
                spec.columns = std::mem::take(&mut first.columns);
                rest.iter_mut().for_each(|version| version.columns = &[]);
            }
            if rest.iter().all(|version| version.selectable == first.selectable) {
                spec.selectable = std::mem::take(&mut first.selectable);
                rest.iter_mut().for_each(|version| version.selectable = &[]);
            }
        }
        spec.versions = versions;
        spec
    }

    /// The subresources that a version has in the end.
    fn subresources_of(&self, version: &Version<'v>) -> Option<&'v Value> {
        let own = self.versions.iter().any(|version| version.subresources.is_some());
        if own { version.subresources } else { self.subresources }
    }

    fn has_defaults(&self) -> bool {
        let schemas =
            self.schema.into_iter().chain(self.versions.iter().filter_map(|version| version.schema));
        schemas.filter_map(|schema| Structural::parse(schema).ok()).any(|schema| has_defaults(&schema))
    }

    /// The versions as messages show them: with the fields of the server's own type, in their order there.
    fn shown(&self) -> String {
        let show = |version: &Version<'_>| {
            let text = |value: Value| value.to_string();
            shown::object([
                ("Name", text(json!(version.name))),
                ("Served", text(json!(version.value["served"] == true))),
                ("Storage", text(json!(version.storage))),
                ("Deprecated", text(json!(version.value["deprecated"] == true))),
                ("DeprecationWarning", text(json!(version.value.get("deprecationWarning")))),
                ("Schema", shown::validation(version.schema)),
                ("Subresources", shown::subresources(version.subresources)),
                ("AdditionalPrinterColumns", shown::columns(version.columns)),
                ("SelectableFields", shown::selectable(version.selectable)),
            ])
        };
        if list_is_absent(self.value, "versions") {
            return "null".to_owned();
        }
        format!("[{}]", self.versions.iter().map(show).collect::<Vec<_>>().join(","))
    }
}

fn has_defaults(schema: &Structural) -> bool {
    schema.default.is_some() || schema.children().any(has_defaults)
}

fn has_status(subresources: Option<&Value>) -> bool {
    subresources.is_some_and(|subresources| given(subresources, "status").is_some())
}

pub(super) fn check(
    spec: &Spec<'_>,
    old: Option<&Spec<'_>>,
    context: &Context<'_>,
    errors: &mut FieldErrors,
) {
    let path = Path::Root("spec");
    check_group(text(spec.value, "group"), errors);
    errors.extend(one_of(&path.child("scope"), text(spec.value, "scope"), &["Cluster", "Namespaced"]));
    let versions = path.child("versions");
    if spec.schema.is_none() {
        for (index, _) in spec.versions.iter().enumerate().filter(|(_, version)| version.schema.is_none()) {
            let path = versions.index(index);
            errors.push(FieldError::required(path.child("schema").child("openAPIV3Schema"), ""));
        }
    }
    let preserves = spec.value["preserveUnknownFields"] == true;
    if preserves && spec.has_defaults() {
        let detail = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid(path.child("preserveUnknownFields"), true, detail));
    }
    check_each_version(spec, old, context, &versions, errors);
    check_versions(spec, errors);
    check_names(&spec.value["names"], errors);
    check_common(spec, old, context, &path, errors);
    let conversion = &spec.value["conversion"];
    if preserves && !conversion.is_null() && text(conversion, "strategy") != "None" {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(FieldError::invalid("spec.conversion.strategy", text(conversion, "strategy"), detail));
    }
    errors.extend(conversion::check(conversion, context.may_have_bad_bundle));
}

fn check_each_version(
    spec: &Spec<'_>,
    old: Option<&Spec<'_>>,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    for (index, version) in spec.versions.iter().enumerate() {
        let path = path.index(index);
        let problems = Form::Rfc1035Label.problems(version.name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(path.child("name"), version.name, problems.join(",")));
        }
        let old = old.and_then(|old| old.versions.iter().find(|old| old.name == version.name));
        let has_status = has_status(spec.subresources_of(version));
        version::check(version, old, has_status, context, &path, errors);
    }
}

/// Checks what all versions have in common.
fn check_common(
    spec: &Spec<'_>,
    old: Option<&Spec<'_>>,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let has_any_status =
        has_status(spec.subresources) || spec.versions.iter().any(|version| has_status(version.subresources));
    let first = spec.versions.first().map(|version| version.name);
    let before = old.and_then(|old| old.versions.iter().find(|old| Some(old.name) == first)?.own_schema());
    let schemas = (spec.schema, before);
    version::check_schema(schemas, has_any_status, context, &path.child("validation"), errors);
    errors.extend(subresources::check(spec.subresources, &path.child("subresources")));
    for (index, column) in spec.columns.iter().enumerate() {
        errors.extend(columns::check(column, &path.child("additionalPrinterColumns").index(index)));
    }
    if spec.selectable.is_empty() {
        return;
    }
    let path = path.child("selectableFields");
    match spec.schema {
        None => {
            let detail = "may only be set when validations.schema is included";
            errors.push(FieldError::invalid(path, "", detail));
        }
        Some(schema) => {
            let old = old.map(|old| old.selectable).unwrap_or_default();
            errors.extend(selectable::check(spec.selectable, old, schema, &path));
        }
    }
}

fn check_group(group: &str, errors: &mut FieldErrors) {
    let problems = Form::Subdomain.problems(group);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !problems.is_empty() {
        errors.push(FieldError::invalid("spec.group", group, problems.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid("spec.group", group, "should be a domain with at least one dot"));
    }
}

fn check_versions(spec: &Spec<'_>, errors: &mut FieldErrors) {
    let mut refuse = |detail: &str| {
        errors.push(FieldError::invalid("spec.versions", Value::Null, detail).showing(spec.shown()))
    };
    let names: Vec<&str> = spec.versions.iter().map(|version| version.name).collect();
    if (1..names.len()).any(|at| names[..at].contains(&names[at])) {
        refuse("must contain unique version names");
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        refuse("must have exactly one version marked as storage version");
    }
    if let Some(version) = spec.versions.first() {
        let problems = Form::Rfc1035Label.problems(version.name);
        if !version.name.is_empty() && !problems.is_empty() {
            errors.push(FieldError::invalid("spec.version", version.name, problems.join(",")));
        }
    }
}

fn check_names(value: &Value, errors: &mut FieldErrors) {
    let path = Path::Root("spec.names");
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(value, name).is_empty() {
            errors.push(FieldError::required(path.child(name), ""));
        }
    }
    errors.extend(names::check(value, &path));
}

/// Checks a text that must be one of these.
pub(super) fn one_of(path: &Path<'_>, value: &str, accepted: &[&str]) -> Option<FieldError> {
    if value.is_empty() {
        return Some(FieldError::required(path, ""));
    }
    (!accepted.contains(&value)).then(|| FieldError::not_supported(path, value, accepted))
}
