//! Fields that webhooks and policies share: what they are by default, and what is wrong with them.

use serde_json::{Map, Value};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use crate::expressions::{Environments, Returns, Scope};
use crate::surroundings::{items, text, texts};

/// Sets a field that is absent or null.
pub(crate) fn fill(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value.into());
    }
}

/// The objects in a list.
pub(crate) fn list_mut<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// An empty selector, which selects everything.
pub(crate) fn everything() -> Value {
    Value::Object(Map::new())
}

/// One of a set of words; absent and null are fine.
pub(crate) fn one_of(path: String, value: Option<&Value>, supported: &[&str]) -> FieldErrors {
    match value.and_then(Value::as_str) {
        Some(word) if !supported.contains(&word) => [FieldError::not_supported(path, word, supported)].into(),
        _ => FieldErrors::new(),
    }
}

pub(crate) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(crate) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(crate) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// A `RuleWithOperations`.
pub(crate) fn validate_rule(path: &str, rule: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let operations = texts(rule, "operations");
    errors.extend(alone(path, "operations", &operations, "operations"));
    for (index, operation) in operations.iter().enumerate() {
        let at = format!("{path}.operations[{index}]");
        errors.extend(one_of(at, Some(&operation.as_str().into()), OPERATIONS));
    }
    errors.extend(alone(path, "apiGroups", &texts(rule, "apiGroups"), "API groups"));
    let versions = texts(rule, "apiVersions");
    errors.extend(alone(path, "apiVersions", &versions, "API versions"));
    for (index, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(FieldError::required(format!("{path}.apiVersions[{index}]"), ""));
    }
    errors.extend(validate_resources(&format!("{path}.resources"), &texts(rule, "resources")));
    errors.extend(one_of(format!("{path}.scope"), rule.get("scope"), SCOPES));
    errors
}

/// A list that is not empty, and in which `*` stands alone.
fn alone(path: &str, field: &str, list: &[String], what: &str) -> Option<FieldError> {
    let path = format!("{path}.{field}");
    if list.is_empty() {
        return Some(FieldError::required(path, ""));
    }
    let crowded = list.len() > 1 && list.iter().any(|item| item == "*");
    let why = format!("if '*' is present, must not specify other {what}");
    crowded.then(|| FieldError::invalid(path, list.to_vec(), why))
}

fn validate_resources(path: &str, resources: &[String]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if resources.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_below, mut all_above) = (Vec::new(), Vec::new());
    let mut plain = false;
    for (index, pattern) in resources.iter().enumerate() {
        let at = || format!("{path}[{index}]");
        if pattern.is_empty() {
            errors.push(FieldError::required(at(), ""));
            continue;
        }
        let Some((resource, subresource)) = pattern.split_once('/') else {
            plain = pattern != "*";
            continue;
        };
        if all_below.contains(&resource) {
            let why = format!("if '{resource}/*' is present, must not specify {pattern}");
            errors.push(FieldError::invalid(at(), pattern.as_str(), why));
        }
        if all_above.contains(&subresource) {
            let why = format!("if '*/{subresource}' is present, must not specify {pattern}");
            errors.push(FieldError::invalid(at(), pattern.as_str(), why));
        }
        if subresource == "*" {
            all_below.push(resource);
        }
        if resource == "*" {
            all_above.push(subresource);
        }
    }
    let has = |wanted: &str| resources.iter().any(|pattern| pattern == wanted);
    if resources.len() > 1 && has("*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, resources.to_vec(), why));
    }
    if has("*") && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, resources.to_vec(), why));
    }
    errors
}

/// So many conditions may a webhook or policy have.
const CONDITIONS: usize = 64;

/// `matchConditions`; `params` when expressions may use them.
pub(crate) fn validate_conditions(path: &str, of: &Value, params: bool) -> FieldErrors {
    let conditions = items(of, "matchConditions");
    let mut errors = FieldErrors::new();
    if conditions.is_empty() {
        return errors;
    }
    let environments = Environments::new(params, false);
    if conditions.len() > CONDITIONS {
        errors.push(FieldError::too_many(path, conditions.len(), CONDITIONS));
    }
    let mut names = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = format!("{path}[{index}]");
        errors.extend(validate_condition(&at, condition, &environments));
        let name = text(condition, "name");
        if names.contains(&name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), name));
        } else if !name.is_empty() {
            names.push(name);
        }
    }
    errors
}

