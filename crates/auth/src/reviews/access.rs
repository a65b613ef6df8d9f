//! SubjectAccessReview, its local and self variants, and SelfSubjectRulesReview.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_identity::UserInfo;
use skiff_machinery::{
    FieldError, FieldErrors, Object,
    selector::{FieldOperator, FieldRequirement, FieldSelector},
};

use super::strings;
use crate::rbac::Rule;
use crate::{Attributes, Auth, Authorizer, Refusal};

impl Auth {
    /// Whether the user in `spec` may do what `spec` says; `local` is the namespace to which it is bound.
    pub(super) async fn subject_access(
        &self,
        request: &Object,
        local: Option<&str>,
        shown: &str,
    ) -> Result<Value, Refusal> {
        let user = UserInfo {
            name: request.str(&["spec", "user"]).to_owned(),
            uid: request.str(&["spec", "uid"]).to_owned(),
            groups: strings(request, &["spec", "groups"]),
            extra: extra(request),
        };
        let mut errors = what_is_wrong(request);
        if user.name.is_empty() && user.groups.is_empty() {
            let text = "at least one of user or group must be specified";
            errors.push(FieldError::invalid("spec.user", user.name.clone(), text));
        }
        errors.extend(what_is_wrong_with_selectors(request));
        errors.extend(what_is_told_of_itself(request, local, shown));
        if let Some(namespace) = local {
            errors.extend(what_is_not_local(request, namespace));
        }
        refuse(errors)?;
        Ok(self.answer(request, &user).await)
    }

    /// Whether the caller may do what `spec` says.
    pub(super) async fn self_access(
        &self,
        request: &Object,
        user: &UserInfo,
        shown: &str,
    ) -> Result<Value, Refusal> {
        let mut errors = what_is_wrong(request);
        errors.extend(what_is_wrong_with_selectors(request));
        errors.extend(what_is_told_of_itself(request, None, shown));
        refuse(errors)?;
        Ok(self.answer(request, user).await)
    }

    async fn answer(&self, request: &Object, user: &UserInfo) -> Value {
        let resource = |field: &str| request.str(&["spec", "resourceAttributes", field]);
        let path = request.str(&["spec", "nonResourceAttributes", "path"]);
        let fields = fields(request);
        let attributes = if request.get(&["spec", "resourceAttributes"]).is_some_and(Value::is_object) {
            Attributes {
                version: resource("version"),
                subresource: resource("subresource"),
                namespace: resource("namespace"),
                name: resource("name"),
                fields: fields.as_ref(),
                ..Attributes::resource(user, resource("verb"), resource("group"), resource("resource"))
            }
        } else {
            let verb = request.str(&["spec", "nonResourceAttributes", "verb"]);
            Attributes::non_resource(user, verb, path)
        };
        let decision = self.authorize(&attributes).await;
        let mut status = Map::from_iter([("allowed".to_owned(), Value::Bool(decision.is_allowed()))]);
        if decision.is_denied() {
            status.insert("denied".to_owned(), true.into());
        }
        if !decision.reason().is_empty() {
            status.insert("reason".to_owned(), decision.reason().into());
        }
        if let Some(error) = decision.error() {
            status.insert("evaluationError".to_owned(), error.into());
        }
        Value::Object(status)
    }

    /// Every rule that holds for the caller in a namespace.
    pub(super) async fn self_rules(&self, request: &Object, user: &UserInfo) -> Result<Value, Refusal> {
        let namespace = request.str(&["spec", "namespace"]);
        if namespace.is_empty() {
            return Err(Refusal::BadRequest("no namespace on request".to_owned()));
        }
        self.catch_up().await;
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for authorizer in &*self.authorizers() {
            match authorizer {
                Authorizer::Node if user.node_name().is_some() => {
                    problems.push("node authorizer does not support user rule resolution".to_owned());
                }
                Authorizer::Rbac => {
                    let (held, troubles) = self.0.policy.read().rules_of(user, namespace);
                    rules.extend(held);
                    problems.extend(troubles);
                }
                Authorizer::AlwaysAllow => rules.extend(Rule::everything()),
                Authorizer::Other(other) => problems.push(other.without_rules().to_owned()),
                Authorizer::Node | Authorizer::AlwaysDeny => {}
            }
        }
        let (paths, resources): (Vec<&Rule>, Vec<&Rule>) =
            rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
        let mut status = json!({
            "resourceRules": resources,
            "nonResourceRules": paths,
            "incomplete": !problems.is_empty(),
        });
        if !problems.is_empty() {
            status["evaluationError"] = problems.join(", ").into();
        }
        Ok(status)
    }
}

fn refuse(errors: FieldErrors) -> Result<(), Refusal> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Refusal::Invalid { group: "authorization.k8s.io", kind: "", name: String::new(), errors })
}

/// An error that shows what is asked about that is no resource, as Kubernetes' own type has it.
fn wrong_path(other: &Value, detail: &str) -> FieldError {
    let text = |field: &str| Value::from(other[field].as_str().unwrap_or_default());
    let shown = format!("{{\"Path\":{},\"Verb\":{}}}", text("path"), text("verb"));
    FieldError::invalid("spec.nonResourceAttributes", Value::Null, detail).showing(shown)
}

