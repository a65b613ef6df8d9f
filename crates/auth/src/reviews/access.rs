//! SubjectAccessReview, its local and self variants, and SelfSubjectRulesReview.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_identity::UserInfo;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::selectors::{Narrowing, what_is_wrong_with_selectors};
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
        let narrowing = Narrowing::of(request);
        let attributes = if request.get(&["spec", "resourceAttributes"]).is_some_and(Value::is_object) {
            Attributes {
                version: Some(resource("version")).filter(|version| !version.is_empty()).unwrap_or("*"),
                subresource: resource("subresource"),
                namespace: resource("namespace"),
                name: resource("name"),
                fields: narrowing.fields.as_ref(),
                labels: narrowing.labels.as_ref(),
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
        let errors: Vec<&str> =
            decision.error().into_iter().chain(narrowing.ignored.iter().map(|text| &**text)).collect();
        if !errors.is_empty() {
            status.insert("evaluationError".to_owned(), errors.join("; ").into());
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
        let (mut rules, mut problems, mut unlisted) = (Vec::new(), Vec::new(), Vec::new());
        for authorizer in &*self.authorizers() {
            match authorizer {
                // What it allows cannot be listed.
                Authorizer::Node if user.node_name().is_some() => {
                    unlisted.push("node authorizer does not support user rule resolution".to_owned());
                }
                // Of a role that is missing it is known that it allows nothing.
                Authorizer::Rbac => {
                    let (held, troubles) = self.0.policy.read().rules_of(user, namespace);
                    rules.extend(held);
                    problems.extend(troubles);
                }
                Authorizer::Abac(policies) => rules.extend(policies.rules_of(user, namespace)),
                Authorizer::AlwaysAllow => rules.extend(Rule::everything()),
                Authorizer::Other(other) => unlisted.push(other.without_rules().to_owned()),
                Authorizer::Node | Authorizer::AlwaysDeny => {}
            }
        }
        let (paths, resources): (Vec<&Rule>, Vec<&Rule>) =
            rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
        let mut status = json!({
            "resourceRules": resources,
            "nonResourceRules": paths,
            "incomplete": !unlisted.is_empty(),
        });
        if let Some(why) = together(unlisted.into_iter().chain(problems)) {
            status["evaluationError"] = why.into();
        }
        Ok(status)
    }
}

/// Several errors as Kubernetes shows them: each once, in brackets if there are more.
fn together(errors: impl Iterator<Item = String>) -> Option<String> {
    let mut known: Vec<String> = Vec::new();
    errors.for_each(|error| {
        if !known.contains(&error) {
            known.push(error);
        }
    });
    match known.len() {
        0 => None,
        1 => known.pop(),
        _ => Some(format!("[{}]", known.join(", "))),
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
