//! SubjectAccessReview, its local and self variants, and SelfSubjectRulesReview.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_catalogue::{FieldError, FieldErrors, Object};

use super::strings;
use crate::auth::rbac::Rule;
use crate::auth::{Attributes, Auth, Decision, Refusal, UserInfo};

impl Auth {
    /// Whether the user in `spec` may do what `spec` says; `local` is the namespace to which it is bound.
    pub(super) async fn subject_access(
        &self,
        request: &Object,
        local: Option<&str>,
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
        if let Some(namespace) = local {
            errors.extend(what_is_not_local(request, namespace));
        }
        refuse("SubjectAccessReview", errors)?;
        Ok(self.answer(request, &user).await)
    }

    /// Whether the caller may do what `spec` says.
    pub(super) async fn self_access(&self, request: &Object, user: &UserInfo) -> Result<Value, Refusal> {
        refuse("SelfSubjectAccessReview", what_is_wrong(request))?;
        Ok(self.answer(request, user).await)
    }

    async fn answer(&self, request: &Object, user: &UserInfo) -> Value {
        let resource = |field: &str| request.str(&["spec", "resourceAttributes", field]);
        let path = request.str(&["spec", "nonResourceAttributes", "path"]);
        let attributes = if request.get(&["spec", "resourceAttributes"]).is_some_and(Value::is_object) {
            Attributes {
                version: resource("version"),
                subresource: resource("subresource"),
                namespace: resource("namespace"),
                name: resource("name"),
                field_selector: request.str(&["spec", "resourceAttributes", "fieldSelector", "rawSelector"]),
                ..Attributes::resource(user, resource("verb"), resource("group"), resource("resource"))
            }
        } else {
            let verb = request.str(&["spec", "nonResourceAttributes", "verb"]);
            Attributes::non_resource(user, verb, path)
        };
        let (allowed, reason) = match self.authorize(&attributes).await {
            Decision::Allow(reason) => (true, reason),
            Decision::Deny(reason) => (false, reason),
        };
        let mut status = Map::from_iter([("allowed".to_owned(), Value::Bool(allowed))]);
        if !reason.is_empty() {
            status.insert("reason".to_owned(), reason.into());
        }
        Value::Object(status)
    }

    /// Every rule that holds for the caller in a namespace.
    pub(super) async fn self_rules(&self, request: &Object, user: &UserInfo) -> Value {
        self.catch_up().await;
        let namespace = request.str(&["spec", "namespace"]);
        let (rules, mut problems) = self.0.policy.read().rules_of(user, namespace);
        let is_node = user.node_name().is_some();
        if is_node {
            problems.push("node authorizer does not support user rule resolution".to_owned());
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
        status
    }
}

fn refuse(kind: &'static str, errors: FieldErrors) -> Result<(), Refusal> {
    if errors.is_empty() { Ok(()) } else { Err(Refusal::Invalid { kind, name: String::new(), errors }) }
}

fn what_is_wrong(request: &Object) -> FieldErrors {
    let given = |field: &str| request.get(&["spec", field]).filter(|value| value.is_object());
    match (given("resourceAttributes"), given("nonResourceAttributes")) {
        (Some(_), Some(other)) => vec![FieldError::invalid(
            "spec.nonResourceAttributes",
            other.clone(),
            "cannot be specified in combination with resourceAttributes",
        )],
        (None, None) => vec![FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )],
        _ => Vec::new(),
    }
}

fn what_is_not_local(request: &Object, namespace: &str) -> FieldErrors {
    let mut errors = Vec::new();
    if request.get(&["spec", "nonResourceAttributes"]).is_some_and(Value::is_object) {
        let text = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", Value::Null, text));
    }
    let asked = request.str(&["spec", "resourceAttributes", "namespace"]);
    if asked != namespace {
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
