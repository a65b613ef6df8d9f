//! Ingress: which Services HTTP requests from outside reach, by host and path.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, NONE, age, age_column, items, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, Subresource, addresses,
};
use skiff_ordered::Ordered as _;
use skiff_schema::Schema;

use super::reference;
use crate::groups::NETWORKING;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Class", "The IngressClass whose controller serves it."),
            text("Hosts", "The hosts that it is for."),
            text("Address", "Where it is reached."),
            text("Ports", "The ports that it is served at."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, NETWORKING, "io.k8s.api.networking.v1.Ingress", Scope::Namespaced, IngressStrategy)
            .short(&["ing"])
            .plural("ingresses")
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let class = object.get(&["spec", "ingressClassName"]).and_then(|class| class.as_str()).unwrap_or(NONE);
    let ports = if items(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    cells::row([
        object.name().into(),
        class.into(),
        hosts(object).into(),
        address(object).into(),
        ports.into(),
        age(object, now),
    ])
}

/// The first three hosts, and how many rules there are besides.
fn hosts(object: &Object) -> String {
    let rules = items(object, &["spec", "rules"]);
    let named = rules.iter().map(|rule| str_of(rule, "host"));
    let named: Vec<&str> = named.filter(|host| !host.is_empty()).take(3).collect();
    // A rule after the third host counts, whether or not it has a host.
    let third = rules.iter().enumerate().filter(|(_, rule)| !str_of(rule, "host").is_empty()).nth(2);
    match (named.as_slice(), third) {
        ([], _) => "*".to_owned(),
        (some, Some((at, _))) if at + 1 < rules.len() => {
            format!("{} + {} more...", some.join(","), rules.len() - 3)
        }
        (some, _) => some.join(","),
    }
}

fn address(object: &Object) -> String {
    let points = items(object, &["status", "loadBalancer", "ingress"]).iter();
    let addresses = points.map(|point| match str_of(point, "ip") {
        "" => str_of(point, "hostname"),
        ip => ip,
    });
    let distinct: BTreeSet<&str> = addresses.filter(|address| !address.is_empty()).to_set();
    distinct.into_iter().collect::<Vec<_>>().join(",")
}

/// The annotation that named the class before there was a field for it.
pub const CLASS: &str = "kubernetes.io/ingress.class";

const KINDS_OF_PATH: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const NOT_IN_PATH: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const NOT_BEHIND_PATH: [&str; 2] = ["/..", "/."];

/// What is looked at closely. What was wrong before may stay wrong.
#[derive(Clone, Copy)]
struct Strict {
    secrets: bool,
    wildcard_rules: bool,
}

/// What is special about Ingresses.
struct IngressStrategy;

impl Strategy for IngressStrategy {
    fn folder(&self) -> Option<&'static str> {
        Some("ingress")
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({"loadBalancer": {}}));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = check(object, Strict { secrets: true, wildcard_rules: true });
        let class = object.get(&["spec", "ingressClassName"]).and_then(Value::as_str);
        if let (Some(class), Some(annotated)) = (class, object.annotations().get(CLASS))
            && class != *annotated
        {
            let detail = "must match `ingressClassName` when both are specified";
            errors.push(FieldError::invalid(format!("annotations.{CLASS}"), *annotated, detail));
        }
        errors
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let is_wrong = |entry: &Value| !Form::Subdomain.fits(secret(entry)) && !secret(entry).is_empty();
        let has_wrong_wildcard =
            |rule: &Value| str_of(rule, "host").contains('*') && !rule_value("", rule).is_empty();
        let strict = Strict {
            secrets: !items(old, &["spec", "tls"]).iter().any(is_wrong),
            wildcard_rules: !items(old, &["spec", "rules"]).iter().any(has_wrong_wildcard),
        };
        check(new, strict)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let before: Vec<&str> = points(old).iter().map(|point| str_of(point, "ip")).collect();
        let mut errors = FieldErrors::new();
        for (index, point) in points(new).iter().enumerate() {
            let at = |field: &str| format!("status.loadBalancer.ingress[{index}].{field}");
            let (ip, host) = (str_of(point, "ip"), str_of(point, "hostname"));
            if !ip.is_empty()
                && !before.contains(&ip)
                && let Err(detail) = addresses::ip(ip)
            {
                errors.push(FieldError::invalid(at("ip"), ip, detail));
            }
            if !host.is_empty() {
                errors.extend(Form::Subdomain.check(&at("hostname"), host));
                errors.extend(not_an_address(&at("hostname"), host));
            }
        }
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let is_unnamed = new.get(&["spec", "ingressClassName"]).is_none_or(Value::is_null);
        if old.is_none() && is_unnamed && new.annotations().contains_key(CLASS) {
            return vec![format!(
                "annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"
            )];
        }
        Vec::new()
    }
}

