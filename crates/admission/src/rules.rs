//! Which requests a webhook or policy is about: operations, groups, versions, resources, scope.

use serde_json::Value;

use crate::attributes::{Attributes, GroupVersionKind, GroupVersionResource, Operation};
use crate::surroundings::{Kinds, text, texts};

/// Whether rules are about a resource alone, or about all that hold the same objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchPolicy {
    Exact,
    Equivalent,
}

impl MatchPolicy {
    /// Reads `matchPolicy`; what is absent counts as exact, for the default is filled when the object is written.
    pub(crate) fn of(object: &Value) -> Self {
        if text(object, "matchPolicy") == "Equivalent" { Self::Equivalent } else { Self::Exact }
    }
}

/// A `RuleWithOperations`, or with names a `NamedRuleWithOperations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    /// Any scope when empty.
    scope: String,
    /// Any name when empty.
    names: Vec<String>,
}

/// As what a request is matched: its resource and kind, or equivalent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matched {
    pub(crate) resource: GroupVersionResource,
    pub(crate) kind: GroupVersionKind,
}

impl Rule {
    pub(crate) fn of(rule: &Value) -> Self {
        Self {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            scope: text(rule, "scope").to_owned(),
            names: texts(rule, "resourceNames"),
        }
    }

    fn matches(&self, attributes: &Attributes, resource: &GroupVersionResource) -> bool {
        self.fits_scope(attributes, resource)
            && self.fits_operation(attributes.operation)
            && any(&self.groups, &resource.group)
            && any(&self.versions, &resource.version)
            && self.fits_resource(&resource.resource, &attributes.subresource)
    }

    /// Namespaces have their own name as namespace, but are in none.
    fn fits_scope(&self, attributes: &Attributes, resource: &GroupVersionResource) -> bool {
        let is_namespace =
            (&*resource.group, &*resource.version, &*resource.resource) == ("", "v1", "namespaces");
        let in_cluster = is_namespace || attributes.namespace.is_empty();
        match self.scope.as_str() {
            "" | "*" => true,
            "Namespaced" => !in_cluster,
            "Cluster" => in_cluster,
            _ => false,
        }
    }

    fn fits_operation(&self, operation: Operation) -> bool {
        any(&self.operations, operation.as_str())
    }

    fn fits_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|pattern| {
            let (of, below) = pattern.split_once('/').unwrap_or((pattern, ""));
            (of == "*" || of == resource) && (below == "*" || below == subresource)
        })
    }

    fn fits_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|known| known == name)
    }
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern == "*" || pattern == text)
}

