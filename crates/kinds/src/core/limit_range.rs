//! LimitRange: defaults and bounds of what pods and claims of a namespace use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use skiff_machinery::cells::{self, name_column, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
};
use skiff_schema::Schema;

use super::resources::{amounts, can_be_overcommitted, check_container_name, check_name};
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::defaults::{list_mut, object_mut};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), cells::date("Created At", "When the object was created.")],
        print: Printer::Fixed(print),
        ..stored(schema, CORE, "io.k8s.api.core.v1.LimitRange", Scope::Namespaced, LimitStrategy)
            .short(&["limits"])
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["metadata", "creationTimestamp"]).into()])
}

/// What is special about LimitRanges.
struct LimitStrategy;

impl Strategy for LimitStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn default(&self, object: &mut Object) {
        let Some(spec) = object.as_map_mut().get_mut("spec").and_then(Value::as_object_mut) else { return };
        list_mut(spec, "limits")
            .filter(|limit| limit.get("type") == Some(&"Container".into()))
            .for_each(fill);
    }

    /// A name is not needed.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        if object.name().is_empty() {
            object.set(&["metadata", "name"], uuid::Uuid::new_v4().to_string());
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let mut types = BTreeSet::new();
        for (index, limit) in cells::items(object, &["spec", "limits"]).iter().enumerate() {
            let path = format!("spec.limits[{index}]");
            let of = str_of(limit, "type");
            let at = format!("{path}.type");
            errors.extend(check_type(&at, of));
            if !types.insert(of) {
                errors.push(FieldError::duplicate(at, of));
            }
            errors.extend(check_limit(&path, limit, of));
        }
        errors
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

/// What is not said of containers follows from what is: limits from the most, requests from limits and the least.
fn fill(limit: &mut Map<String, Value>) {
    for (field, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        let known = limit.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, amount) in known {
            object_mut(limit, field).entry(name).or_insert(amount);
        }
    }
}

fn check_type(path: &str, of: &str) -> FieldErrors {
    let mut errors = Form::QualifiedName.check(path, of);
    let is_known = matches!(of, "Pod" | "Container" | "PersistentVolumeClaim") || of.contains('/');
    if errors.is_empty() && !is_known {
        errors.push(FieldError::invalid(path, of, "must be a standard limit type or fully qualified"));
    }
    errors
}

fn check_limit(path: &str, limit: &Value, of: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let is_pod = of == "Pod";
    let mut bounds = BTreeMap::<&str, Bounds>::new();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if field == "maxLimitRequestRatio" && of == "PersistentVolumeClaim" {
            errors.extend(check_claims(path, limit));
        }
        if is_pod && field.starts_with("default") {
            if amounts(limit.get(field)).next().is_some() {
                let why = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
            }
            continue;
        }
        for (name, amount) in amounts(limit.get(field)) {
            let at = format!("{path}.{field}[{name}]");
            errors.extend(match of {
                "Pod" | "Container" => check_container_name(&at, name),
                _ => check_name(&at, name),
            });
            bounds.entry(name).or_default().set(field, amount);
        }
    }
    for (name, bounds) in bounds {
        errors.extend(bounds.check(path, name));
    }
    errors
}

fn check_claims(path: &str, limit: &Value) -> FieldErrors {
    let bounded = |field: &str| limit.get(field).and_then(|list| list.get("storage")).is_some();
    if bounded("min") || bounded("max") {
        return FieldErrors::new();
    }
    let why = "either minimum or maximum storage value is required, but neither was provided";
    [FieldError::required(format!("{path}.limits"), why)].into()
}

/// What a limit says of one resource.
#[derive(Default)]
struct Bounds {
    max: Option<Quantity>,
    min: Option<Quantity>,
    default: Option<Quantity>,
    default_request: Option<Quantity>,
    ratio: Option<Quantity>,
}

/// The most units whose thousandths can be counted in 64 bits.
const MOST_MILLIS: i64 = i64::MAX / 1000;

impl Bounds {
    fn set(&mut self, field: &str, amount: Quantity) {
        let slot = match field {
            "max" => &mut self.max,
            "min" => &mut self.min,
            "default" => &mut self.default,
            "defaultRequest" => &mut self.default_request,
            _ => &mut self.ratio,
        };
        *slot = Some(amount);
    }