fn validate_condition(path: &str, condition: &Value, environments: &Environments) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let at = format!("{path}.expression");
    match text(condition, "expression").trim() {
        "" => errors.push(FieldError::required(at, "")),
        expression => {
            let compiled = environments.compile(expression, Scope::Authorizer, Returns::Bool);
            errors.extend(compiled.program.err().map(|issue| issue.of_field(&at, expression)));
        }
    }
    let at = format!("{path}.name");
    match text(condition, "name") {
        "" => errors.push(FieldError::required(at, "")),
        name => errors.extend(Form::QualifiedName.check(&at, name)),
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(errors: FieldErrors, expected: &[&str]) {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn rules_are_checked() {
        let rule = |change: Value| {
            let mut rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
            change.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
            validate_rule("r", &rule)
        };
        check(rule(json!({})), &[]);
        check(
            rule(json!({"operations": [], "apiGroups": [], "apiVersions": [], "resources": []})),
            &[
                "r.operations: Required value",
                "r.apiGroups: Required value",
                "r.apiVersions: Required value",
                "r.resources: Required value",
            ],
        );
        check(
            rule(json!({"operations": ["*", "PATCH"]})),
            &[
                r#"r.operations: Invalid value: ["*","PATCH"]: if '*' is present, must not specify other operations"#,
                r#"r.operations[1]: Unsupported value: "PATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#,
            ],
        );
        check(
            rule(json!({"apiGroups": ["a", "*"], "apiVersions": ["*", ""]})),
            &[
                r#"r.apiGroups: Invalid value: ["a","*"]: if '*' is present, must not specify other API groups"#,
                r#"r.apiVersions: Invalid value: ["*",""]: if '*' is present, must not specify other API versions"#,
                "r.apiVersions[1]: Required value",
            ],
        );
        check(
            rule(json!({"scope": "All"})),
            &[r#"r.scope: Unsupported value: "All": supported values: "*", "Cluster", "Namespaced""#],
        );
        check(rule(json!({"scope": null})), &[]);
    }

    #[test]
    fn resources_do_not_overlap() {
        let resources = |list: &[&str]| {
            validate_resources("r", &list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        check(resources(&["*", "a/b"]), &[]);
        check(resources(&["a/*", "a"]), &[]);
        check(resources(&["a", ""]), &["r[1]: Required value"]);
        check(
            resources(&["a/*", "a/x"]),
            &[r#"r[1]: Invalid value: "a/x": if 'a/*' is present, must not specify a/x"#],
        );
        check(
            resources(&["*/x", "a/x"]),
            &[r#"r[1]: Invalid value: "a/x": if '*/x' is present, must not specify a/x"#],
        );
        check(
            resources(&["*/*", "a"]),
            &[r#"r: Invalid value: ["*/*","a"]: if '*/*' is present, must not specify other resources"#],
        );
        check(
            resources(&["*", "a"]),
            &[
                r#"r: Invalid value: ["*","a"]: if '*' is present, must not specify other resources without subresources"#,
            ],
        );
        // Only the last one without a subresource counts.
        check(resources(&["a", "*"]), &[]);
    }

    #[test]
    fn conditions_have_names_and_compile() {
        let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
        let conditions =
            |list: Vec<Value>| validate_conditions("c", &json!({"matchConditions": list}), false);
        check(conditions(vec![condition("a", "true"), condition("b.c/d", "object.x == 1")]), &[]);
        check(
            conditions(vec![condition("", " ")]),
            &["c[0].expression: Required value", "c[0].name: Required value"],
        );
        check(
            conditions(vec![condition("a", "true"), condition("a", " 1 ")]),
            &[
                "c[1].expression: Invalid value: \"1\": must evaluate to bool but got int",
                "c[1].name: Duplicate value: \"a\"",
            ],
        );
        let many: Vec<Value> = (0..65).map(|n| condition(&format!("n{n}"), "true")).collect();
        check(conditions(many), &["c: Too many: 65: must have at most 64 items"]);
        let error = conditions(vec![condition("a", "params.x")]).into_iter().next().unwrap();
        assert!(error.detail.contains("undeclared reference to 'params'"), "{error}");
    }
}
