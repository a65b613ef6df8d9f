//! What is wrong with webhook configurations.

use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::configuration::Type;
use super::url::Url;
use crate::fields::{
    FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, one_of, validate_conditions, validate_rule,
};
use crate::selector::{self, Values};
use crate::surroundings::{items, text, texts};

const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const ANY_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];

/// How strictly a configuration is checked: what was accepted once may stay.
#[derive(Clone, Copy, Debug)]
struct Strictness {
    conditions: bool,
    side_effects: &'static [&'static str],
    versions: bool,
    names: bool,
    selectors: Values,
}

/// Checks a configuration that is about to be made, but for its metadata.
pub fn validate_configuration(object: &Object, of: Type) -> FieldErrors {
    let strict = Strictness {
        conditions: true,
        side_effects: NO_EFFECTS,
        versions: true,
        names: true,
        selectors: Values::Checked,
    };
    validate(object, of, strict)
}

/// Checks a configuration that is about to be changed, but for its metadata.
pub fn validate_configuration_update(new: &Object, old: &Object, of: Type) -> FieldErrors {
    let (new_hooks, old_hooks) = (hooks(new), hooks(old));
    let conditions = |hook: &Value| items(hook, "matchConditions").to_vec();
    let same_conditions = new_hooks.len() == old_hooks.len()
        && new_hooks.iter().zip(old_hooks).all(|(new, old)| conditions(new) == conditions(old));
    let no_effects = old_hooks.iter().all(|hook| NO_EFFECTS.contains(&text(hook, "sideEffects")));
    let strict = Strictness {
        conditions: !same_conditions,
        side_effects: if no_effects { NO_EFFECTS } else { ANY_EFFECTS },
        versions: old_hooks.iter().all(has_known_version),
        names: repeated_names(old_hooks, text_name).is_empty(),
        selectors: if old_hooks.iter().any(has_bad_selector) { Values::Tolerated } else { Values::Checked },
    };
    validate(new, of, strict)
}

fn hooks(object: &Object) -> &[Value] {
    object.get(&["webhooks"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_name(hook: &Value) -> &str {
    text(hook, "name")
}

fn has_known_version(hook: &Value) -> bool {
    let versions = texts(hook, "admissionReviewVersions");
    versions.is_empty() || versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str()))
}

fn has_bad_selector(hook: &Value) -> bool {
    ["namespaceSelector", "objectSelector"]
        .into_iter()
        .filter_map(|field| hook.get(field))
        .any(|selector| !selector::validate("", selector, Values::Checked).is_empty())
}

/// The places of hooks whose name an earlier one has.
fn repeated_names<'a>(hooks: &'a [Value], name: impl Fn(&'a Value) -> &'a str) -> Vec<usize> {
    let mut seen = std::collections::BTreeSet::new();
    hooks.iter().enumerate().filter(|(_, hook)| !seen.insert(name(hook))).map(|(index, _)| index).collect()
}

fn validate(object: &Object, of: Type, strict: Strictness) -> FieldErrors {
    let hooks = hooks(object);
    let repeated = if strict.names { repeated_names(hooks, text_name) } else { Vec::new() };
    let mut errors = FieldErrors::new();
    for (index, hook) in hooks.iter().enumerate() {
        let path = format!("webhooks[{index}]");
        errors.extend(validate_hook(&path, hook, of, strict));
        errors.extend(validate_versions(&format!("{path}.admissionReviewVersions"), hook, strict));
        let name = text(hook, "name");
        if !name.is_empty() && repeated.contains(&index) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
    errors
}

fn validate_hook(path: &str, hook: &Value, of: Type, strict: Strictness) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    errors.extend(qualified_name(at("name"), text(hook, "name")));
    for (index, rule) in items(hook, "rules").iter().enumerate() {
        errors.extend(validate_rule(&format!("{path}.rules[{index}]"), rule));
    }
    errors.extend(one_of(at("failurePolicy"), hook.get("failurePolicy"), FAILURE_POLICIES));
    errors.extend(one_of(at("matchPolicy"), hook.get("matchPolicy"), MATCH_POLICIES));
    let effects = hook.get("sideEffects").filter(|effects| !effects.is_null());
    if effects.is_none() {
        let why = format!("must specify one of {}", strict.side_effects.join(", "));
        errors.push(FieldError::required(at("sideEffects"), why));
    }
    errors.extend(one_of(at("sideEffects"), effects, strict.side_effects));
    if let Some(seconds) = hook.get("timeoutSeconds").and_then(Value::as_i64)
        && !(1..=30).contains(&seconds)
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(at("timeoutSeconds"), seconds, why));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = hook.get(field) {
            errors.extend(selector::validate(&at(field), selector, strict.selectors));
        }
    }
    if of == Type::Mutating {
        errors.extend(one_of(
            at("reinvocationPolicy"),
            hook.get("reinvocationPolicy"),
            REINVOCATION_POLICIES,
        ));
    }
    errors.extend(validate_client(&at("clientConfig"), hook.get("clientConfig").unwrap_or(&Value::Null)));
    if strict.conditions {
        errors.extend(validate_conditions(&at("matchConditions"), hook, false));
    }
    errors
}

