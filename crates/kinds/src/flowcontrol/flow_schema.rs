//! FlowSchema: which requests go to which priority level.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, NONE, age, age_column, items, name_column, str_of, text};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Kind, Object, Printer, Row};
use skiff_schema::Schema;

use super::bootstrap::{self, DANGLING, EXEMPT, Which};
use super::common::{Rules, base, number, part, spec, texts};
use super::go;
use crate::shared::defaults::{existing_mut, fill_number};

const DEFAULT_PRECEDENCE: i64 = 1000;
const LAST_PRECEDENCE: i64 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(super) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("PriorityLevel", "The level that the requests go to."),
            text("MatchingPrecedence", "Smaller numbers are looked at first."),
            text("DistinguisherMethod", "What makes requests a flow of their own."),
            age_column(),
            text("MissingPL", "Whether the level does not exist."),
        ],
        print: Printer::Fixed(print),
        ..base(schema, "io.k8s.api.flowcontrol.v1.FlowSchema", Schemas)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let method = object.str(&["spec", "distinguisherMethod", "type"]);
    let conditions = items(object, &["status", "conditions"]);
    let missing = conditions.iter().find(|condition| str_of(condition, "type") == DANGLING);
    cells::row([
        object.name().into(),
        object.str(&["spec", "priorityLevelConfiguration", "name"]).into(),
        number(spec(object), "matchingPrecedence").into(),
        if method.is_empty() { NONE } else { method }.into(),
        age(object, now),
        missing.map_or("?", |condition| str_of(condition, "status")).into(),
    ])
}

/// What is special about FlowSchemas.
struct Schemas;

impl Rules for Schemas {
    fn default(&self, object: &mut Object) {
        if let Some(spec) = existing_mut(object.as_map_mut(), "spec") {
            fill_number(spec, "matchingPrecedence", DEFAULT_PRECEDENCE);
        }
    }

    fn check(&self, object: &Object) -> FieldErrors {
        let spec = spec(object);
        let mut errors = precedence(spec, object.name());
        if let Some(method) = part(spec, "distinguisherMethod")
            && !METHODS.contains(&str_of(method, "type"))
        {
            let error = FieldError::not_supported("spec.distinguisherMethod.type", Value::Null, METHODS);
            errors.push(error.showing(go::method(method)));
        }
        let field = "spec.priorityLevelConfiguration.name";
        match object.str(&["spec", "priorityLevelConfiguration", "name"]) {
            "" => errors.push(FieldError::required(field, "must reference a priority level")),
            level => errors.extend(Form::Subdomain.check(field, level)),
        }
        for (index, rule) in items(object, &["spec", "rules"]).iter().enumerate() {
            errors.extend(check_rule(&format!("spec.rules[{index}]"), rule));
        }
        if let Some(given) = bootstrap::mandatory(Which::Schema, object.name())
            && given.spec != *spec
        {
            let detail = format!("spec of '{}' must equal the fixed value", given.name);
            errors.push(FieldError::invalid("spec", Value::Null, detail).showing(go::flow_schema(spec)));
        }
        errors
    }
}

fn precedence(spec: &Value, name: &str) -> FieldErrors {
    let precedence = number(spec, "matchingPrecedence");
    let mut errors = FieldErrors::new();
    let mut refuse =
        |detail: &str| errors.push(FieldError::invalid("spec.matchingPrecedence", precedence, detail));
    if precedence <= 0 {
        refuse("must be a positive value");
    }
    if precedence > LAST_PRECEDENCE {
        refuse(&format!("must not be greater than {LAST_PRECEDENCE}"));
    }
    if precedence == 1 && name != EXEMPT {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1");
    }
    errors
}

