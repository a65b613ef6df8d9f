//! Role, ClusterRole, RoleBinding, ClusterRoleBinding.

use jiff::Timestamp;
use serde_json::{Value, json};

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::RBAC;
use crate::row::stored;
use crate::shared::defaults::{existing_mut, fill_text, list_mut};
use skiff_machinery::cells::{self, age, age_column, items, name_column, str_of, text, wide};
use skiff_machinery::names::Form;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};

/// The kinds of the group, alphabetically by plural name.
pub(crate) fn rows(schema: &Arc<Schema>) -> Vec<Kind> {
    vec![
        binding(schema, "io.k8s.api.rbac.v1.ClusterRoleBinding", Scope::Cluster),
        role(schema, "io.k8s.api.rbac.v1.ClusterRole", Scope::Cluster),
        binding(schema, "io.k8s.api.rbac.v1.RoleBinding", Scope::Namespaced),
        role(schema, "io.k8s.api.rbac.v1.Role", Scope::Namespaced),
    ]
}

fn role(schema: &Arc<Schema>, definition: &'static str, scope: Scope) -> Kind {
    Kind {
        columns: vec![name_column(), cells::date("Created At", "When the object was created.")],
        print: Printer::Fixed(|object, _| {
            cells::row([object.name().into(), object.str(&["metadata", "creationTimestamp"]).into()])
        }),
        ..stored(schema, RBAC, definition, scope, RoleStrategy(scope))
    }
}

fn binding(schema: &Arc<Schema>, definition: &'static str, scope: Scope) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Role", "The role that is granted."),
            age_column(),
            wide("Users", "Users that it is granted to."),
            wide("Groups", "Groups that it is granted to."),
            wide("ServiceAccounts", "Service accounts that it is granted to."),
        ],
        print: Printer::Fixed(print_binding),
        ..stored(schema, RBAC, definition, scope, BindingStrategy(scope))
    }
}

fn print_binding(object: &Object, now: Timestamp) -> Row {
    let subjects = |kind: &str| {
        let subjects = items(object, &["subjects"]).iter().filter(|subject| str_of(subject, "kind") == kind);
        subjects.map(subject_name).collect::<Vec<_>>().join(", ")
    };
    let role = format!("{}/{}", object.str(&["roleRef", "kind"]), object.str(&["roleRef", "name"]));
    cells::row([
        object.name().into(),
        role.into(),
        age(object, now),
        subjects("User").into(),
        subjects("Group").into(),
        subjects("ServiceAccount").into(),
    ])
}

fn subject_name(subject: &Value) -> String {
    match str_of(subject, "namespace") {
        "" => str_of(subject, "name").to_owned(),
        namespace => format!("{namespace}/{}", str_of(subject, "name")),
    }
}

/// What is special about Roles and ClusterRoles.
struct RoleStrategy(Scope);

impl Strategy for RoleStrategy {
    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let rules = items(object, &["rules"]).iter().enumerate();
        let mut errors: FieldErrors =
            rules.flat_map(|(index, rule)| validate_rule(&format!("rules[{index}]"), rule, self.0)).collect();
        let selectors = ["aggregationRule", "clusterRoleSelectors"];
        if object.get(&["aggregationRule"]).is_some_and(Value::is_object)
            && items(object, &selectors).is_empty()
        {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required("aggregationRule.clusterRoleSelectors", detail));
        }
        for (index, selector) in items(object, &selectors).iter().enumerate() {
            let path = format!("aggregationRule.clusterRoleSelectors[{index}]");
            let wrong = selector::validate(&path, selector, Values::Checked);
            let is_wrong = !wrong.is_empty();
            errors.extend(wrong);
            if is_wrong {
                errors.push(FieldError::invalid(path, Value::Null, "invalid label selector."));
            }
        }
        errors
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

fn validate_rule(path: &str, rule: &Value, scope: Scope) -> FieldErrors {
    let list = |field: &str| rule.get(field).and_then(Value::as_array).filter(|list| !list.is_empty());
    let mut errors = FieldErrors::new();
    if list("verbs").is_none() {
        let detail = "verbs must contain at least one value";
        errors.push(FieldError::required(format!("{path}.verbs"), detail));
    }
    if let Some(urls) = list("nonResourceURLs") {
        let mut refuse = |detail| {
            errors.push(FieldError::invalid(format!("{path}.nonResourceURLs"), json!(urls), detail));
        };
        if scope == Scope::Namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| list(field).is_some()) {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
        return errors;
    }
    for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
        if list(field).is_none() {
            let detail = format!("resource rules must supply at least one {what}");
            errors.push(FieldError::required(format!("{path}.{field}"), detail));
        }
    }
    errors
}

/// What is special about RoleBindings and ClusterRoleBindings.
struct BindingStrategy(Scope);