/// A DNS name of at least three labels.
fn qualified_name(path: String, name: &str) -> Option<FieldError> {
    if name.is_empty() {
        return Some(FieldError::required(path, ""));
    }
    let problems = Form::Subdomain.problems(name);
    if !problems.is_empty() {
        return Some(FieldError::invalid(path, name, problems.join(",")));
    }
    let why = "should be a domain with at least three segments separated by dots";
    (name.split('.').count() < 3).then(|| FieldError::invalid(path, name, why))
}

fn validate_versions(path: &str, hook: &Value, strict: Strictness) -> FieldErrors {
    let versions = texts(hook, "admissionReviewVersions");
    let known = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        return [FieldError::required(path, format!("must specify one of {known}"))].into();
    }
    let mut errors = FieldErrors::new();
    for (index, version) in versions.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if versions.iter().take(index).any(|earlier| earlier == version) {
            errors.push(FieldError::invalid(at, version.as_str(), "duplicate version"));
        } else {
            errors.extend(Form::Rfc1035Label.check(&at, version));
        }
    }
    if strict.versions && !has_known_version(hook) {
        errors.push(FieldError::invalid(path, versions, format!("must include at least one of {known}")));
    }
    errors
}

fn validate_client(path: &str, client: &Value) -> FieldErrors {
    let part = |field: &str| client.get(field).filter(|part| !part.is_null());
    match (part("url"), part("service")) {
        (Some(url), None) => validate_url(&format!("{path}.url"), url.as_str().unwrap_or_default()),
        (None, Some(service)) => validate_service(&format!("{path}.service"), service),
        _ => [FieldError::required(path, "exactly one of url or service is required")].into(),
    }
}

const URL_FORM: &str = "; desired format: https://host[/path]";

fn validate_url(path: &str, text: &str) -> FieldErrors {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            return [FieldError::required(path, format!("url must be a valid URL: {why}{URL_FORM}"))].into();
        }
    };
    let mut errors = FieldErrors::new();
    let mut refuse = |value: &str, why: String| errors.push(FieldError::invalid(path, value, why));
    if url.scheme != "https" {
        refuse(&url.scheme, format!("'https' is the only allowed URL scheme{URL_FORM}"));
    }
    if url.host.is_empty() {
        refuse(url.host, format!("host must be specified{URL_FORM}"));
    }
    if let Some(user) = url.user {
        refuse(user, "user information is not permitted in the URL".to_owned());
    }
    if !url.fragment.is_empty() {
        refuse(url.fragment, "fragments are not permitted in the URL".to_owned());
    }
    if !url.query.is_empty() {
        refuse(url.query, "query parameters are not permitted in the URL".to_owned());
    }
    errors
}

fn validate_service(path: &str, service: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    // Kubernetes mixes up the two: a service without a name is told to lack a namespace.
    for (field, said) in [("namespace", "name"), ("name", "namespace")] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(format!("{path}.{said}"), ""));
        }
    }
    let port = service.get("port").and_then(Value::as_i64).unwrap_or_default();
    if !(1..=65535).contains(&port) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(format!("{path}.port"), port, why));
    }
    errors.extend(validate_path(&format!("{path}.path"), text(service, "path")));
    errors
}

