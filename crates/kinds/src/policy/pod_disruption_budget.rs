//! PodDisruptionBudget.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, integer, name_column, text};
use skiff_machinery::{Cell, Context, Kind, Object, Printer, Row, Scope, Strategy, Subresource};
use skiff_schema::Schema;

use super::GV;
use crate::row::stored;

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
        ..stored(schema, GV, DEFINITION, Scope::Namespaced, BudgetStrategy)
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
    let allowed = object.get(&["status", "disruptionsAllowed"]).and_then(Value::as_i64).unwrap_or(0);
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
}