/// As what a request matches one of the rules; `None` when it does not. Its own resource comes before equivalent ones.
pub(crate) fn find(
    rules: &[Rule],
    policy: MatchPolicy,
    attributes: &Attributes,
    kinds: &dyn Kinds,
) -> Result<Option<Matched>, String> {
    let own = &attributes.resource;
    let fits = |rule: &Rule, resource| rule.matches(attributes, resource) && rule.fits_name(&attributes.name);
    if rules.iter().any(|rule| fits(rule, own)) {
        return Ok(Some(Matched { resource: own.clone(), kind: attributes.kind.clone() }));
    }
    if policy == MatchPolicy::Exact {
        return Ok(None);
    }
    let equivalents = kinds.equivalents(own, &attributes.subresource);
    for rule in rules {
        for equivalent in equivalents.iter().filter(|equivalent| equivalent.resource != *own) {
            if !rule.matches(attributes, &equivalent.resource) {
                continue;
            }
            let resource = equivalent.resource.clone();
            let Some(kind) = equivalent.kind.clone() else {
                return Err(format!("unable to convert to {resource}: unknown kind"));
            };
            if rule.fits_name(&attributes.name) {
                return Ok(Some(Matched { resource, kind }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Served, request};

    fn rule(change: &Value) -> Value {
        let mut rule = json!({
            "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*",
        });
        for (field, value) in change.as_object().unwrap() {
            rule[field] = value.clone();
        }
        rule
    }

    #[test]
    fn rules_match_by_every_field() {
        let check = |change: Value, expected: bool| {
            let rules = [Rule::of(&rule(&change))];
            let found = find(&rules, MatchPolicy::Exact, &request(), &Served).unwrap();
            assert_eq!(found.is_some(), expected, "{change}");
        };
        check(json!({}), true);
        check(json!({"operations": ["*"]}), true);
        check(json!({"operations": ["UPDATE", "CREATE"]}), true);
        check(json!({"operations": ["UPDATE"]}), false);
        check(json!({"apiGroups": ["apps"]}), false);
        check(json!({"apiGroups": ["*"]}), true);
        check(json!({"apiVersions": ["v2"]}), false);
        check(json!({"apiVersions": ["*"]}), true);
        check(json!({"resources": ["*"]}), true);
        check(json!({"resources": ["*/*"]}), true);
        check(json!({"resources": ["pods/*"]}), true);
        check(json!({"resources": ["pods/status"]}), false);
        check(json!({"resources": ["services", "pods"]}), true);
        check(json!({"scope": "Namespaced"}), true);
        check(json!({"scope": "Cluster"}), false);
        check(json!({"resourceNames": ["other"]}), false);
        check(json!({"resourceNames": ["other", "web"]}), true);
    }

    #[test]
    fn a_subresource_is_asked_for_by_name() {
        let check = |resources: Value, expected: bool| {
            let mut attributes = request();
            attributes.subresource = "exec".to_owned();
            let rules = [Rule::of(&rule(&json!({"resources": resources})))];
            let found = find(&rules, MatchPolicy::Exact, &attributes, &Served).unwrap();
            assert_eq!(found.is_some(), expected, "{resources}");
        };
        check(json!(["pods"]), false);
        check(json!(["*"]), false);
        check(json!(["pods/exec"]), true);
        check(json!(["pods/*"]), true);
        check(json!(["*/exec"]), true);
        check(json!(["*/*"]), true);
    }

    #[test]
    fn a_namespace_is_of_the_cluster() {
        let check = |scope: &str, expected: bool| {
            let mut attributes = request();
            attributes.resource.resource = "namespaces".to_owned();
            attributes.namespace = "web".to_owned();
            let rules = [Rule::of(&rule(&json!({"resources": ["*"], "scope": scope})))];
            let found = find(&rules, MatchPolicy::Exact, &attributes, &Served).unwrap();
            assert_eq!(found.is_some(), expected, "{scope}");
        };
        check("Cluster", true);
        check("Namespaced", false);
        check("*", true);
    }

    #[test]
    fn equivalent_resources_match_when_asked_for() {
        let served = Served;
        let check = |policy, change: Value, expected: Result<Option<(&str, &str)>, &str>| {
            let mut attributes = request();
            attributes.resource = GroupVersionResource::new("apps", "v1", "deployments");
            attributes.kind = GroupVersionKind::new("apps", "v1", "Deployment");
            let rules = [Rule::of(&rule(&change))];
            let found = find(&rules, policy, &attributes, &served);
            let found =
                found.map(|found| found.map(|found| (found.resource.to_string(), found.kind.to_string())));
            let expected = expected.map(|found| found.map(|(r, k)| (r.to_owned(), k.to_owned())));
            assert_eq!(found, expected.map_err(str::to_owned), "{change}");
        };
        let beta =
            json!({"apiGroups": ["extensions"], "apiVersions": ["v1beta1"], "resources": ["deployments"]});
        check(MatchPolicy::Exact, beta.clone(), Ok(None));
        let matched = ("extensions/v1beta1, Resource=deployments", "extensions/v1beta1, Kind=Deployment");
        check(MatchPolicy::Equivalent, beta, Ok(Some(matched)));
        let all = json!({"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["deployments"]});
        let own = ("apps/v1, Resource=deployments", "apps/v1, Kind=Deployment");
        check(MatchPolicy::Equivalent, all, Ok(Some(own)));
        let strange = json!({"apiGroups": ["strange"], "apiVersions": ["*"], "resources": ["deployments"]});
        let why = "unable to convert to strange/v1, Resource=deployments: unknown kind";
        check(MatchPolicy::Equivalent, strange, Err(why));
    }
}
