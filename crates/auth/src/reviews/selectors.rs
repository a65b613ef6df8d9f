//! By which selectors a review narrows what it asks about.

use serde_json::{Value, json};
use skiff_machinery::selector::{self, FieldOperator, FieldRequirement, FieldSelector, LabelSelector};
use skiff_machinery::{FieldError, FieldErrors, Object};

/// What is asked about is narrowed to these. What cannot be understood is left out: that can only ask for more.
pub(super) struct Narrowing {
    pub(super) fields: Option<FieldSelector>,
    pub(super) labels: Option<LabelSelector>,
    /// What was left out, in the words of Kubernetes.
    pub(super) ignored: Vec<String>,
}

impl Narrowing {
    /// What `spec.resourceAttributes` narrows it to.
    pub(super) fn of(request: &Object) -> Self {
        let mut ignored = Vec::new();
        let fields = read(
            request,
            "fieldSelector",
            |raw| Some(FieldSelector::parse(raw).ok()?.requirements().to_vec()),
            field,
            &mut ignored,
        );
        let labels = read(
            request,
            "labelSelector",
            |raw| Some(LabelSelector::parse(raw).ok()?.requirements().to_vec()),
            |one| selector::read(&json!({"matchExpressions": [one]}))?.requirements().first().cloned(),
            &mut ignored,
        );
        Self { fields: fields.map(FieldSelector::of), labels: labels.map(LabelSelector::of), ignored }
    }
}

/// The requirements of a selector, which is text or a list; none if there are none.
fn read<R>(
    request: &Object,
    name: &str,
    parse: impl Fn(&str) -> Option<Vec<R>>,
    one: impl Fn(&Value) -> Option<R>,
    ignored: &mut Vec<String>,
) -> Option<Vec<R>> {
    let selector =
        request.get(&["spec", "resourceAttributes", name]).filter(|selector| selector.is_object())?;
    let listed = selector["requirements"].as_array().filter(|list| !list.is_empty());
    let (requirements, is_whole) = match (listed, selector["rawSelector"].as_str()) {
        (Some(list), _) => {
            let known: Vec<R> = list.iter().filter_map(one).collect();
            let is_whole = known.len() == list.len();
            (known, is_whole)
        }
        (None, Some(raw)) if !raw.is_empty() => {
            let parsed = parse(raw);
            let is_whole = parsed.is_some();
            (parsed.unwrap_or_default(), is_whole)
        }
        _ => return None,
    };
    if !is_whole {
        let how = if requirements.is_empty() { "ignored" } else { "partially ignored" };
        ignored.push(format!("spec.resourceAttributes.{name} {how} due to parse error"));
    }
    Some(requirements).filter(|requirements| !requirements.is_empty())
}

/// A requirement of a field. Only one value is known to be compared.
fn field(requirement: &Value) -> Option<FieldRequirement> {
    let [value] = requirement["values"].as_array()?.as_slice() else { return None };
    let operator = match requirement["operator"].as_str()? {
        "In" => FieldOperator::Equals,
        "NotIn" => FieldOperator::NotEquals,
        _ => return None,
    };
    Some(FieldRequirement {
        label: requirement["key"].as_str()?.to_owned(),
        operator,
        value: value.as_str()?.to_owned(),
    })
}

/// A selector is given as text or as requirements.
pub(super) fn what_is_wrong_with_selectors(request: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for name in ["fieldSelector", "labelSelector"] {
        let path = ["spec", "resourceAttributes", name];
        let Some(selector) = request.get(&path).filter(|selector| selector.is_object()) else { continue };
        let raw = selector["rawSelector"].as_str().unwrap_or_default();
        let listed = selector["requirements"].as_array().is_some_and(|list| !list.is_empty());
        let path = path.join(".");
        match (raw.is_empty(), listed) {
            (false, true) => errors.push(FieldError::invalid(
                format!("{path}.rawSelector"),
                raw,
                "may not specified at the same time as requirements",
            )),
            (true, false) => errors.push(FieldError::required(
                format!("{path}.requirements"),
                format!("when {path} is specified, requirements or rawSelector is required"),
            )),
            _ => {}
        }
        let requirements = selector["requirements"].as_array().into_iter().flatten();
        for (i, requirement) in requirements.enumerate() {
            errors.extend(what_is_wrong_with(requirement, &format!("{path}.requirements[{i}]")));
        }
    }
    errors
}

