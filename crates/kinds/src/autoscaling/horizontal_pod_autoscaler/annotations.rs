//! The annotations in which `autoscaling/v1` keeps what it has no fields for: JSON, with fields in the order in which
//! Kubernetes writes them. What cannot be read is as if it was not there.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use skiff_machinery::Object;
use skiff_ordered::Ordered as _;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// All of them.
pub(super) const ALL: &[&str] = &[
    METRICS,
    BEHAVIOR,
    CURRENT,
    CONDITIONS,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// What an object of the first version says in annotations, in the form of the second.
pub(super) struct Said {
    pub(super) metrics: Vec<Value>,
    pub(super) behavior: Option<Value>,
    pub(super) current: Option<Value>,
    pub(super) conditions: Option<Value>,
}

/// Takes the annotations from an object.
pub(super) fn drop_all(object: &mut Object) {
    if ALL.iter().any(|key| object.annotations().contains_key(key)) {
        ALL.iter().for_each(|key| drop(object.remove(&["metadata", "annotations", key])));
        if object.annotations().is_empty() {
            object.remove(&["metadata", "annotations"]);
        }
    }
}

/// Reads them.
pub(super) fn read(object: &Object) -> Said {
    let annotations = object.annotations();
    fn parsed<T: DeserializeOwned>(text: Option<&&str>) -> Option<T> {
        serde_json::from_str(text?).ok()
    }
    let metrics: Option<Vec<Metric>> = parsed(annotations.get(METRICS));
    let current: Option<Vec<Metric>> = parsed(annotations.get(CURRENT));
    let conditions: Option<Vec<Condition>> = parsed(annotations.get(CONDITIONS));
    let behavior: Option<Behavior> = parsed(annotations.get(BEHAVIOR));
    Said {
        metrics: metrics.into_iter().flatten().map(Metric::into_spec).collect(),
        behavior: behavior.filter(|behavior| *behavior != Behavior::default()).map(Behavior::into_spec),
        current: current.map(|current| current.into_iter().map(Metric::into_status).collect()),
        conditions: conditions.map(|conditions| json!(conditions)),
    }
}

/// Writes into `first` what `second`, the same in the second version, says of metrics that are to be told here, of the
/// behaviour, of current metrics and conditions.
pub(super) fn write(first: &mut Object, second: &Object, is_told: impl Fn(&Value) -> bool) {
    let list = |path: &[&str]| second.get(path).and_then(Value::as_array).into_iter().flatten();
    let metrics: Vec<Metric> =
        list(&["spec", "metrics"]).filter(|metric| is_told(metric)).map(Metric::of_spec).collect();
    let current: Vec<Metric> = list(&["status", "currentMetrics"]).map(Metric::of_status).collect();
    let conditions: Vec<Condition> = list(&["status", "conditions"])
        .filter_map(|condition| serde_json::from_value(condition.clone()).ok())
        .collect();
    let behavior = second.get(&["spec", "behavior"]).filter(|behavior| behavior.is_object());
    let mut set = |key: &str, text: Option<String>| {
        text.into_iter().for_each(|text| first.set(&["metadata", "annotations", key], text));
    };
    set(METRICS, text(&metrics, metrics.is_empty()));
    set(BEHAVIOR, behavior.map(Behavior::of_spec).and_then(|behavior| text(&behavior, false)));
    set(CURRENT, text(&current, current.is_empty()));
    set(CONDITIONS, text(&conditions, conditions.is_empty()));
}

fn text<T: Serialize>(value: &T, is_empty: bool) -> Option<String> {
    let text = serde_json::to_string(value).ok().filter(|_| !is_empty)?;
    // As `encoding/json` does for the sake of browsers.
    Some(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// A metric, or what it is at the moment. Both have the same fields but for the beginnings of some names.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<Of>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pods: Option<Of>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Of>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container_resource: Option<Of>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external: Option<Of>,
}

/// What is measured, and of what: the fields of all sorts of metrics, in an order that is right for each.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Of {
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_utilization: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_utilization: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Selector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    kind: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    #[serde(skip_serializing_if = "Map::is_empty")]
    match_labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

/// Whether a metric is what is wanted or what is at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Target,
    Current,
}

impl Side {
    /// The field of the second version.
    fn field(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Current => "current",
        }
    }
}

impl Metric {
    fn of_spec(metric: &Value) -> Self {
        Self::of(metric, Side::Target)
    }

