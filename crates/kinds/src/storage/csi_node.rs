//! CSINode: the drivers of volumes that run on a node.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, integer, items, name_column, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
};
use skiff_schema::Schema;
use std::collections::BTreeSet;

use crate::groups::STORAGE;
use crate::row::stored;
use crate::shared::check::{driver_name, not_negative};
use crate::shared::go;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), integer("Drivers", "Number of drivers on the node."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, STORAGE, "io.k8s.api.storage.v1.CSINode", Scope::Cluster, NodeStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let drivers = items(object, &["spec", "drivers"]).len();
    cells::row([object.name().into(), drivers.into(), age(object, now)])
}

/// Bytes in the name that a driver has for a node.
const LONGEST_ID: usize = 256;

/// What is special about the drivers of a node.
struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let mut names = BTreeSet::new();
        for (index, driver) in drivers(object).iter().enumerate() {
            errors.extend(check(&format!("spec.drivers[{index}]"), driver, &mut names));
        }
        errors
    }

    /// Drivers come and go; of one that stays only the number of volumes changes.
    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        for before in drivers(old) {
            let same = drivers(new).iter().filter(|driver| str_of(driver, "name") == str_of(before, "name"));
            errors.extend(same.filter(|driver| fixed(driver) != fixed(before)).map(|driver| {
                let shown = fixed(driver);
                FieldError::invalid("spec.drivers", Value::Null, "field is immutable").showing(shown)
            }));
        }
        errors
    }
}

fn drivers(object: &Object) -> &[Value] {
    items(object, &["spec", "drivers"])
}

fn check<'v>(path: &str, driver: &'v Value, names: &mut BTreeSet<&'v str>) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = driver_name(&at("name"), str_of(driver, "name"));
    let id = str_of(driver, "nodeID");
    if id.is_empty() {
        errors.push(FieldError::required(at("nodeID"), ""));
    }
    if id.len() > LONGEST_ID {
        let detail = format!("must be {LONGEST_ID} characters or less");
        errors.push(FieldError::invalid(at("nodeID"), id, detail));
    }
    let count = driver.pointer("/allocatable/count").and_then(Value::as_i64);
    errors.extend(not_negative(&at("allocatable.count"), count.unwrap_or_default()));
    if !names.insert(str_of(driver, "name")) {
        errors.push(FieldError::duplicate(at("name"), str_of(driver, "name")));
    }
    let mut keys = BTreeSet::new();
    let given = driver.get("topologyKeys").and_then(Value::as_array).into_iter().flatten();
    for key in given.filter_map(Value::as_str) {
        if key.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        if !keys.insert(key) {
            errors.push(FieldError::duplicate(path, key));
        }
        errors.extend(Form::QualifiedName.check(path, key));
    }
    errors
}

/// What stays of a driver, as Kubernetes' own type has it.
fn fixed(driver: &Value) -> String {
    go::object(&[
        ("Name", go::text(driver, "name")),
        ("NodeID", go::text(driver, "nodeID")),
        ("TopologyKeys", go::plain(driver, "topologyKeys")),
        ("Allocatable", "null".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn node(drivers: Value) -> Object {
        object(json!({"spec": {"drivers": drivers}}))
    }

    #[test]
    fn drivers_are_checked_each_and_together() {
        let check = |drivers: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| NodeStrategy.validate(cx, &node(drivers)))), expected);
        };
        check(
            json!([{"name": "d", "nodeID": "n", "topologyKeys": ["zone"], "allocatable": {"count": 3}}]),
            &[],
        );
        check(
            json!([{"name": "d", "nodeID": ""}, {"name": "d", "nodeID": "n", "topologyKeys": ["a", "a"]}]),
            &[
                "spec.drivers[0].nodeID: Required value",
                r#"spec.drivers[1].name: Duplicate value: "d""#,
                r#"spec.drivers[1]: Duplicate value: "a""#,
            ],
        );
    }

    #[test]
    fn of_a_driver_that_stays_only_the_number_of_volumes_changes() {
        let driver =
            |id: &str, count: u32| json!([{"name": "d", "nodeID": id, "allocatable": {"count": count}}]);
        let check = |new: Value, expected: &[&str]| {
            let (new, old) = (node(new), node(driver("n", 1)));
            assert_eq!(texts(with_context(|cx| NodeStrategy.validate_update(cx, &new, &old))), expected);
        };
        check(driver("n", 9), &[]);
        check(json!([]), &[]);
        check(
            driver("m", 1),
            &[concat!(
                r#"spec.drivers: Invalid value: {"Name":"d","NodeID":"m","TopologyKeys":null,"Allocatable":null}: "#,
                "field is immutable",
            )],
        );
    }
}