fn check_rule(path: &str, rule: &Value) -> FieldErrors {
    let list = |field: &str| rule.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut errors = FieldErrors::new();
    let subjects = list("subjects");
    if subjects.is_empty() {
        let detail = "subjects must contain at least one value";
        errors.push(FieldError::required(format!("{path}.subjects"), detail));
    }
    for (index, subject) in subjects.iter().enumerate() {
        errors.extend(check_subject(&format!("{path}.subjects[{index}]"), subject));
    }
    let (resources, others) = (list("resourceRules"), list("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, detail));
    }
    for (index, rule) in resources.iter().enumerate() {
        errors.extend(check_resources(&format!("{path}.resourceRules[{index}]"), rule));
    }
    for (index, rule) in others.iter().enumerate() {
        errors.extend(check_others(&format!("{path}.nonResourceRules[{index}]"), rule));
    }
    errors
}

/// A subject has the part that its kind names, and no other.
fn check_subject(path: &str, subject: &Value) -> FieldErrors {
    const PARTS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = str_of(subject, "kind");
    let mut errors = FieldErrors::new();
    let Some((_, own)) = PARTS.iter().find(|(name, _)| *name == kind) else {
        errors.push(FieldError::not_supported(format!("{path}.kind"), kind, KINDS));
        return errors;
    };
    let at = format!("{path}.{own}");
    match part(subject, own) {
        None => {
            errors.push(FieldError::required(at, format!("{own} is required when subject kind is '{kind}'")))
        }
        Some(part) if *own == "serviceAccount" => errors.extend(check_account(&at, part)),
        Some(part) if str_of(part, "name").is_empty() => {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        }
        Some(_) => {}
    }
    for (name, field) in PARTS.iter().filter(|(name, _)| *name != kind) {
        if part(subject, field).is_some() {
            let detail = format!("{field} is forbidden when subject kind is not '{name}'");
            errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
        }
    }
    errors
}

fn check_account(path: &str, account: &Value) -> FieldErrors {
    let name_at = format!("{path}.name");
    let mut errors = match str_of(account, "name") {
        "" => [FieldError::required(name_at, "")].into(),
        "*" => FieldErrors::new(),
        name => Form::Subdomain.check(&name_at, name),
    };
    let at = format!("{path}.namespace");
    match str_of(account, "namespace") {
        "" => errors.push(FieldError::required(at, "must specify namespace for service account")),
        namespace => errors.extend(Form::DnsLabel.check(&at, namespace)),
    }
    errors
}

/// `*` stands alone.
fn check_wildcard(path: String, list: &[&str], what: &str) -> Option<FieldError> {
    let detail = format!("if '*' is present, must not specify other {what}");
    (list.len() > 1 && list.contains(&"*")).then(|| FieldError::invalid(path, json!(list), detail))
}

fn check_verbs(path: &str, rule: &Value) -> FieldErrors {
    let (at, verbs) = (format!("{path}.verbs"), texts(rule, "verbs"));
    if verbs.is_empty() {
        return [FieldError::required(at, "verbs must contain at least one value")].into();
    }
    if verbs.contains(&"*") {
        return check_wildcard(at, &verbs, "verbs").into_iter().collect();
    }
    if verbs.iter().all(|verb| VERBS.contains(verb)) {
        return FieldErrors::new();
    }
    [FieldError::not_supported(at, json!(verbs), VERBS)].into()
}

fn check_resources(path: &str, rule: &Value) -> FieldErrors {
    let mut errors = check_verbs(path, rule);
    for (field, missing, what) in
        [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        let (at, list) = (format!("{path}.{field}"), texts(rule, field));
        if list.is_empty() {
            let detail = format!("resource rules must supply at least one {missing}");
            errors.push(FieldError::required(at, detail));
        } else {
            errors.extend(check_wildcard(at, &list, what));
        }
    }
    let (at, namespaces) = (format!("{path}.namespaces"), texts(rule, "namespaces"));
    let is_global = rule.get("clusterScope").and_then(Value::as_bool).unwrap_or_default();
    if namespaces.is_empty() && !is_global {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(FieldError::required(at, detail));
    } else if namespaces.contains(&"*") {
        errors.extend(check_wildcard(at, &namespaces, "namespaces"));
    } else {
        for (index, namespace) in namespaces.into_iter().enumerate() {
            for problem in Form::DnsLabel.problems(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
                errors.push(FieldError::invalid(format!("{at}[{index}]"), namespace, detail));
            }
        }
    }
    errors
}

fn check_others(path: &str, rule: &Value) -> FieldErrors {
    let mut errors = check_verbs(path, rule);
    let (at, urls) = (format!("{path}.nonResourceURLs"), texts(rule, "nonResourceURLs"));
    if urls.is_empty() {
        errors.push(FieldError::required(at, "nonResourceURLs must contain at least one value"));
    } else if urls.contains(&"*") {
        errors.extend(check_wildcard(at, &urls, "non-resource URLs"));
    } else {
        let checked = urls.into_iter().enumerate();
        errors.extend(checked.filter_map(|(index, url)| check_url(format!("{at}[{index}]"), url)));
    }
    errors
}

fn check_url(path: String, url: &str) -> Option<FieldError> {
    let detail = match url {
        "" => "must not be empty",
        "/" => return None,
        _ if !url.starts_with('/') => "must start with slash",
        _ if url.contains(' ') => "must not contain white-space",
        _ if url.contains("//") => "must not contain double slash",
        _ => match url.matches('*').count() {
            0 => return None,
            1 if url.ends_with("/*") => return None,
            _ => "wildcard can only do suffix matching",
        },
    };
    Some(FieldError::invalid(path, url, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};

    fn check(spec: Value, expected: &[&str]) {
        let mut schema = object(json!({"metadata": {"name": "s"}, "spec": spec}));
        Schemas.default(&mut schema);
        assert_eq!(texts(Schemas.check(&schema)), expected, "{spec}");
    }

    fn rule(subject: &Value, resources: &Value, others: &Value) -> Value {
        json!({"subjects": subject, "resourceRules": resources, "nonResourceRules": others})
    }

    fn with_rule(rule: &Value) -> Value {
        json!({"priorityLevelConfiguration": {"name": "l"}, "rules": [rule]})
    }

    #[test]
    fn checks_what_is_beside_the_rules() {
        check(json!({"priorityLevelConfiguration": {"name": "l"}}), &[]);
        let missing = "spec.priorityLevelConfiguration.name: Required value: must reference a priority level";
        check(json!({}), &[missing]);
        let with = |precedence: i64| json!({"priorityLevelConfiguration": {"name": "l"}, "matchingPrecedence": precedence});
        check(with(10_000), &[]);
        check(
            with(10_001),
            &["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
        );
        check(with(-1), &["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]);
        check(
            with(1),
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        );
        check(
            json!({"priorityLevelConfiguration": {"name": "l"}, "distinguisherMethod": {"type": "X"}}),
            &[
                r#"spec.distinguisherMethod.type: Unsupported value: {"Type":"X"}: supported values: "ByNamespace", "ByUser""#,
            ],
        );
    }

    #[test]
    fn checks_subjects() {
        let others = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
        let check = |subjects: Value, expected: &[&str]| {
            check(with_rule(&rule(&subjects, &json!([]), &others)), expected);
        };
        let account = |name: &str, namespace: &str| json!([{"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": namespace}}]);
        check(account("*", "a"), &[]);
        check(
            account("", ""),
            &[
                "spec.rules[0].subjects[0].serviceAccount.name: Required value",
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
            ],
        );
        check(
            json!([]),
            &["spec.rules[0].subjects: Required value: subjects must contain at least one value"],
        );
        check(
            json!([{"kind": "X"}]),
            &[
                r#"spec.rules[0].subjects[0].kind: Unsupported value: "X": supported values: "Group", "ServiceAccount", "User""#,
            ],
        );
        check(
            json!([{"kind": "User", "group": {"name": "g"}}]),
            &[
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        );
        check(
            json!([{"kind": "Group", "group": {"name": ""}}]),
            &["spec.rules[0].subjects[0].group.name: Required value"],
        );
    }

    #[test]
    fn checks_resource_rules() {
        let user = json!([{"kind": "User", "user": {"name": "u"}}]);
        let check = |rules: Value, expected: &[&str]| {
            check(with_rule(&rule(&user, &rules, &json!([]))), expected);
        };
        let fine = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]});
        check(json!([fine]), &[]);
        check(
            json!([]),
            &[
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        );
        check(
            json!([{"verbs": ["*", "get"], "apiGroups": ["*", "a"], "resources": ["*", "b"], "namespaces": ["*", "c"]}]),
            &[
                r#"spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs"#,
                r#"spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other api groups"#,
                r#"spec.rules[0].resourceRules[0].resources: Invalid value: ["*","b"]: if '*' is present, must not specify other resources"#,
                r#"spec.rules[0].resourceRules[0].namespaces: Invalid value: ["*","c"]: if '*' is present, must not specify other namespaces"#,
            ],
        );
        check(
            json!([{"verbs": ["x"]}]),
            &[
                r#"spec.rules[0].resourceRules[0].verbs: Unsupported value: ["x"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch""#,
                "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ],
        );
        let errors = check_resources(
            "r",
            &json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["-"]}),
        );
        assert!(texts(errors)[0].starts_with(
            r#"r.namespaces[0]: Invalid value: "-": each member of this list must be '*' or a DNS-1123 label; a lowercase"#
        ));
    }

    #[test]
    fn checks_urls() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(
                check_url("u".to_owned(), url).map(|error| error.detail).as_deref(),
                expected,
                "{url}"
            );
        };
        for fine in ["/", "/a", "/a/b/*", "/*"] {
            check(fine, None);
        }
        check("", Some("must not be empty"));
        check("a", Some("must start with slash"));
        check("/a b", Some("must not contain white-space"));
        check("/a//b", Some("must not contain double slash"));
        for wild in ["/a*", "/*/a", "/*/*"] {
            check(wild, Some("wildcard can only do suffix matching"));
        }
    }

    #[test]
    fn mandatory_ones_stay_as_they_are() {
        let given = bootstrap::mandatory(Which::Schema, "catch-all").unwrap();
        let mut schema = object(json!({"metadata": {"name": "catch-all"}, "spec": given.spec}));
        assert_eq!(texts(Schemas.check(&schema)), [""; 0]);
        schema.set(&["spec", "matchingPrecedence"], 9999);
        schema.set(&["spec", "rules"], json!([]));
        let expected = concat!(
            r#"spec: Invalid value: {"PriorityLevelConfiguration":{"Name":"catch-all"},"MatchingPrecedence":9999,"#,
            r#""DistinguisherMethod":{"Type":"ByUser"},"Rules":[]}: spec of 'catch-all' must equal the fixed value"#,
        );
        assert_eq!(texts(Schemas.check(&schema)), [expected]);
    }
}
