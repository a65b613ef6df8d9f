//! The row of an autoscaler in tables.

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, str_of};
use skiff_machinery::{Object, Row};

/// How many metrics are shown.
const SHOWN: usize = 2;

pub(super) fn print(object: &Object, now: Timestamp) -> Row {
    let number = |path: &[&str]| object.get(path).and_then(Value::as_i64);
    let target = |field: &str| object.str(&["spec", "scaleTargetRef", field]);
    let least = number(&["spec", "minReplicas"]).map_or_else(|| "<unset>".to_owned(), |n| n.to_string());
    cells::row([
        object.name().into(),
        format!("{}/{}", target("kind"), target("name")).into(),
        metrics(object).into(),
        least.into(),
        number(&["spec", "maxReplicas"]).unwrap_or(0).into(),
        number(&["status", "currentReplicas"]).unwrap_or(0).into(),
        age(object, now),
    ])
}

fn metrics(object: &Object) -> String {
    let specs = cells::items(object, &["spec", "metrics"]);
    let statuses = cells::items(object, &["status", "currentMetrics"]);
    if specs.is_empty() {
        return cells::NONE.to_owned();
    }
    let shown = specs.iter().take(SHOWN).enumerate();
    let shown: Vec<String> = shown.map(|(i, spec)| metric(spec, statuses.get(i))).collect();
    let list = shown.join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => list,
        more => format!("{list} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (field, is_resource) = match str_of(spec, "type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let target = &spec[field]["target"];
    let current = |value: &str| {
        let of = status.map(|status| &status[field]["current"][value]);
        of.filter(|value| !value.is_null())
    };
    let amount = |value: &str| current(value).and_then(Value::as_str).unwrap_or("<unknown>").to_owned();
    let average = target["averageValue"].as_str();
    match (is_resource, average) {
        (true, Some(wanted)) => {
            format!("{}: {}/{wanted}", str_of(&spec[field], "name"), amount("averageValue"))
        }
        (true, None) => {
            let share = |value: Option<&Value>, unset: &str| {
                value.and_then(Value::as_i64).map_or_else(|| unset.to_owned(), |share| format!("{share}%"))
            };
            let now = share(current("averageUtilization"), "<unknown>");
            let wanted = share(Some(&target["averageUtilization"]), "<auto>");
            format!("{}: {now}/{wanted}", str_of(&spec[field], "name"))
        }
        (false, Some(wanted)) if field == "pods" => format!("{}/{wanted}", amount("averageValue")),
        (false, Some(wanted)) => format!("{}/{wanted} (avg)", amount("averageValue")),
        (false, None) => format!("{}/{}", amount("value"), target["value"].as_str().unwrap_or("<nil>")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_are_shown_beside_their_targets() {
        let check = |specs: Value, statuses: Value, shown: &str| {
            let object = json!({"spec": {"metrics": specs}, "status": {"currentMetrics": statuses}});
            assert_eq!(metrics(&Object::from_value(object).unwrap()), shown);
        };
        let cpu =
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
        let queue = json!({"type": "External", "external": {"target": {"value": "30"}}});
        check(json!([]), json!([]), "<none>");
        check(json!([cpu]), json!([]), "cpu: <unknown>/80%");
        check(
            json!([cpu]),
            json!([{"type": "Resource", "resource": {"current": {"averageUtilization": 12}}}]),
            "cpu: 12%/80%",
        );
        check(json!([cpu, pods, queue]), json!([]), "cpu: <unknown>/80%, <unknown>/10 + 1 more...");
        check(json!([queue]), json!([{"type": "External", "external": {"current": {"value": "3"}}}]), "3/30");
        check(json!([{"type": "Odd"}]), json!([]), "<unknown type>");
    }
}
