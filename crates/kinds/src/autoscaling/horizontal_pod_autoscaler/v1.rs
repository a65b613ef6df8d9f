//! HorizontalPodAutoscaler in `autoscaling/v1`: the share of CPU has a field, all else that is measured annotations.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_machinery::{
    Context, Conversion, FieldErrors, GroupVersion, Kind, MetadataChecks, Object, Printer, Row, Scope,
    Strategy, Subresource, Versions,
};
use skiff_ordered::Ordered as _;
use skiff_schema::Schema;

use super::{AutoscalerStrategy, annotations, print, usual_metrics};
use crate::groups::{AUTOSCALING, AUTOSCALING_V1};
use crate::row::stored;
use crate::shared::defaults::{fill, object_mut};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    const DEFINITION: &str = "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler";
    Kind {
        columns: super::columns(),
        print: Printer::Fixed(row_of),
        versions: Versions { storage: Some(AUTOSCALING), conversion: Conversion::Native(convert) },
        ..stored(schema, AUTOSCALING_V1, DEFINITION, Scope::Namespaced, FirstStrategy)
            .short(&["hpa"])
            .in_all()
            .below(&[Subresource::Status])
    }
}

fn row_of(object: &Object, now: Timestamp) -> Row {
    print::print(&in_v2(object), now)
}

/// An autoscaler in the other version.
fn convert(object: Object, to: &GroupVersion) -> Object {
    if *to == AUTOSCALING_V1 { in_v1(&object) } else { in_v2(&object) }
}

/// The share of CPU, where a metric is that.
fn cpu_share(metric: &Value, of: &str) -> Option<i64> {
    let is_cpu = metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
    metric["resource"][of]["averageUtilization"].as_i64().filter(|_| is_cpu)
}

fn items<'v>(object: &'v Object, path: &[&str]) -> impl Iterator<Item = &'v Value> + use<'v> {
    object.get(path).and_then(Value::as_array).into_iter().flatten()
}

/// An autoscaler of `v2` in `v1`.
fn in_v1(object: &Object) -> Object {
    let mut first = object.clone();
    first.set(&["apiVersion"], AUTOSCALING_V1.to_string());
    annotations::drop_all(&mut first);
    annotations::write(&mut first, object, |metric| cpu_share(metric, "target").is_none());
    let share = items(object, &["spec", "metrics"]).find_map(|metric| cpu_share(metric, "target"));
    let spec = object_mut(first.as_map_mut(), "spec");
    spec.remove("metrics");
    spec.remove("behavior");
    spec.extend(share.map(|share| ("targetCPUUtilizationPercentage".to_owned(), share.into())));
    if let Some(status) = object.get(&["status"]).and_then(Value::as_object) {
        let kept = ["observedGeneration", "lastScaleTime"].into_iter();
        let mut shown: Map<String, Value> =
            kept.filter_map(|field| Some((field.to_owned(), status.get(field)?.clone()))).one_by_one();
        for field in ["currentReplicas", "desiredReplicas"] {
            shown.insert(field.to_owned(), status.get(field).cloned().unwrap_or_else(|| 0.into()));
        }
        let share = items(object, &["status", "currentMetrics"]).filter_map(|one| cpu_share(one, "current"));
        shown.extend(share.last().map(|share| ("currentCPUUtilizationPercentage".to_owned(), share.into())));
        first.set(&["status"], shown);
    }
    first
}

/// An autoscaler of `v1` in `v2`.
fn in_v2(object: &Object) -> Object {
    let mut second = object.clone();
    second.set(&["apiVersion"], AUTOSCALING.to_string());
    let said = annotations::read(object);
    annotations::drop_all(&mut second);
    let spec = object_mut(second.as_map_mut(), "spec");
    let share = spec.remove("targetCPUUtilizationPercentage").filter(|share| !share.is_null());
    let mut metrics = said.metrics;
    metrics.extend(share.map(|share| {
        let target = json!({"type": "Utilization", "averageUtilization": share});
        json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    }));
    let metrics = if metrics.is_empty() { usual_metrics() } else { metrics.into() };
    spec.insert("metrics".to_owned(), metrics);
    spec.extend(said.behavior.map(|behavior| ("behavior".to_owned(), behavior)));
    if let Some(status) = second.as_map_mut().get_mut("status").and_then(Value::as_object_mut) {
        let share = status.remove("currentCPUUtilizationPercentage").filter(|share| !share.is_null());
        let of_share = share.map(|share| {
            let current = json!({"averageUtilization": share});
            json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}])
        });
        status.insert("currentMetrics".to_owned(), said.current.or(of_share).unwrap_or_default());
        status.extend(said.conditions.map(|conditions| ("conditions".to_owned(), conditions)));
        if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
            status.remove("currentReplicas");
        }
        fill(status, "desiredReplicas", 0);
    }
    second
}

