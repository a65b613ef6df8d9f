//! IngressClass: which controller serves Ingresses.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, NONE, age, age_column, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use super::reference;
use crate::groups::NETWORKING;
use crate::row::stored;
use crate::shared::check::{immutable, one_of_optional};
use crate::shared::defaults::fill;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Controller", "The controller that serves it."),
            text("Parameters", "An object with more about it."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, NETWORKING, "io.k8s.api.networking.v1.IngressClass", Scope::Cluster, ClassStrategy)
            .plural("ingressclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let parameters = match object.get(&["spec", "parameters"]).filter(|value| value.is_object()) {
        None => NONE.to_owned(),
        Some(value) => {
            let (kind, name) = (str_of(value, "kind"), str_of(value, "name"));
            match value.get("apiGroup").and_then(|group| group.as_str()) {
                None => format!("{kind}/{name}"),
                Some(group) => format!("{kind}.{group}/{name}"),
            }
        }
    };
    let name =
        if is_default(object) { format!("{} (default)", object.name()) } else { object.name().to_owned() };
    cells::row([name.into(), object.str(&["spec", "controller"]).into(), parameters.into(), age(object, now)])
}

/// The annotation of the class that is for Ingresses that name none.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether a class is for Ingresses that name none.
pub fn is_default(class: &Object) -> bool {
    class.annotations().get(DEFAULT) == Some(&"true")
}

/// Bytes in the name of a controller.
const LONGEST_CONTROLLER: usize = 250;

/// What is special about Ingress classes.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.as_map_mut().get_mut("spec").and_then(Value::as_object_mut);
        if let Some(parameters) = spec.and_then(|spec| spec.get_mut("parameters")?.as_object_mut()) {
            fill(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = controller(object.str(&["spec", "controller"]));
        let parameters = object.get(&["spec", "parameters"]).filter(|value| value.is_object());
        errors.extend(parameters.map(parameters_reference).unwrap_or_default());
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        const CONTROLLER: &[&str] = &["spec", "controller"];
        let [now, before] = [new, old].map(|object| Value::from(object.str(CONTROLLER)));
        let mut errors = immutable("spec.controller", Some(&now), Some(&before));
        errors.extend(self.validate(cx, new));
        errors
    }
}

/// The name of a controller: a domain and a path.
fn controller(name: &str) -> FieldErrors {
    const FIELD: &str = "spec.controller";
    let mut errors = FieldErrors::new();
    if name.len() > LONGEST_CONTROLLER {
        errors.push(FieldError::too_long(FIELD, LONGEST_CONTROLLER));
    }
    match name.split_once('/') {
        _ if name.is_empty() => errors.push(FieldError::required(FIELD, "")),
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            errors.extend(Form::Subdomain.check(FIELD, host));
            let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
            if !path.chars().all(fits) {
                let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                errors.push(FieldError::invalid(FIELD, path, detail));
            }
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(FIELD, name, detail));
        }
    }
    errors
}

fn parameters_reference(parameters: &Value) -> FieldErrors {
    let at = |field: &str| format!("spec.parameters.{field}");
    let mut errors = reference::check("spec.parameters", parameters);
    let namespace = parameters.get("namespace").and_then(Value::as_str);
    let scope = parameters.get("scope").and_then(Value::as_str);
    match (scope, namespace) {
        (None, _) => errors.push(FieldError::required(at("scope"), "")),
        (Some("Namespace"), None) => {
            errors.push(FieldError::required(at("namespace"), "`parameters.scope` is set to 'Namespace'"));
        }
        (Some("Namespace"), Some(namespace)) => {
            errors.extend(Form::DnsLabel.check(&at("namespace"), namespace))
        }
        (Some("Cluster"), Some(_)) => {
            errors.push(FieldError::forbidden(at("namespace"), "`parameters.scope` is set to 'Cluster'"));
        }
        (scope, _) => errors.extend(one_of_optional(&at("scope"), scope, &["Cluster", "Namespace"])),
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn controllers_have_a_domain_and_a_path() {
        let check = |name: &str, expected: &[&str]| assert_eq!(texts(controller(name)), expected);
        check("example.com/c", &[]);
        check("", &["spec.controller: Required value"]);
        let plain = r#"must be a domain-prefixed path (such as "acme.io/foo")"#;
        check("plain", &[&format!(r#"spec.controller: Invalid value: "plain": {plain}"#)]);
        check("a/", &[&format!(r#"spec.controller: Invalid value: "a/": {plain}"#)]);
    }

    #[test]
    fn parameters_are_in_a_namespace_if_they_say_so() {
        let check = |change: Value, expected: &[&str]| {
            let mut parameters = json!({"kind": "K", "name": "n"});
            for (field, value) in change.as_object().unwrap() {
                parameters[field] = value.clone();
            }
            assert_eq!(texts(parameters_reference(&parameters)), expected);
        };
        check(json!({"scope": "Cluster"}), &[]);
        check(json!({"scope": "Namespace", "namespace": "a"}), &[]);
        check(
            json!({"scope": "Namespace"}),
            &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        );
        check(
            json!({"scope": "Cluster", "namespace": "a"}),
            &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        );
        check(
            json!({"scope": "X", "kind": ""}),
            &[
                "spec.parameters.kind: Required value",
                r#"spec.parameters.scope: Unsupported value: "X": supported values: "Cluster", "Namespace""#,
            ],
        );
    }
}
