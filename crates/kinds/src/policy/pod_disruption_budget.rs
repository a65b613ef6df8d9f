//! PodDisruptionBudget.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, integer, items, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{
    Cell, Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource,
};
use skiff_schema::Schema;

use crate::groups::POLICY;
use crate::row::stored;
use crate::shared::check::{self, one_of_optional};
use crate::shared::workload::selector_of;
use crate::shared::{conditions, share};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    const DEFINITION: &str = "io.k8s.api.policy.v1.PodDisruptionBudget";
    Kind {
        columns: vec![
            name_column(),
            text("Min Available", "Number of pods that have to stay."),
            text("Max Unavailable", "Number of pods that may be away."),
            integer("Allowed Disruptions", "Number of pods that may be evicted now."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, POLICY, DEFINITION, Scope::Namespaced, BudgetStrategy)
            .short(&["pdb"])
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let bound = |field: &str| -> Cell {
        match object.get(&["spec", field]) {
            Some(Value::Number(number)) => number.to_string().into(),
            Some(Value::String(share)) => share.as_str().into(),
            _ => "N/A".into(),
        }
    };
    let allowed = object.int(&["status", "disruptionsAllowed"]).unwrap_or(0);
    cells::row([
        object.name().into(),
        bound("minAvailable"),
        bound("maxUnavailable"),
        allowed.into(),
        age(object, now),
    ])
}

/// What is special about disruption budgets.
struct BudgetStrategy;

impl Strategy for BudgetStrategy {
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(
            &["status"],
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
        );
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::None
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    /// Any that can be a part of a path.
    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate(object, Values::Checked)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let bad = |selector| !selector::validate("", selector, Values::Checked).is_empty();
        let was_bad = selector_of(old).is_some_and(bad);
        validate(new, if was_bad { Values::Tolerated } else { Values::Checked })
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        let mut errors = conditions::validate("status.conditions", items(new, &["status", "conditions"]));
        errors.extend(check::none_negative(new, "status", &counts));
        errors
    }
}

fn validate(object: &Object, values: Values) -> FieldErrors {
    let bound = |field: &str| object.get(&["spec", field]).filter(|bound| !bound.is_null());
    let bounds = [("minAvailable", bound("minAvailable")), ("maxUnavailable", bound("maxUnavailable"))];
    let mut errors = FieldErrors::new();
    if bounds.iter().all(|(_, bound)| bound.is_some()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", Value::Null, detail).showing(go_spec(object)));
    }
    for (field, bound) in bounds {
        let path = format!("spec.{field}");
        errors.extend(bound.iter().flat_map(|bound| share::check(&path, bound)));
        errors.extend(bound.iter().flat_map(|bound| share::at_most_all(&path, bound)));
    }
    let selector = selector_of(object);
    errors.extend(selector.iter().flat_map(|selector| selector::validate("spec.selector", selector, values)));
    let policy = object.get(&["spec", "unhealthyPodEvictionPolicy"]).and_then(Value::as_str);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    errors.extend(one_of_optional("spec.unhealthyPodEvictionPolicy", policy, &policies));
    errors
}

/// The spec with the names of Go's fields.
fn go_spec(object: &Object) -> String {
    let field = |name: &str| object.get(&["spec", name]).unwrap_or(&Value::Null);
    let selector = selector_of(object).map_or_else(|| "null".to_owned(), selector::written);
    format!(
        r#"{{"MinAvailable":{},"Selector":{selector},"MaxUnavailable":{},"UnhealthyPodEvictionPolicy":{}}}"#,
        field("minAvailable"),
        field("maxUnavailable"),
        field("unhealthyPodEvictionPolicy")
    )
}
