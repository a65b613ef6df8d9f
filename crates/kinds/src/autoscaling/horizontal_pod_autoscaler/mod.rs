//! HorizontalPodAutoscaler: as it is stored, in `autoscaling/v2`. [`v1`] shows the same with other fields, and keeps in
//! [`annotations`] what it has none for.

mod annotations;
mod print;
pub(super) mod v1;
mod validate;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use skiff_machinery::cells::{age_column, name_column, text};
use skiff_machinery::strict::{self, DecodeFailure, Decoded};
use skiff_machinery::{
    Column, Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Scope, Strategy, Subresource,
};
use skiff_schema::{Root, Schema};

use crate::groups::AUTOSCALING;
use crate::row::stored;
use crate::shared::defaults::{existing_mut, fill, object_mut};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    const DEFINITION: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler";
    Kind {
        columns: columns(),
        print: Printer::Fixed(print::print),
        ..stored(schema, AUTOSCALING, DEFINITION, Scope::Namespaced, AutoscalerStrategy)
            .short(&["hpa"])
            .in_all()
            .below(&[Subresource::Status])
    }
}

fn columns() -> Vec<Column> {
    vec![
        name_column(),
        text("Reference", "What is scaled."),
        text("Targets", "What is measured, of what it should be."),
        text("MinPods", "Number of pods that there are at least."),
        text("MaxPods", "Number of pods that there are at most."),
        text("Replicas", "Number of pods that there are."),
        age_column(),
    ]
}

/// The share of what its containers request that a pod should use, in percent.
const USUAL_UTILIZATION: i64 = 80;

/// What is measured where nothing is said.
fn usual_metrics() -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": USUAL_UTILIZATION});
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
}

/// What is special about autoscalers.
pub(super) struct AutoscalerStrategy;

impl Strategy for AutoscalerStrategy {
    fn decode(&self, text: &[u8], root: &Root) -> Result<Decoded, DecodeFailure> {
        let mut decoded = strict::decode(text, root)?;
        let tree = serde_json::from_slice(text)?;
        keep_no_policies(&mut decoded.object, &tree);
        Ok(decoded)
    }

    fn prune(&self, tree: Value, root: &Root) -> Result<Decoded, DecodeFailure> {
        let mut decoded = strict::prune(tree.clone(), root)?;
        keep_no_policies(&mut decoded.object, &tree);
        Ok(decoded)
    }

    fn default(&self, object: &mut Object) {
        // They say in another version what this one has fields for.
        annotations::drop_all(object);
        let spec = object_mut(object.as_map_mut(), "spec");
        fill(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("metrics".to_owned(), usual_metrics());
        }
        if let Some(behavior) = existing_mut(spec, "behavior") {
            default_rules(object_mut(behavior, "scaleUp"), Direction::Up);
            default_rules(object_mut(behavior, "scaleDown"), Direction::Down);
        }
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({"desiredReplicas": 0, "currentMetrics": null}));
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::validate(object, None)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate::validate(new, Some(old))
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        validate::validate_status(new)
    }
}

/// Whoever writes that there are no policies does not get the usual ones.
fn keep_no_policies(object: &mut Object, written: &Value) {
    for direction in ["scaleUp", "scaleDown"] {
        let policies = &written["spec"]["behavior"][direction]["policies"];
        if policies.as_array().is_some_and(Vec::is_empty) {
            object.set(&["spec", "behavior", direction, "policies"], policies.clone());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Fills the rules of how fast it goes, where there are any. How long a scale down is thought over is the controller's
/// setting.
fn default_rules(rules: &mut Map<String, Value>, direction: Direction) {
    let mut policies = vec![json!({"type": "Percent", "value": 100, "periodSeconds": 15})];
    if direction == Direction::Up {
        fill(rules, "stabilizationWindowSeconds", 0);
        policies.insert(0, json!({"type": "Pods", "value": 4, "periodSeconds": 15}));
    }
    fill(rules, "selectPolicy", "Max");
    fill(rules, "policies", policies);
}
