//! CSIStorageCapacity: how much storage of a class is left somewhere.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, name_column};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use crate::groups::STORAGE;
use crate::row::stored;
use crate::shared::node_labels;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), cells::date("Created At", "When the object was created.")],
        print: Printer::Fixed(print),
        ..stored(
            schema,
            STORAGE,
            "io.k8s.api.storage.v1.CSIStorageCapacity",
            Scope::Namespaced,
            CapacityStrategy,
        )
        .plural("csistoragecapacities")
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["metadata", "creationTimestamp"]).into()])
}

/// What is special about capacities.
struct CapacityStrategy;

const TOPOLOGY: &str = "nodeTopology";

fn topology(object: &Object) -> &Value {
    object.get(&["nodeTopology"]).unwrap_or(&Value::Null)
}

fn check(object: &Object, values: Values) -> FieldErrors {
    let mut errors = selector::validate(TOPOLOGY, topology(object), values);
    errors.extend(Form::Subdomain.check("storageClassName", object.str(&["storageClassName"])));
    let capacity = object.str(&["capacity"]);
    if capacity.parse::<Quantity>().is_ok_and(|amount| amount.nanos() < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("capacity", capacity, detail));
    }
    errors
}

impl Strategy for CapacityStrategy {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        check(object, Values::Checked)
    }

    /// What the capacity is of stays; values that were wrong before may stay wrong.
    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let was_right = selector::validate(TOPOLOGY, topology(old), Values::Checked).is_empty();
        let mut errors = check(new, if was_right { Values::Checked } else { Values::Tolerated });
        if topology(new) != topology(old) {
            errors.push(FieldError::invalid(TOPOLOGY, topology(new).clone(), "field is immutable"));
        }
        let (class, before) = (new.str(&["storageClassName"]), old.str(&["storageClassName"]));
        if class != before {
            errors.push(FieldError::invalid("storageClassName", class, "field is immutable"));
        }
        errors
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let mut warnings = node_labels::in_expressions(TOPOLOGY, topology(new));
        let labels = topology(new).get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        warnings.extend(labels.filter_map(|(key, _)| {
            Some(format!("{TOPOLOGY}.matchLabels.{key}: {}", node_labels::deprecation(key)?))
        }));
        warnings
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn what_the_capacity_is_of_stays() {
        let capacity = |class: &str, zone: &str, amount: &str| {
            let topology = json!({"matchLabels": {"zone": zone}});
            object(json!({"storageClassName": class, "nodeTopology": topology, "capacity": amount}))
        };
        let check = |new: &Object, expected: &[&str]| {
            let old = capacity("fast", "a", "1Gi");
            assert_eq!(texts(with_context(|cx| CapacityStrategy.validate_update(cx, new, &old))), expected);
        };
        check(&capacity("fast", "a", "5Gi"), &[]);
        check(
            &capacity("slow", "b", "-1"),
            &[
                r#"capacity: Invalid value: "-1": must be greater than or equal to 0"#,
                r#"nodeTopology: Invalid value: {"matchLabels":{"zone":"b"}}: field is immutable"#,
                r#"storageClassName: Invalid value: "slow": field is immutable"#,
            ],
        );
    }
}