fn validate_path(field: &str, path: &str) -> FieldErrors {
    let refuse = |why: String| FieldError::invalid(field, path, why);
    let empty = |index: usize| refuse(format!("segment[{index}] may not be empty"));
    match path {
        "" | "/" => return FieldErrors::new(),
        "//" => return [empty(0)].into(),
        _ => {}
    }
    let mut errors = FieldErrors::new();
    if !path.starts_with('/') {
        errors.push(refuse("must start with a '/'".to_owned()));
    }
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.push(empty(index));
            continue;
        }
        let problems = Form::Subdomain.problems(segment);
        errors.extend(problems.iter().map(|problem| refuse(format!("segment[{index}]: {problem}"))));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::default_configuration;
    use super::*;
    use crate::testing::object;

    fn hook(change: &Value) -> Value {
        let mut hook = json!({
            "name": "a.example.com", "clientConfig": {"url": "https://example.com/hook"},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        });
        change.as_object().unwrap().iter().for_each(|(field, value)| hook[field] = value.clone());
        hook
    }

    fn configured(changes: &[Value]) -> Object {
        let mut object = object(json!({"webhooks": changes.iter().map(hook).collect::<Vec<_>>()}));
        default_configuration(&mut object, Type::Mutating);
        object
    }

    fn texts(errors: FieldErrors) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    fn check(change: Value, expected: &[&str]) {
        let errors = validate_configuration(&configured(std::slice::from_ref(&change)), Type::Mutating);
        assert_eq!(texts(errors), expected, "{change}");
    }

    #[test]
    fn webhooks_are_checked() {
        check(json!({}), &[]);
        check(json!({"name": ""}), &["webhooks[0].name: Required value"]);
        check(
            json!({"name": "a.b"}),
            &[
                r#"webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots"#,
            ],
        );
        check(
            json!({"failurePolicy": "Maybe", "matchPolicy": "Maybe", "reinvocationPolicy": "Maybe", "timeoutSeconds": 31}),
            &[
                r#"webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore""#,
                r#"webhooks[0].matchPolicy: Unsupported value: "Maybe": supported values: "Equivalent", "Exact""#,
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                r#"webhooks[0].reinvocationPolicy: Unsupported value: "Maybe": supported values: "IfNeeded", "Never""#,
            ],
        );
        check(
            json!({"sideEffects": null}),
            &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        );
        check(
            json!({"sideEffects": "Some"}),
            &[
                r#"webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#,
            ],
        );
        check(
            json!({"admissionReviewVersions": []}),
            &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
        );
        check(
            json!({"admissionReviewVersions": ["v2", "v2"]}),
            &[
                r#"webhooks[0].admissionReviewVersions[1]: Invalid value: "v2": duplicate version"#,
                r#"webhooks[0].admissionReviewVersions: Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1"#,
            ],
        );
    }

    #[test]
    fn addresses_are_checked() {
        let url = |url: &str| json!({"clientConfig": {"url": url}});
        let both = ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"];
        check(json!({"clientConfig": {}}), &both);
        check(json!({"clientConfig": {"url": "https://a", "service": {"name": "a"}}}), &both);
        check(
            url("http://u:p@example.com?a=b#f"),
            &[
                r#"webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "u:p": user information is not permitted in the URL"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL"#,
            ],
        );
        check(
            url("https:///a"),
            &[
                r#"webhooks[0].clientConfig.url: Invalid value: "": host must be specified; desired format: https://host[/path]"#,
            ],
        );
        check(
            url(":"),
            &[
                r#"webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse ":": missing protocol scheme; desired format: https://host[/path]"#,
            ],
        );
        let service = |service: Value| json!({"clientConfig": {"service": service}});
        check(service(json!({"name": "a", "namespace": "b", "path": "/x/y/"})), &[]);
        check(
            service(json!({"name": "a", "port": 70000})),
            &[
                "webhooks[0].clientConfig.service.name: Required value",
                "webhooks[0].clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
            ],
        );
        check(
            service(json!({"namespace": "b", "path": "x//y"})),
            &[
                "webhooks[0].clientConfig.service.namespace: Required value",
                r#"webhooks[0].clientConfig.service.path: Invalid value: "x//y": must start with a '/'"#,
                r#"webhooks[0].clientConfig.service.path: Invalid value: "x//y": segment[0] may not be empty"#,
                r#"webhooks[0].clientConfig.service.path: Invalid value: "x//y": segment[1] may not be empty"#,
            ],
        );
        check(
            service(json!({"name": "a", "namespace": "b", "path": "//"})),
            &[r#"webhooks[0].clientConfig.service.path: Invalid value: "//": segment[0] may not be empty"#],
        );
    }

    #[test]
    fn what_was_accepted_once_may_stay() {
        let update = |new: &[Value], old: &[Value]| {
            let errors = validate_configuration_update(&configured(new), &configured(old), Type::Mutating);
            texts(errors)
        };
        let same = |change: Value| update(std::slice::from_ref(&change), std::slice::from_ref(&change));
        let condition =
            |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
        let selector = json!({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}});
        for change in [
            json!({"sideEffects": "Some"}),
            json!({"admissionReviewVersions": ["v2"]}),
            condition("bad"),
            selector,
        ] {
            assert_eq!(same(change.clone()), Vec::<String>::new(), "{change}");
        }
        assert_eq!(update(&[condition("bad")], &[condition("worse")]).len(), 1);
        assert_eq!(update(&[json!({"sideEffects": "Some"})], &[json!({})]).len(), 1);
        let twice = [json!({}), json!({})];
        assert_eq!(update(&twice, &twice), Vec::<String>::new());
        let duplicate = [r#"webhooks[1].name: Duplicate value: "a.example.com""#];
        assert_eq!(texts(validate_configuration(&configured(&twice), Type::Mutating)), duplicate);
        assert_eq!(update(&twice, &[json!({})]), duplicate);
    }
}
