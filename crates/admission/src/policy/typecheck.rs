//! Checks of a policy's expressions against the types of what it is about, for `status.typeChecking`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_cel::{DeclaredType, Field, ListKind};
use skiff_machinery::Object;
use skiff_schema::{DefinitionId, Root, Schema, Type};

use super::checks::part;
use super::hooks::compile_variables;
use super::validate::spec_of;
use crate::attributes::{GroupVersionKind, GroupVersionResource};
use crate::expressions::{Environments, Issue, Known, Returns, Scope};
use crate::surroundings::{Kinds, items, text, texts};

/// So many kinds are looked at.
const KINDS: usize = 10;

/// `status.typeChecking.expressionWarnings` of a ValidatingAdmissionPolicy: what would go wrong with objects of the kinds that its rules
/// name. Kinds that are not known are left out; wildcards name none.
pub fn check_types(policy: &Object, kinds: &dyn Kinds) -> Vec<Value> {
    let spec = &spec_of(policy);
    let params = part(spec, "paramKind")
        .map(|kind| GroupVersionKind::parse(text(kind, "apiVersion"), text(kind, "kind")));
    let params = params.map(|kind| kinds.root(&kind).map_or_else(DeclaredType::any, |root| declared(&root)));
    let checked: Vec<(GroupVersionKind, Environments)> = kinds_of(spec, kinds)
        .into_iter()
        .filter_map(|kind| {
            let known = Known {
                object: declared(&kinds.root(&kind)?),
                params: params.clone(),
                variables: true,
                request_resource: false,
            };
            let mut environments = Environments::known(&known);
            compile_variables(spec, &mut environments);
            Some((kind, environments))
        })
        .collect();
    let mut warnings = Vec::new();
    for (index, validation) in items(spec, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = text(validation, field);
            if field == "messageExpression" && expression.is_empty() {
                continue;
            }
            let found: Vec<String> = checked
                .iter()
                .filter_map(|(kind, environments)| check(kind, environments, expression))
                .collect();
            if !found.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": found.join("\n")}));
            }
        }
    }
    warnings
}

fn check(kind: &GroupVersionKind, environments: &Environments, expression: &str) -> Option<String> {
    let compiled = environments.compile(expression, Scope::Authorizer, Returns::Anything);
    match compiled.program.err()? {
        Issue::Invalid(why) => {
            let why = why.strip_prefix("compilation failed: ").unwrap_or(&why);
            Some(format!("{kind}: {why}\n"))
        }
        // Constants are not evaluated here.
        Issue::Internal(_) => None,
    }
}

/// The kinds that rules name, in the order of their names.
fn kinds_of(spec: &Value, kinds: &dyn Kinds) -> BTreeSet<GroupVersionKind> {
    let mut found = BTreeSet::new();
    let rules =
        part(spec, "matchConstraints").map_or(&[][..], |constraints| items(constraints, "resourceRules"));
    for rule in rules {
        let sorted = |field: &str| {
            let mut texts = texts(rule, field);
            texts.sort();
            texts
        };
        let (groups, versions) = (sorted("apiGroups"), sorted("apiVersions"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        let resources: Vec<String> =
            sorted("resources").into_iter().filter(|resource| !resource.contains(['*', '/'])).collect();
        let mut count = 0;
        for group in &groups {
            for version in &versions {
                for resource in &resources {
                    for kind in kinds.kinds_of(&GroupVersionResource::new(group, version, resource)) {
                        found.insert(kind);
                        count += 1;
                        if count == KINDS {
                            return found;
                        }
                    }
                }
            }
        }
    }
    found
}

/// The type of a kind's objects.
fn declared(root: &Root) -> DeclaredType {
    of_type(root.schema(), root.ty(), &mut Vec::new())
}

/// Definitions that contain themselves are not looked into again.
fn of_type(schema: &Schema, ty: Type, above: &mut Vec<DefinitionId>) -> DeclaredType {
    match ty {
        Type::String => DeclaredType::string(None, []),
        Type::Int32 | Type::Int64 => DeclaredType::integer(),
        Type::Float => DeclaredType::number(),
        Type::Bool => DeclaredType::boolean(),
        Type::IntOrString => DeclaredType::int_or_string(None),
        Type::Time | Type::MicroTime => DeclaredType::date_time(),
        Type::Bytes => DeclaredType::bytes(None),
        Type::Quantity | Type::Raw(_) => DeclaredType::any(),
        Type::Map(inner) => DeclaredType::map(of_type(schema, schema.inner(inner), above), None),
        Type::List(inner) => {
            DeclaredType::list(of_type(schema, schema.inner(inner), above), None, ListKind::Atomic)
        }
        Type::Object(id) if above.contains(&id) => DeclaredType::any(),
        Type::Object(id) => {
            above.push(id);
            let field = |field: &skiff_schema::Field| {
                (field.name.to_string(), Field::optional(of_type(schema, field.ty, above)))
            };
            let fields: Vec<(String, Field)> = schema.get(id).fields().iter().map(field).collect();
            above.pop();
            DeclaredType::object(fields)
        }
    }
}