fn points(object: &Object) -> &[Value] {
    items(object, &["status", "loadBalancer", "ingress"])
}

fn secret(entry: &Value) -> &str {
    str_of(entry, "secretName")
}

fn check(object: &Object, strict: Strict) -> FieldErrors {
    let backend = object.get(&["spec", "defaultBackend"]).filter(|backend| backend.is_object());
    let rules = items(object, &["spec", "rules"]);
    let mut errors = FieldErrors::new();
    if rules.is_empty() && backend.is_none() {
        let given = object.get(&["spec", "rules"]).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(
            "spec",
            given,
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    errors.extend(backend.map(|backend| check_backend("spec.defaultBackend", backend)).unwrap_or_default());
    for (index, rule) in rules.iter().enumerate() {
        let (at, host) = (format!("spec.rules[{index}]"), str_of(rule, "host"));
        if !host.is_empty() {
            errors.extend(not_an_address(&format!("{at}.host"), host));
            errors.extend(check_host(&format!("{at}.host"), host));
        }
        if !host.contains('*') || strict.wildcard_rules {
            errors.extend(rule_value(&at, rule));
        }
    }
    for (index, entry) in items(object, &["spec", "tls"]).iter().enumerate() {
        let hosts = entry.get("hosts").and_then(Value::as_array).into_iter().flatten();
        for (place, host) in hosts.filter_map(Value::as_str).enumerate() {
            errors.extend(check_host(&format!("spec.tls[{index}].hosts[{place}]"), host));
        }
        if strict.secrets && !secret(entry).is_empty() {
            errors.extend(Form::Subdomain.check(&format!("spec.tls[{index}].secretName"), secret(entry)));
        }
    }
    if let Some(class) = object.get(&["spec", "ingressClassName"]).and_then(Value::as_str) {
        errors.extend(Form::Subdomain.check("spec.ingressClassName", class));
    }
    errors
}

fn not_an_address(path: &str, host: &str) -> Option<FieldError> {
    let detail = "must be a DNS name, not an IP address";
    addresses::ip(host).is_ok().then(|| FieldError::invalid(path, host, detail))
}

/// A host, or all below a domain.
fn check_host(path: &str, host: &str) -> FieldErrors {
    const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    if !host.contains('*') {
        return Form::Subdomain.check(path, host);
    }
    if host.strip_prefix("*.").is_some_and(|domain| Form::Subdomain.fits(domain)) {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, host, WILDCARD)].into()
}

fn rule_value(path: &str, rule: &Value) -> FieldErrors {
    let Some(http) = rule.get("http").filter(|http| http.is_object()) else { return FieldErrors::new() };
    let paths = http.get("paths").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let at = format!("{path}.http.paths");
    let mut errors = FieldErrors::new();
    if paths.is_empty() {
        errors.push(FieldError::required(at.as_str(), ""));
    }
    for (index, one) in paths.iter().enumerate() {
        errors.extend(check_path(&format!("{at}[{index}]"), one));
    }
    errors
}

fn check_path(path: &str, one: &Value) -> FieldErrors {
    let (at, location) = (format!("{path}.path"), str_of(one, "path"));
    let wrong = |detail: String| FieldError::invalid(at.as_str(), location, detail);
    let mut errors = FieldErrors::new();
    match one.get("pathType").and_then(Value::as_str) {
        None => {
            return [FieldError::required(format!("{path}.pathType"), "pathType must be specified")].into();
        }
        Some("Exact" | "Prefix") => {
            if !location.starts_with('/') {
                errors.push(wrong("must be an absolute path".to_owned()));
            }
            let inside = NOT_IN_PATH.iter().filter(|part| location.contains(**part));
            errors.extend(inside.map(|part| wrong(format!("must not contain '{part}'"))));
            let behind = NOT_BEHIND_PATH.iter().filter(|part| location.ends_with(**part));
            errors.extend(behind.map(|part| wrong(format!("cannot end with '{part}'"))));
        }
        Some("ImplementationSpecific") => {
            if !location.is_empty() && !location.starts_with('/') {
                errors.push(wrong("must be an absolute path".to_owned()));
            }
        }
        Some(kind) => {
            errors.push(FieldError::not_supported(format!("{path}.pathType"), kind, &KINDS_OF_PATH));
        }
    }
    errors.extend(check_backend(&format!("{path}.backend"), &one["backend"]));
    errors
}

fn check_backend(path: &str, backend: &Value) -> FieldErrors {
    let part = |name: &str| backend.get(name).filter(|part| part.is_object());
    match (part("resource"), part("service")) {
        (Some(_), Some(_)) => {
            [FieldError::invalid(path, "", "cannot set both resource and service backends")].into()
        }
        (Some(resource), None) => reference::check(&format!("{path}.resource"), resource),
        (None, Some(service)) => check_service(path, service),
        (None, None) => [FieldError::invalid(path, "", "resource or service backend is required")].into(),
    }
}

fn check_service(path: &str, service: &Value) -> FieldErrors {
    let mut errors = match str_of(service, "name") {
        "" => [FieldError::required(format!("{path}.service.name"), "")].into(),
        name => Form::DnsLabel.check(&format!("{path}.service.name"), name),
    };
    let port = &service["port"];
    let number = port.get("number").and_then(Value::as_i64).unwrap_or_default();
    match (str_of(port, "name"), number) {
        ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
        ("", number) => {
            errors.extend(crate::shared::check::port(&format!("{path}.service.port.number"), number));
        }
        (name, 0) => errors.extend(Form::PortName.check(&format!("{path}.service.port.name"), name)),
        _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn ingress(spec: Value) -> Object {
        object(json!({ "spec": spec }))
    }

    fn found(spec: Value) -> Vec<String> {
        texts(with_context(|cx| IngressStrategy.validate(cx, &ingress(spec))))
    }

    #[test]
    fn backends_are_services_or_other_objects() {
        let check = |backend: Value, expected: &[&str]| {
            assert_eq!(found(json!({"defaultBackend": backend})), expected)
        };
        check(json!({"service": {"name": "s", "port": {"number": 80}}}), &[]);
        check(json!({"resource": {"kind": "K", "name": "n"}}), &[]);
        check(
            json!({}),
            &[r#"spec.defaultBackend: Invalid value: "": resource or service backend is required"#],
        );
        check(
            json!({"service": {"name": "s", "port": {"number": 80, "name": "http"}}}),
            &[r#"spec.defaultBackend: Invalid value: "": cannot set both port name & port number"#],
        );
        check(
            json!({"service": {"name": "s", "port": {}}}),
            &["spec.defaultBackend: Required value: port name or number is required"],
        );
    }

    #[test]
    fn rules_have_hosts_and_paths() {
        let check = |host: &str, kind: &str, path: &str, expected: &[&str]| {
            let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
            let paths = json!([{"path": path, "pathType": kind, "backend": backend}]);
            assert_eq!(found(json!({"rules": [{"host": host, "http": {"paths": paths}}]})), expected);
        };
        check("*.example.com", "Prefix", "/a", &[]);
        check("", "ImplementationSpecific", "", &[]);
        check(
            "10.0.0.1",
            "Exact",
            "/a//b/..",
            &[
                r#"spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address"#,
                r#"spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": must not contain '//'"#,
                r#"spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": cannot end with '/..'"#,
            ],
        );
        check(
            "a",
            "X",
            "/",
            &[
                r#"spec.rules[0].http.paths[0].pathType: Unsupported value: "X": supported values: "Exact", "ImplementationSpecific", "Prefix""#,
            ],
        );
        assert_eq!(
            found(json!({})),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
        );
    }

    #[test]
    fn hosts_are_told_in_short() {
        let check = |named: &[&str], expected: &str| {
            let rules: Vec<Value> = named.iter().map(|host| json!({"host": host})).collect();
            assert_eq!(hosts(&ingress(json!({"rules": rules}))), expected);
        };
        check(&[], "*");
        check(&["a", "b", "c"], "a,b,c");
        check(&["a", "b", "c", "d", "e"], "a,b,c + 2 more...");
        check(&["", "a"], "a");
    }
}
