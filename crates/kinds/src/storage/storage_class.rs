//! StorageClass: how volumes that claims ask for are made.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, items, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;
use std::collections::{BTreeMap, BTreeSet};

use super::provisioner;
use crate::groups::STORAGE;
use crate::row::stored;
use crate::shared::check::{immutable, one_of_optional};
use crate::shared::defaults::fill;
use crate::shared::node_labels;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Provisioner", "What makes the volumes."),
            text("ReclaimPolicy", "What becomes of a volume that its claim has left."),
            text("VolumeBindingMode", "When volumes are made and bound."),
            text("AllowVolumeExpansion", "Whether claims may grow."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, STORAGE, "io.k8s.api.storage.v1.StorageClass", Scope::Cluster, ClassStrategy)
            .short(&["sc"])
            .plural("storageclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let text = |field: &str, default: &'static str| match object.str(&[field]) {
        "" => default.to_owned(),
        given => given.to_owned(),
    };
    let grows = object.get(&["allowVolumeExpansion"]).and_then(Value::as_bool).unwrap_or_default();
    let name =
        if is_default(object) { format!("{} (default)", object.name()) } else { object.name().to_owned() };
    cells::row([
        name.into(),
        object.str(&["provisioner"]).into(),
        text("reclaimPolicy", "Delete").into(),
        text("volumeBindingMode", "Immediate").into(),
        grows.into(),
        age(object, now),
    ])
}

/// The annotation of the class that is for claims that name none, today's and yesterday's.
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Whether a class is for claims that name none.
pub fn is_default(class: &Object) -> bool {
    let annotations = class.annotations();
    DEFAULT.iter().any(|annotation| annotations.get(annotation) == Some(&"true"))
}

/// What is special about storage classes.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Object) {
        fill(object.as_map_mut(), "reclaimPolicy", "Delete");
        fill(object.as_map_mut(), "volumeBindingMode", "Immediate");
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = provisioner::name("provisioner", object.str(&["provisioner"]));
        errors.extend(provisioner::parameters(object));
        let policy = Some(object.str(&["reclaimPolicy"])).filter(|policy| !policy.is_empty());
        errors.extend(one_of_optional("reclaimPolicy", policy, &["Delete", "Retain"]));
        let mode = object.get(&["volumeBindingMode"]).and_then(Value::as_str);
        errors.extend(one_of_optional("volumeBindingMode", mode, &["Immediate", "WaitForFirstConsumer"]));
        errors.extend(topologies(items(object, &["allowedTopologies"])));
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            errors.extend(immutable(field, new.get(&[field]), old.get(&[field])));
        }
        errors
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let terms = items(new, &["allowedTopologies"]).iter().enumerate();
        let keys = terms.flat_map(|(index, term)| {
            let at = format!("allowedTopologies[{index}].matchLabelExpressions");
            expressions(term)
                .iter()
                .enumerate()
                .map(move |(i, one)| (format!("{at}[{i}].key"), str_of(one, "key")))
        });
        keys.filter_map(|(at, key)| Some(format!("{at}: {}", node_labels::deprecation(key)?))).collect()
    }
}

fn expressions(term: &Value) -> &[Value] {
    term.get("matchLabelExpressions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Where volumes may be made: terms that differ, of labels with values that differ.
fn topologies(terms: &[Value]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    // Kubernetes compares with as many empty terms, too.
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = vec![BTreeMap::new(); terms.len()];
    for (index, term) in terms.iter().enumerate() {
        let at = format!("allowedTopologies[{index}].matchLabelExpressions");
        let mut raw: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (index, one) in expressions(term).iter().enumerate() {
            let (key, values) =
                (str_of(one, "key"), requirement(&format!("{at}[{index}]"), one, &mut errors));
            if raw.insert(key, values).is_some() {
                errors.push(FieldError::duplicate(format!("{at}[{index}].key"), key));
            }
        }
        let same = seen.iter().filter(|other| **other == raw).count();
        errors.extend((0..same).map(|_| FieldError::duplicate(at.as_str(), "")));
        seen.push(raw);
    }
    errors
}

/// Checks one requirement; its values.
fn requirement<'v>(at: &str, requirement: &'v Value, errors: &mut FieldErrors) -> BTreeSet<&'v str> {
    let values = requirement.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if values.is_empty() {
        errors.push(FieldError::required(format!("{at}.values"), ""));
    }
    let mut set = BTreeSet::new();
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        if !set.insert(value) {
            errors.push(FieldError::duplicate(format!("{at}.values[{index}]"), value));
        }
    }
    errors.extend(Form::QualifiedName.check(&format!("{at}.key"), str_of(requirement, "key")));
    set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn topologies_and_their_values_differ() {
        let check = |terms: Value, expected: &[&str]| {
            assert_eq!(texts(topologies(terms.as_array().unwrap())), expected);
        };
        let term =
            |key: &str, values: &[&str]| json!({"matchLabelExpressions": [{"key": key, "values": values}]});
        check(json!([term("zone", &["a"]), term("zone", &["b"])]), &[]);
        check(
            json!([term("zone", &["a", "b"]), term("zone", &["b", "a"])]),
            &[r#"allowedTopologies[1].matchLabelExpressions: Duplicate value: """#],
        );
        check(json!([{}]), &[r#"allowedTopologies[0].matchLabelExpressions: Duplicate value: """#]);
        check(
            json!([term("zone", &["a", "a"])]),
            &[r#"allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a""#],
        );
    }

    #[test]
    fn what_volumes_were_made_by_stays() {
        let class = |policy: &str| {
            let mut class = object(json!({"provisioner": "a.b/c", "reclaimPolicy": policy}));
            ClassStrategy.default(&mut class);
            class
        };
        let check = |new: &Object, old: &Object, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| ClassStrategy.validate_update(cx, new, old))), expected);
        };
        check(&class("Delete"), &class("Delete"), &[]);
        check(
            &class("Retain"),
            &class("Delete"),
            &[r#"reclaimPolicy: Invalid value: "Retain": field is immutable"#],
        );
        check(
            &class("Recycle"),
            &class("Recycle"),
            &[r#"reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain""#],
        );
    }

    #[test]
    fn labels_of_old_are_warned_of() {
        let class = object(json!({"allowedTopologies": [
            {"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]}]},
        ]}));
        assert_eq!(
            ClassStrategy.warnings(&class, None),
            [concat!(
                "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; ",
                r#"use "topology.kubernetes.io/zone" instead"#,
            )]
        );
    }
}