    fn check(&self, path: &str, name: &str) -> FieldErrors {
        let at = |field: &str| format!("{path}.{field}[{name}]");
        let (min, max) = ((self.min, "min value"), (self.max, "max value"));
        let (request, limit) = (self.default_request, self.default);
        let asked = (request, "default request value");
        // What may not be above what; where the error is, and which value it shows.
        let pairs = [
            (min, max, "min", self.min),
            (min, asked, "defaultRequest", request),
            (asked, max, "defaultRequest", request),
            (asked, (limit, "default limit value"), "defaultRequest", request),
            (min, (limit, "default value"), "default", self.min),
            ((limit, "default value"), max, "default", self.max),
        ];
        let mut errors = FieldErrors::new();
        for ((low, low_name), (high, high_name), field, shown) in pairs {
            let (Some(low), Some(high), Some(shown)) = (low, high, shown) else { continue };
            if low.nanos() > high.nanos() {
                let why = format!("{low_name} {low} is greater than {high_name} {high}");
                errors.push(FieldError::invalid(at(field), shown.to_string(), why));
            }
        }
        errors.extend(self.check_ratio(&at("maxLimitRequestRatio")));
        if let (Some(limit), Some(request)) = (limit, request)
            && !can_be_overcommitted(name)
            && limit.nanos() != request.nanos()
        {
            let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            errors.push(FieldError::invalid(at("defaultRequest"), request.to_string(), why));
        }
        errors
    }

    fn check_ratio(&self, at: &str) -> FieldErrors {
        let Some(ratio) = self.ratio else { return FieldErrors::new() };
        let mut errors = FieldErrors::new();
        let mut refuse = |why: String| errors.push(FieldError::invalid(at, ratio.to_string(), why));
        if ratio.nanos() < Quantity::from(1).nanos() {
            refuse(format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            let is_small = [ratio, min, max].iter().all(|amount| amount.units() < MOST_MILLIS);
            let (value, most) = if is_small {
                (as_float(ratio.millis()) / 1000.0, as_float(max.millis()) / as_float(min.millis()))
            } else {
                (as_float(ratio.units()), as_float(max.units()) / as_float(min.units()))
            };
            if value > most {
                refuse(format!("ratio {ratio} is greater than max/min = {most:.6}"));
            }
        }
        errors
    }
}

/// Ratios are computed in floating point, as Kubernetes does.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what Kubernetes compares")]
fn as_float(amount: i64) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn range(limits: Value) -> Object {
        let mut range = object(json!({"metadata": {"name": "x"}, "spec": {"limits": limits}}));
        LimitStrategy.default(&mut range);
        range
    }

    #[test]
    fn what_containers_are_given_follows_from_bounds() {
        let check = |limit: Value, limits: Value, requests: Value| {
            let range = range(json!([limit]));
            let limit = &range.get(&["spec", "limits"]).unwrap()[0];
            assert_eq!((&limit["default"], &limit["defaultRequest"]), (&limits, &requests));
        };
        check(json!({"type": "Container", "max": {"cpu": "1"}}), json!({"cpu": "1"}), json!({"cpu": "1"}));
        check(json!({"type": "Container", "min": {"cpu": "1"}}), Value::Null, json!({"cpu": "1"}));
        check(
            json!({"type": "Container", "max": {"cpu": "3"}, "default": {"cpu": "2"}, "min": {"cpu": "1"}}),
            json!({"cpu": "2"}),
            json!({"cpu": "2"}),
        );
        check(json!({"type": "Pod", "max": {"cpu": "1"}}), Value::Null, Value::Null);
    }

    #[test]
    fn limits_are_checked() {
        let check = |limits: Value, expected: &[&str]| {
            let errors = with_context(|cx| LimitStrategy.validate(cx, &range(limits.clone())));
            assert_eq!(texts(errors), expected, "{limits}");
        };
        let container = |fields: Value| {
            let mut limit = json!({"type": "Container"});
            fields
                .as_object()
                .unwrap()
                .iter()
                .for_each(|(field, value)| limit[field] = json!({"cpu": value}));
            json!([limit])
        };
        check(container(json!({"max": "2", "min": "1", "maxLimitRequestRatio": "2"})), &[]);
        check(
            container(json!({"max": "1", "min": "2"})),
            &[
                r#"spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1"#,
                r#"spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1"#,
                r#"spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1"#,
            ],
        );
        check(
            container(json!({"max": "1", "default": "3"})),
            &[
                r#"spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than max value 1"#,
                r#"spec.limits[0].default[cpu]: Invalid value: "1": default value 3 is greater than max value 1"#,
            ],
        );
        check(
            container(json!({"max": "2", "min": "1", "maxLimitRequestRatio": "3"})),
            &[
                r#"spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000"#,
            ],
        );
        check(
            container(json!({"maxLimitRequestRatio": "500m"})),
            &[
                r#"spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1"#,
            ],
        );
        check(
            json!([{"type": "Pod", "default": {"cpu": "1"}}, {"type": "Pod"}]),
            &[
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                r#"spec.limits[1].type: Duplicate value: "Pod""#,
            ],
        );
        check(
            json!([{"type": "PersistentVolumeClaim"}]),
            &[
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ],
        );
        check(
            json!([{"type": "Thing"}]),
            &[
                r#"spec.limits[0].type: Invalid value: "Thing": must be a standard limit type or fully qualified"#,
            ],
        );
        check(
            json!([{"type": "Container", "default": {"a.b/gpu": "2"}, "defaultRequest": {"a.b/gpu": "1"}}]),
            &[
                r#"spec.limits[0].defaultRequest[a.b/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in a.b/gpu"#,
            ],
        );
    }
}