    fn of_status(metric: &Value) -> Self {
        Self::of(metric, Side::Current)
    }

    fn into_spec(self) -> Value {
        self.into_value(Side::Target)
    }

    fn into_status(self) -> Value {
        self.into_value(Side::Current)
    }

    /// From the second version.
    fn of(metric: &Value, side: Side) -> Self {
        let part = |field: &str, sort: Sort| {
            metric.get(field).filter(|part| part.is_object()).map(|part| sort.of(part, side))
        };
        Self {
            kind: metric["type"].as_str().unwrap_or_default().to_owned(),
            object: part("object", Sort::Object),
            pods: part("pods", Sort::Pods),
            resource: part("resource", Sort::Resource),
            container_resource: part("containerResource", Sort::Resource),
            external: part("external", Sort::External),
        }
    }

    /// In the second version.
    fn into_value(self, side: Side) -> Value {
        let mut value = json!({"type": self.kind});
        let parts = [
            ("object", Sort::Object, self.object),
            ("pods", Sort::Pods, self.pods),
            ("resource", Sort::Resource, self.resource),
            ("containerResource", Sort::Resource, self.container_resource),
            ("external", Sort::External, self.external),
        ];
        for (field, sort, part) in parts {
            if let Some(part) = part {
                value[field] = sort.value(part, side);
            }
        }
        value
    }
}

/// How a sort of metrics is written in the first version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Object,
    Pods,
    Resource,
    External,
}

/// An amount that is written even when it is absent.
fn amount(value: Option<Value>) -> Option<Value> {
    Some(value.unwrap_or_else(|| "0".into()))
}

fn is_zero(value: &Value) -> bool {
    value == "0" || value.as_i64() == Some(0)
}

impl Sort {
    fn of(self, part: &Value, side: Side) -> Of {
        let numbers = &part[side.field()];
        let number = |field: &str| numbers.get(field).filter(|value| !value.is_null()).cloned();
        let name = |value: &Value| Some(value.as_str().unwrap_or_default().to_owned());
        let selector = || {
            let selector = part["metric"].get("selector").filter(|selector| !selector.is_null());
            selector.and_then(|selector| serde_json::from_value(selector.clone()).ok())
        };
        let (value, average) = (number("value"), number("averageValue"));
        let share = number("averageUtilization").and_then(|share| share.as_i64());
        let mut of = Of::default();
        let [target_value, target_average, current_value, current_average] = match (self, side) {
            (Self::Object, Side::Target) => {
                of.average_value = average;
                [amount(value), None, None, None]
            }
            (Self::Object, Side::Current) => {
                of.average_value = average;
                [None, None, amount(value), None]
            }
            (Self::Pods, Side::Target) => [None, amount(average), None, None],
            (Self::Pods | Self::Resource, Side::Current) => [None, None, None, amount(average)],
            (Self::Resource, Side::Target) => [None, average, None, None],
            (Self::External, Side::Target) => [value, average, None, None],
            (Self::External, Side::Current) => [None, None, amount(value), average],
        };
        (of.target_value, of.target_average_value) = (target_value, target_average);
        (of.current_value, of.current_average_value) = (current_value, current_average);
        match self {
            Self::Object => {
                of.target = serde_json::from_value(part["describedObject"].clone())
                    .ok()
                    .or_else(|| Some(Reference::default()));
                (of.metric_name, of.selector) = (name(&part["metric"]["name"]), selector());
            }
            Self::Pods => (of.metric_name, of.selector) = (name(&part["metric"]["name"]), selector()),
            Self::External => {
                (of.metric_name, of.metric_selector) = (name(&part["metric"]["name"]), selector());
            }
            Self::Resource => {
                of.name = name(&part["name"]);
                of.container = part.get("container").and_then(Value::as_str).map(str::to_owned);
                match side {
                    Side::Target => of.target_average_utilization = share,
                    Side::Current => of.current_average_utilization = share,
                }
            }
        }
        of
    }

