//! The Scale subresource: `spec.replicas` of a controller as an object of its own.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_ordered::Ordered as _;

use crate::{Column, FieldError, Object, Row, cells, selector};

/// The metadata that a Scale shares with its object.
const SHARED: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

/// Where an object's replicas are: paths of field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Of the number that is wanted.
    pub spec: Vec<String>,
    /// Of the number that there is.
    pub status: Vec<String>,
    /// Of the selector of its pods: labels, a LabelSelector, or a selector as text.
    pub selector: Option<Vec<String>>,
    /// Whether there is no Scale of an object that does not say how many it wants.
    pub must_say: bool,
}

impl Default for Paths {
    /// Those of the built-in controllers.
    fn default() -> Self {
        let path = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        Self {
            spec: path(["spec", "replicas"]),
            status: path(["status", "replicas"]),
            selector: Some(path(["spec", "selector"])),
            must_say: false,
        }
    }
}

impl Paths {
    /// The number of replicas that is wanted; none where the object does not say it.
    pub fn replicas(&self, object: &Object) -> Option<i64> {
        number_at(object, &self.spec)
    }

    /// Sets the number of replicas that is wanted.
    pub fn set_replicas(&self, object: &mut Object, replicas: i64) {
        object.set(&names(&self.spec), replicas);
    }

    /// Where the number of replicas is that is wanted.
    pub fn path(&self) -> Vec<&str> {
        names(&self.spec)
    }

    /// Makes the object say nothing of the number of replicas that is wanted.
    pub fn drop_replicas(&self, object: &mut Object) {
        object.remove(&names(&self.spec));
    }

    /// As in CustomResourceDefinitions, e.g. `.spec.replicas`.
    fn shown(path: &[String]) -> String {
        path.iter().map(|name| format!(".{name}")).collect()
    }
}

fn names(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// An object does not say how many replicas it wants; the path where it should.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the spec replicas field {0:?} does not exist")]
pub struct NoReplicas(String);

/// The `autoscaling/v1` Scale of an object.
///
/// # Errors
/// When the object does not say how many replicas it wants, and has to.
pub fn of(object: &Object, paths: &Paths) -> Result<Object, NoReplicas> {
    if paths.must_say && number_at(object, &paths.spec).is_none() {
        return Err(NoReplicas(Paths::shown(&paths.spec)));
    }
    Ok(of_any(object, paths))
}

fn number_at(object: &Object, path: &[String]) -> Option<i64> {
    object.get(&names(path)).and_then(Value::as_i64)
}

/// The same, of an object that may say nothing: it wants none.
pub fn of_any(object: &Object, paths: &Paths) -> Object {
    let wanted = number_at(object, &paths.spec).unwrap_or(0);
    let metadata: Map<String, Value> = SHARED
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(&["metadata", field])?.clone())))
        .one_by_one();
    let mut scale = Object::default();
    scale.set(&["kind"], "Scale");
    scale.set(&["apiVersion"], "autoscaling/v1");
    scale.set(&["metadata"], metadata);
    scale.set(&["spec"], json!({}));
    // As Kubernetes writes it: none is left out.
    if wanted != 0 {
        scale.set(&["spec", "replicas"], wanted);
    }
    scale.set(&["status"], json!({ "replicas": number_at(object, &paths.status).unwrap_or(0) }));
    let selector = paths.selector.as_deref().and_then(|path| object.get(&names(path)));
    let selector = selector_text(selector);
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector);
    }
    scale
}

/// The number of replicas that a Scale asks for. Whether a negative one is refused here, or by the validation of the
/// object, is for `checked` to say.
///
/// # Errors
/// When it is none that an object can have.
pub fn replicas(scale: &Object, checked: bool) -> Result<i64, FieldError> {
    const FIELD: &str = "spec.replicas";
    let value = match scale.get(&["spec", "replicas"]) {
        None | Some(Value::Null) => return Ok(0),
        Some(value) => value,
    };
    let invalid = |why: &str| Err(FieldError::invalid(FIELD, value.clone(), why));
    match value.as_i64() {
        None => invalid("must be an integer"),
        Some(negative) if negative < 0 && checked => invalid("must be greater than or equal to 0"),
        Some(huge) if huge > i64::from(i32::MAX) => invalid("must be less than or equal to 2147483647"),
        Some(right) => Ok(right),
    }
}

/// The columns of its Table.
pub fn columns() -> Vec<Column> {
    vec![
        cells::text("Name", "Name of the object."),
        cells::integer("Desired", "Number of replicas that are wanted."),
        cells::integer("Available", "Number of replicas that there are."),
        cells::age_column(),
    ]
}

/// A row of its Table.
pub fn print(scale: &Object, now: Timestamp) -> Row {
    cells::row([
        scale.name().into(),
        number(scale, "spec").into(),
        number(scale, "status").into(),
        cells::age(scale, now),
    ])
}

fn number(object: &Object, part: &str) -> i64 {
    object.get(&[part, "replicas"]).and_then(Value::as_i64).unwrap_or(0)
}

/// A selector as text: a map of labels, a LabelSelector, or what is text already.
fn selector_text(selector: Option<&Value>) -> String {
    if let Some(text) = selector.and_then(Value::as_str) {
        return text.to_owned();
    }
    let is_structured = |map: &Map<String, Value>| map.values().any(|value| !value.is_string());
    if let Some(selector) = selector.filter(|selector| selector.as_object().is_some_and(is_structured)) {
        return selector::shown(selector).unwrap_or_default();
    }
    let pairs = selector.and_then(Value::as_object).into_iter().flatten();
    let texts: Vec<String> =
        pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_replicas_and_selector() {
        let controller = Object::from_value(json!({
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"app": "kubia", "tier": "web"}},
            "status": {"replicas": 2},
        }));
        let scale = of(&controller.unwrap(), &Paths::default()).unwrap();
        let expected = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7"},
            "spec": {"replicas": 3},
            "status": {"replicas": 2, "selector": "app=kubia,tier=web"},
        });
        assert_eq!(scale.clone().into_value(), expected);
        let selected = json!({"matchLabels": {"b": "c"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["z", "y"]}]});
        let set = Object::from_value(json!({"metadata": {}, "spec": {"selector": selected}})).unwrap();
        assert_eq!(of_any(&set, &Paths::default()).str(&["status", "selector"]), "a in (y,z),b=c");
        let cells = print(&scale, Timestamp::UNIX_EPOCH).cells;
        assert_eq!(cells[..3], [json!("kubia"), json!(3), json!(2)]);
    }

    #[test]
    fn replicas_are_those_of_an_object() {
        let check = |given: Value, expected: Result<i64, &str>| {
            let scale = Object::from_value(json!({"spec": {"replicas": given}})).unwrap();
            let found = replicas(&scale, true).map_err(|error| error.to_string());
            assert_eq!(
                found,
                expected.map_err(|why| format!("spec.replicas: Invalid value: {given}: {why}"))
            );
        };
        check(json!(7), Ok(7));
        check(json!(null), Ok(0));
        check(json!(-1), Err("must be greater than or equal to 0"));
        check(json!(99_999_999_999_i64), Err("must be less than or equal to 2147483647"));
        check(json!(1.5), Err("must be an integer"));
    }
}