/// Makes a member the same as in another object.
fn take(object: &mut Object, from: &Object, member: &str) {
    match from.get(&[member]) {
        Some(value) => object.set(&[member], value.clone()),
        None => drop(object.remove(&[member])),
    }
}

/// What is special about autoscalers of the first version: they are what they are in the second.
struct FirstStrategy;

impl FirstStrategy {
    /// Changes an object by what is done with it in the second version.
    fn through(object: &mut Object, change: impl FnOnce(&mut Object)) {
        let mut second = in_v2(object);
        change(&mut second);
        *object = in_v1(&second);
    }
}

impl Strategy for FirstStrategy {
    fn added_annotations(&self) -> &'static [&'static str] {
        annotations::ALL
    }

    fn metadata_checks(&self) -> MetadataChecks {
        AutoscalerStrategy.metadata_checks()
    }

    fn default(&self, object: &mut Object) {
        Self::through(object, |second| AutoscalerStrategy.default(second));
    }

    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        Self::through(object, |second| AutoscalerStrategy.prepare_create(cx, second));
    }

    /// What the first version shows of the status is not all of it.
    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        Self::through(new, |second| take(second, &in_v2(old), "status"));
    }

    fn prepare_status(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        Self::through(new, |second| take(second, &in_v2(old), "spec"));
    }

    fn validate(&self, cx: Context<'_>, object: &Object) -> FieldErrors {
        AutoscalerStrategy.validate(cx, &in_v2(object))
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        AutoscalerStrategy.validate_update(cx, &in_v2(new), &in_v2(old))
    }

    fn validate_status(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        AutoscalerStrategy.validate_status(cx, &in_v2(new), &in_v2(old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::object;

    fn of_v2(spec: Value, status: Value) -> Object {
        let mut object = object(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
            "status": status,
        }));
        object.as_map_mut()["spec"].as_object_mut().unwrap().extend(spec.as_object().cloned().unwrap());
        object
    }

    #[test]
    fn what_is_in_one_version_comes_back_from_the_other() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let one = json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 5}}});
        let described = json!({"kind": "Service", "name": "s", "apiVersion": "v1"});
        let metric = json!({"name": "hits", "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}});
        let others = [
            json!({"type": "Object", "object": {"describedObject": described, "metric": {"name": "m"}, "target": {"type": "Value", "value": "3"}}}),
            json!({"type": "Object", "object": {"describedObject": described, "metric": metric, "target": {"type": "AverageValue", "averageValue": "3"}}}),
            json!({"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "3"}}}),
            json!({"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "3"}}}),
            json!({"type": "External", "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "3"}}}),
        ];
        let rules = json!({"selectPolicy": "Max", "stabilizationWindowSeconds": 5, "tolerance": "100m", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]});
        let behavior = json!({"scaleUp": rules, "scaleDown": {"selectPolicy": "Disabled"}});
        let empty = json!({"desiredReplicas": 0, "currentMetrics": null});
        let check = |spec: Value, status: Value| {
            let object = of_v2(spec, status);
            let first = convert(object.clone(), &AUTOSCALING_V1);
            assert_eq!(convert(first, &AUTOSCALING), object);
        };
        check(json!({"metrics": [cpu]}), empty.clone());
        check(json!({"metrics": [memory, cpu]}), empty.clone());
        check(json!({"metrics": [one, memory]}), empty.clone());
        check(json!({"metrics": others}), empty.clone());
        check(json!({"metrics": [cpu], "behavior": behavior}), empty);
        let current = [
            json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "1m"}}}),
            json!({"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": "3"}}}),
        ];
        let condition = json!({"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R", "message": "m"});
        check(
            json!({"metrics": [cpu]}),
            json!({"desiredReplicas": 2, "currentReplicas": 1, "currentMetrics": current, "conditions": [condition]}),
        );
    }

    #[test]
    fn the_first_version_has_a_field_for_cpu_and_annotations_for_the_rest() {
        let spec = json!({"metrics": [
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 7}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        ], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 9}}});
        let first = in_v1(&of_v2(spec, json!({"desiredReplicas": 1})));
        assert_eq!(first.get(&["spec", "targetCPUUtilizationPercentage"]), Some(&json!(60)));
        assert_eq!(
            first.get(&["metadata", "annotations"]),
            Some(&json!({
                "autoscaling.alpha.kubernetes.io/metrics":
                    r#"[{"type":"Resource","resource":{"name":"memory","targetAverageUtilization":7}}]"#,
                "autoscaling.alpha.kubernetes.io/behavior":
                    r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":9,"SelectPolicy":null,"Policies":null,"Tolerance":null}}"#,
            }))
        );
        assert_eq!(first.get(&["status"]), Some(&json!({"currentReplicas": 0, "desiredReplicas": 1})));
    }
}