fn what_is_wrong(request: &Object) -> FieldErrors {
    let given = |field: &str| request.get(&["spec", field]).filter(|value| value.is_object());
    match (given("resourceAttributes"), given("nonResourceAttributes")) {
        (Some(_), Some(other)) => {
            [wrong_path(other, "cannot be specified in combination with resourceAttributes")].into()
        }
        (None, None) => [FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )]
        .into(),
        _ => FieldErrors::new(),
    }
}

/// A review has no metadata but what the server gives it: a namespace if it is `local`, and its managers.
fn what_is_told_of_itself(request: &Object, local: Option<&str>, shown: &str) -> FieldErrors {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) => false,
    };
    let given = |key: &str| key == "managedFields" || (key == "namespace" && local.is_some());
    let metadata = request.get(&["metadata"]).and_then(Value::as_object);
    if metadata.into_iter().flatten().all(|(key, value)| given(key) || is_empty(value)) {
        return FieldErrors::new();
    }
    let why = if local.is_some() { "must be empty except for namespace" } else { "must be empty" };
    [FieldError::invalid("metadata", Value::Null, why).showing(shown.to_owned())].into()
}

/// The field selector that is asked about. As in requests, one that cannot be understood narrows nothing.
fn fields(request: &Object) -> Option<FieldSelector> {
    let selector = request.get(&["spec", "resourceAttributes", "fieldSelector"])?;
    if let Some(raw) = selector["rawSelector"].as_str().filter(|raw| !raw.is_empty()) {
        return FieldSelector::parse(raw).ok();
    }
    let requirements = selector["requirements"].as_array()?.iter().flat_map(|requirement| {
        let label = requirement["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            requirement["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let operator = match (requirement["operator"].as_str(), values.len()) {
            (Some("In"), 1) => Some(FieldOperator::Equals),
            (Some("NotIn"), _) => Some(FieldOperator::NotEquals),
            // The rest can only narrow further.
            _ => None,
        };
        let one = move |value: &str| {
            operator.map(|operator| FieldRequirement {
                label: label.to_owned(),
                operator,
                value: value.to_owned(),
            })
        };
        values.into_iter().filter_map(one).collect::<Vec<_>>()
    });
    Some(FieldSelector::of(requirements.collect()))
}

/// A selector is given as text or as requirements.
fn what_is_wrong_with_selectors(request: &Object) -> FieldErrors {
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

fn what_is_not_local(request: &Object, namespace: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let given = |field: &str| request.get(&["spec", field]).filter(|value| value.is_object());
    if let Some(other) = given("nonResourceAttributes") {
        errors.push(wrong_path(other, "disallowed on this kind of request"));
    }
    let asked = request.str(&["spec", "resourceAttributes", "namespace"]);
    if given("resourceAttributes").is_some() && asked != namespace {
        let text = "must match metadata.namespace";
        errors.push(FieldError::invalid("spec.resourceAttributes.namespace", asked, text));
    }
    errors
}

fn extra(request: &Object) -> BTreeMap<String, Vec<String>> {
    let map = request.get(&["spec", "extra"]).and_then(Value::as_object);
    let keys = map.into_iter().flatten().map(|(key, _)| key);
    keys.map(|key| (key.to_lowercase(), strings(request, &["spec", "extra", key]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_text_or_requirements() {
        let request = |selector: Value| {
            Object::from_value(json!({"spec": {"resourceAttributes": {"fieldSelector": selector}}})).unwrap()
        };
        let check = |selector: Value, expected: Option<&str>| {
            let found = fields(&request(selector));
            assert_eq!(found, expected.map(|text| FieldSelector::parse(text).unwrap()));
        };
        check(json!({"rawSelector": "spec.nodeName=n"}), Some("spec.nodeName=n"));
        check(json!({"rawSelector": "spec.nodeName"}), None);
        check(
            json!({"requirements": [
                {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                {"key": "status.phase", "operator": "NotIn", "values": ["a", "b"]},
                {"key": "x", "operator": "In", "values": ["a", "b"]},
            ]}),
            Some("spec.nodeName=n,status.phase!=a,status.phase!=b"),
        );
        let wrong = |selector: Value| what_is_wrong_with_selectors(&request(selector)).len();
        assert_eq!(wrong(json!({"rawSelector": "a=b"})), 0);
        assert_eq!(wrong(json!({})), 1);
        assert_eq!(wrong(json!({"rawSelector": "a=b", "requirements": [{"key": "a"}]})), 1);
        assert_eq!(wrong(json!({"requirements": [{"key": "a", "operator": "In"}]})), 1);
        assert_eq!(wrong(json!({"requirements": [{"operator": "Exists", "values": ["x"]}]})), 2);
        assert_eq!(wrong(json!({"requirements": [{"key": "a", "operator": "New", "values": ["x"]}]})), 0);
    }

    #[test]
    fn reviews_have_no_metadata() {
        let check = |metadata: Value, local: Option<&str>, right: bool| {
            let request = Object::from_value(json!({"metadata": metadata})).unwrap();
            let errors = what_is_told_of_itself(&request, local, "{}");
            assert_eq!(errors.is_empty(), right, "{request:?}");
        };
        check(json!({}), None, true);
        check(json!({"managedFields": [{"manager": "m"}], "labels": {}}), None, true);
        check(json!({"namespace": "a"}), Some("a"), true);
        check(json!({"namespace": "a"}), None, false);
        check(json!({"name": "x"}), None, false);
        check(json!({"labels": {"a": "b"}}), Some("a"), false);
    }
}
