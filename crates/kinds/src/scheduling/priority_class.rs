//! PriorityClass: a name for how important pods are.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, boolean, integer, name_column, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
};
use skiff_schema::Schema;

use crate::groups::SCHEDULING;
use crate::row::stored;
use crate::shared::check::{immutable, one_of_optional};
use crate::shared::defaults::fill;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            integer("Value", "The priority of the pods."),
            boolean("Global-Default", "Whether it is for pods that name no class."),
            age_column(),
            text("PreemptionPolicy", "Whether the pods may take the places of others."),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, SCHEDULING, "io.k8s.api.scheduling.v1.PriorityClass", Scope::Cluster, ClassStrategy)
            .short(&["pc"])
            .plural("priorityclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([
        object.name().into(),
        object.get(&["value"]).and_then(Value::as_i64).unwrap_or_default().into(),
        object.get(&["globalDefault"]).and_then(Value::as_bool).unwrap_or_default().into(),
        age(object, now),
        object.str(&["preemptionPolicy"]).into(),
    ])
}

/// A class that every cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemClass {
    /// Its name.
    pub name: &'static str,
    /// The priority of its pods.
    pub value: i64,
    /// What it is for.
    pub description: &'static str,
}

/// The classes that every cluster has, which nobody can delete.
pub const SYSTEM: [SystemClass; 2] = [
    SystemClass {
        name: "system-cluster-critical",
        value: 2_000_000_000,
        description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    },
    SystemClass {
        name: "system-node-critical",
        value: 2_000_001_000,
        description: "Used for system critical pods that must not be moved from their current node.",
    },
];

/// What the names of these, and only of these, begin with.
const RESERVED: &str = "system-";

/// The highest priority that others may have.
const HIGHEST: i64 = 1_000_000_000;

/// What is special about priority classes.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn default(&self, object: &mut Object) {
        fill(object.as_map_mut(), "preemptionPolicy", "PreemptLowerPriority");
    }

    /// There is one generation.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["metadata", "generation"], 1);
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if object.name().starts_with(RESERVED) {
            if let Some(why) = not_a_system_class(object) {
                let detail = format!(
                    "priority class names with '{RESERVED}' prefix are reserved for system use only. error: {why}"
                );
                errors.push(FieldError::forbidden("metadata.name", detail));
            }
        } else if value(object) > HIGHEST {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(FieldError::forbidden("value", detail));
        }
        let policy = object.get(&["preemptionPolicy"]).and_then(Value::as_str);
        errors.extend(one_of_optional("preemptionPolicy", policy, &["PreemptLowerPriority", "Never"]));
        errors
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if value(new) != value(old) {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        let policy = |object: &Object| object.get(&["preemptionPolicy"]).cloned();
        errors.extend(immutable("preemptionPolicy", policy(new).as_ref(), policy(old).as_ref()));
        errors
    }

    fn stays(&self, name: &str) -> Option<&'static str> {
        let is_system = SYSTEM.iter().any(|class| class.name == name);
        is_system.then_some("this is a system priority class and cannot be deleted")
    }
}

fn value(object: &Object) -> i64 {
    object.get(&["value"]).and_then(Value::as_i64).unwrap_or_default()
}

/// Why an object with a reserved name is none of the classes that every cluster has.
fn not_a_system_class(object: &Object) -> Option<String> {
    let name = object.name();
    let Some(class) = SYSTEM.iter().find(|class| class.name == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value(object) != class.value {
        return Some(format!("value of {name} PriorityClass must be {}", class.value));
    }
    let is_default = object.get(&["globalDefault"]).and_then(Value::as_bool).unwrap_or_default();
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn class(name: &str, value: i64) -> Object {
        let mut class = object(json!({"metadata": {"name": name}, "value": value}));
        ClassStrategy.default(&mut class);
        class
    }

    #[test]
    fn high_priorities_and_some_names_are_the_systems() {
        let check = |name: &str, value: i64, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| ClassStrategy.validate(cx, &class(name, value)))), expected);
        };
        check("high", HIGHEST, &[]);
        check(
            "high",
            HIGHEST + 1,
            &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        );
        SYSTEM.iter().for_each(|class| check(class.name, class.value, &[]));
        let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error:";
        check("system-mine", 1, &[&format!("{reserved} system-mine is not a known system priority class")]);
        check(
            "system-node-critical",
            1,
            &[&format!("{reserved} value of system-node-critical PriorityClass must be 2000001000")],
        );
    }

    #[test]
    fn value_and_policy_stay() {
        let mut new = class("a", 2);
        new.set(&["preemptionPolicy"], "Never");
        let errors = with_context(|cx| ClassStrategy.validate_update(cx, &new, &class("a", 1)));
        assert_eq!(
            texts(errors),
            [
                "value: Forbidden: may not be changed in an update.",
                r#"preemptionPolicy: Invalid value: "Never": field is immutable"#,
            ]
        );
    }
}