impl Strategy for BindingStrategy {
    fn default(&self, object: &mut Object) {
        if let Some(role) = existing_mut(object.as_map_mut(), "roleRef") {
            fill_text(role, "apiGroup", &RBAC.group);
        }
        for subject in list_mut(object.as_map_mut(), "subjects") {
            if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
                fill_text(subject, "apiGroup", &RBAC.group);
            }
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_role_ref(object, self.0);
        for (index, subject) in items(object, &["subjects"]).iter().enumerate() {
            errors.extend(validate_subject(&format!("subjects[{index}]"), subject, self.0));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        if new.get(&["roleRef"]) != old.get(&["roleRef"]) {
            let field = |name: &str| Value::from(new.str(&["roleRef", name]));
            // As Kubernetes' own type has it.
            let (group, kind, name) = (field("apiGroup"), field("kind"), field("name"));
            let shown = format!(r#"{{"APIGroup":{group},"Kind":{kind},"Name":{name}}}"#);
            errors.push(FieldError::invalid("roleRef", Value::Null, "cannot change roleRef").showing(shown));
        }
        errors
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

fn validate_role_ref(object: &Object, scope: Scope) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let group = object.str(&["roleRef", "apiGroup"]);
    if group != RBAC.group {
        errors.push(FieldError::not_supported("roleRef.apiGroup", group, &[&RBAC.group]));
    }
    let kinds: &[&str] = match scope {
        Scope::Namespaced => &["Role", "ClusterRole"],
        Scope::Cluster => &["ClusterRole"],
    };
    let kind = object.str(&["roleRef", "kind"]);
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
    }
    match object.str(&["roleRef", "name"]) {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => errors.extend(Form::PathSegment.check("roleRef.name", name)),
    }
    errors
}

fn validate_subject(path: &str, subject: &Value, scope: Scope) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let (kind, group) = (str_of(subject, "kind"), str_of(subject, "apiGroup"));
    let name = str_of(subject, "name");
    let mut errors = FieldErrors::new();
    if name.is_empty() {
        errors.push(FieldError::required(at("name"), ""));
    }
    let expected: &str = match kind {
        "ServiceAccount" => "",
        "User" | "Group" => &RBAC.group,
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(at("kind"), kind, &kinds));
            return errors;
        }
    };
    if group != expected {
        errors.push(FieldError::not_supported(at("apiGroup"), group, &[expected]));
    }
    if kind == "ServiceAccount" {
        if !name.is_empty() {
            errors.extend(Form::Subdomain.check(&at("name"), name));
        }
        if scope == Scope::Cluster && str_of(subject, "namespace").is_empty() {
            errors.push(FieldError::required(at("namespace"), ""));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn checks_rules() {
        let check = |rule: Value, scope: Scope, expected: &[&str]| {
            assert_eq!(texts(validate_rule("r", &rule, scope)), expected);
        };
        let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        check(pods, Scope::Namespaced, &[]);
        check(
            json!({"resources": ["pods"]}),
            Scope::Cluster,
            &[
                "r.verbs: Required value: verbs must contain at least one value",
                "r.apiGroups: Required value: resource rules must supply at least one api group",
            ],
        );
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]});
        check(urls.clone(), Scope::Cluster, &[]);
        check(
            urls,
            Scope::Namespaced,
            &[
                r#"r.nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs"#,
            ],
        );
    }

    #[test]
    fn checks_bindings() {
        let check = |value: Value, scope: Scope, expected: &[&str]| {
            let mut binding = object(value);
            BindingStrategy(scope).default(&mut binding);
            assert_eq!(texts(with_context(|cx| BindingStrategy(scope).validate(cx, &binding))), expected);
        };
        let role = json!({"kind": "ClusterRole", "name": "view"});
        let account = json!([{"kind": "ServiceAccount", "name": "a"}]);
        check(json!({"roleRef": role, "subjects": [{"kind": "User", "name": "u"}]}), Scope::Cluster, &[]);
        check(json!({"roleRef": role, "subjects": account}), Scope::Namespaced, &[]);
        check(
            json!({"roleRef": role, "subjects": account}),
            Scope::Cluster,
            &["subjects[0].namespace: Required value"],
        );
        check(
            json!({"roleRef": {"kind": "Role", "name": "r"}}),
            Scope::Cluster,
            &[r#"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#],
        );
    }

    #[test]
    fn the_role_stays() {
        let binding = |name: &str| {
            let role = json!({"kind": "ClusterRole", "name": name, "apiGroup": RBAC.group});
            object(json!({ "roleRef": role }))
        };
        let strategy = BindingStrategy(Scope::Cluster);
        let errors = with_context(|cx| strategy.validate_update(cx, &binding("a"), &binding("b")));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().ends_with("cannot change roleRef"));
    }
}