    fn value(self, of: Of, side: Side) -> Value {
        let mut numbers = Map::new();
        let mut put = |field: &str, value: Option<Value>| {
            numbers.extend(value.map(|value| (field.to_owned(), value)));
        };
        match (self, side) {
            (Self::Object, Side::Target) => {
                let is_average = of.average_value.is_some();
                put("type", Some(if is_average { "AverageValue" } else { "Value" }.into()));
                let value = amount(of.target_value);
                put("value", value.filter(|value| !is_average || !is_zero(value)));
                put("averageValue", of.average_value);
            }
            (Self::Object, Side::Current) => {
                put("value", amount(of.current_value));
                put("averageValue", of.average_value);
            }
            (Self::Pods, Side::Target) => {
                put("type", Some("AverageValue".into()));
                put("averageValue", amount(of.target_average_value));
            }
            (Self::Pods, Side::Current) => put("averageValue", amount(of.current_average_value)),
            (Self::Resource, Side::Target) => {
                let is_share = of.target_average_utilization.is_some();
                put("type", Some(if is_share { "Utilization" } else { "AverageValue" }.into()));
                put("averageValue", of.target_average_value);
                put("averageUtilization", of.target_average_utilization.map(Into::into));
            }
            (Self::Resource, Side::Current) => {
                put("averageValue", amount(of.current_average_value));
                put("averageUtilization", of.current_average_utilization.map(Into::into));
            }
            (Self::External, Side::Target) => {
                let is_value = of.target_value.is_some();
                put("type", Some(if is_value { "Value" } else { "AverageValue" }.into()));
                put("value", of.target_value);
                put("averageValue", of.target_average_value);
            }
            (Self::External, Side::Current) => {
                put("value", amount(of.current_value));
                put("averageValue", of.current_average_value);
            }
        }
        let mut part = json!({side.field(): numbers});
        if self == Self::Resource {
            part["name"] = of.name.unwrap_or_default().into();
            of.container.into_iter().for_each(|container| part["container"] = container.into());
            return part;
        }
        part["metric"] = json!({"name": of.metric_name.unwrap_or_default()});
        if let Some(selector) = of.selector.or(of.metric_selector) {
            part["metric"]["selector"] = json!(selector);
        }
        if self == Self::Object {
            part["describedObject"] = json!(of.target.unwrap_or_default());
        }
        part
    }
}

/// The behaviour is written with the names of Go's fields.
#[derive(Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Behavior {
    scale_up: Option<Rules>,
    scale_down: Option<Rules>,
}

#[derive(Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rules {
    stabilization_window_seconds: Option<i64>,
    select_policy: Option<String>,
    policies: Option<Vec<Policy>>,
    tolerance: Option<Value>,
}

#[derive(Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    #[serde(rename = "Type")]
    kind: String,
    value: i64,
    period_seconds: i64,
}

impl Behavior {
    fn of_spec(behavior: &Value) -> Self {
        let rules = |field: &str| behavior.get(field).filter(|rules| rules.is_object()).map(Rules::of_spec);
        Self { scale_up: rules("scaleUp"), scale_down: rules("scaleDown") }
    }

    fn into_spec(self) -> Value {
        let rules = [("scaleUp", self.scale_up), ("scaleDown", self.scale_down)];
        let there =
            rules.into_iter().filter_map(|(field, rules)| Some((field.to_owned(), rules?.into_spec())));
        Value::Object(there.one_by_one())
    }
}

impl Rules {
    fn of_spec(rules: &Value) -> Self {
        let policies = rules["policies"].as_array().map(|policies| {
            let one = |policy: &Value| Policy {
                kind: policy["type"].as_str().unwrap_or_default().to_owned(),
                value: policy["value"].as_i64().unwrap_or(0),
                period_seconds: policy["periodSeconds"].as_i64().unwrap_or(0),
            };
            policies.iter().map(one).collect()
        });
        Self {
            stabilization_window_seconds: rules["stabilizationWindowSeconds"].as_i64(),
            select_policy: rules["selectPolicy"].as_str().map(str::to_owned),
            policies,
            tolerance: rules.get("tolerance").filter(|tolerance| !tolerance.is_null()).cloned(),
        }
    }

    fn into_spec(self) -> Value {
        let policies = self.policies.map(|policies| {
            let one = |policy: Policy| json!({"type": policy.kind, "value": policy.value, "periodSeconds": policy.period_seconds});
            policies.into_iter().map(one).collect::<Value>()
        });
        let fields = [
            ("stabilizationWindowSeconds", self.stabilization_window_seconds.map(Into::into)),
            ("selectPolicy", self.select_policy.map(Into::into)),
            ("policies", policies),
            ("tolerance", self.tolerance),
        ];
        let there = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
        Value::Object(there.one_by_one())
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    last_transition_time: Value,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
}