/// Operators that are not known are taken: newer clients may know more.
fn what_is_wrong_with(requirement: &Value, path: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if requirement["key"].as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(format!("{path}.key"), "must be specified"));
    }
    let has_values = requirement["values"].as_array().is_some_and(|values| !values.is_empty());
    match (requirement["operator"].as_str(), has_values) {
        (Some("In" | "NotIn"), false) => errors.push(FieldError::required(
            format!("{path}.values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        (Some("Exists" | "DoesNotExist"), true) => errors.push(FieldError::forbidden(
            format!("{path}.values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        _ => {}
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, selector: Value) -> Object {
        Object::from_value(json!({"spec": {"resourceAttributes": {name: selector}}})).unwrap()
    }

    #[test]
    fn selectors_of_fields_are_text_or_requirements() {
        let check = |selector: Value, expected: Option<&str>, ignored: &[&str]| {
            let found = Narrowing::of(&request("fieldSelector", selector));
            assert_eq!(found.fields, expected.map(|text| FieldSelector::parse(text).unwrap()));
            assert_eq!(found.ignored, ignored);
        };
        let all = "spec.resourceAttributes.fieldSelector ignored due to parse error";
        check(json!({"rawSelector": "spec.nodeName=n"}), Some("spec.nodeName=n"), &[]);
        check(json!({"rawSelector": "spec.nodeName"}), None, &[all]);
        check(json!({"requirements": [{"key": "x", "operator": "Exists"}]}), None, &[all]);
        check(
            json!({"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                {"key": "status.phase", "operator": "NotIn", "values": ["a", "b"]},
                {"key": "status.phase", "operator": "NotIn", "values": ["c"]},
            ]}),
            Some("spec.nodeName=n,status.phase!=c"),
            &["spec.resourceAttributes.fieldSelector partially ignored due to parse error"],
        );
    }

    #[test]
    fn selectors_of_labels_are_text_or_requirements() {
        let check = |selector: Value, expected: Option<&str>, ignored: usize| {
            let found = Narrowing::of(&request("labelSelector", selector));
            assert_eq!(found.labels, expected.map(|text| LabelSelector::parse(text).unwrap()));
            assert_eq!(found.ignored.len(), ignored);
        };
        check(json!({"rawSelector": "a=b,!c"}), Some("a=b,!c"), 0);
        check(json!({"rawSelector": "a in"}), None, 1);
        check(json!({"rawSelector": ""}), None, 0);
        check(
            json!({"requirements": [
                {"key": "a", "operator": "In", "values": ["x", "y"]},
                {"key": "b", "operator": "DoesNotExist"},
                {"key": "c", "operator": "Later", "values": ["x"]},
                {"key": "no label", "operator": "Exists"},
            ]}),
            Some("a in (x,y),!b"),
            1,
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |selector: Value| what_is_wrong_with_selectors(&request("fieldSelector", selector)).len();
        assert_eq!(wrong(json!({"rawSelector": "a=b"})), 0);
        assert_eq!(wrong(json!({})), 1);
        assert_eq!(wrong(json!({"rawSelector": "a=b", "requirements": [{"key": "a"}]})), 1);
        assert_eq!(wrong(json!({"requirements": [{"key": "a", "operator": "In"}]})), 1);
        assert_eq!(wrong(json!({"requirements": [{"operator": "Exists", "values": ["x"]}]})), 2);
        assert_eq!(wrong(json!({"requirements": [{"key": "a", "operator": "New", "values": ["x"]}]})), 0);
    }
}
