//! All roles and bindings, indexed by who they are for.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use skiff_identity::UserInfo;
use skiff_machinery::Object;
use skiff_store::Model;

use super::Rule;
use super::rule::nullable;
use crate::Attributes;

/// What a binding binds to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    #[serde(deserialize_with = "nullable")]
    namespace: String,
}

impl Subject {
    /// The user or group that requests come from.
    fn principal(&self, binding_namespace: &str) -> Option<Principal> {
        match self.kind.as_str() {
            "User" => Some(Principal::User(self.name.clone())),
            "Group" => Some(Principal::Group(self.name.clone())),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                let prefix = skiff_identity::SERVICE_ACCOUNT_PREFIX;
                (!namespace.is_empty()).then(|| Principal::User(format!("{prefix}{namespace}:{}", self.name)))
            }
            _ => None,
        }
    }

    fn describe(&self, binding_namespace: &str) -> String {
        if self.kind != "ServiceAccount" {
            return format!("{} {:?}", self.kind, self.name);
        }
        let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
        format!("{} {:?}", self.kind, format!("{}/{namespace}", self.name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Principal {
    User(String),
    Group(String),
}

/// A Role or ClusterRole as stored. One that aggregates others has what a controller wrote into it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Role {
    rules: Option<Vec<Rule>>,
}

/// A RoleBinding or ClusterRoleBinding as stored.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// Namespace (empty for cluster-scoped) and name.
type Id = (String, String);

/// A binding and which of its subjects was met.
#[derive(Clone, Debug)]
struct Grant {
    binding: Id,
    subject: usize,
}

/// Every role and binding of the cluster.
#[derive(Default)]
pub(crate) struct Policy {
    roles: BTreeMap<Id, Role>,
    bindings: BTreeMap<Id, Binding>,
    grants: HashMap<Principal, Vec<Grant>>,
    /// Whether the grants have to be found anew.
    changed: bool,
}

/// What the policy says about a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Allowed, with the reason.
    Allowed(String),
    /// Nothing allows it; with what went wrong while looking (empty if nothing did).
    NoOpinion(String),
}

impl Policy {
    /// Whether some binding allows the request.
    pub(crate) fn evaluate(&self, attributes: &Attributes<'_>) -> Verdict {
        let mut problems = Vec::new();
        for grant in self.grants_of(attributes.user, attributes.namespace) {
            let Some(binding) = self.bindings.get(&grant.binding) else { continue };
            match self.rules(&binding.role_ref, &grant.binding.0) {
                None => problems.push(not_found(&binding.role_ref)),
                Some(rules) if rules.iter().any(|rule| rule.allows(attributes)) => {
                    return Verdict::Allowed(format!("RBAC: allowed by {}", self.describe(grant, binding)));
                }
                Some(_) => {}
            }
        }
        problems.dedup();
        Verdict::NoOpinion(match problems.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Every rule that holds for a user in a namespace (cluster-wide ones alone if it is empty), and what
    /// could not be found.
    pub(crate) fn rules_of(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let mut rules = Vec::new();
        let mut problems = Vec::new();
        for grant in self.grants_of(user, namespace) {
            let Some(binding) = self.bindings.get(&grant.binding) else { continue };
            match self.rules(&binding.role_ref, &grant.binding.0) {
                Some(found) => rules.extend_from_slice(found),
                None => problems.push(not_found(&binding.role_ref)),
            }
        }
        problems.dedup();
        (rules, problems)
    }

    /// The rules of a role, as a binding in `namespace` refers to it.
    pub(crate) fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&[Rule]> {
        let namespace = if role.kind == "ClusterRole" { "" } else { namespace };
        let found = self.roles.get(&(namespace.to_owned(), role.name.clone()))?;
        Some(found.rules.as_deref().unwrap_or_default())
    }

    /// Cluster-wide grants first, then those of the namespace.
    fn grants_of<'a>(&'a self, user: &'a UserInfo, namespace: &'a str) -> impl Iterator<Item = &'a Grant> {
        let principals = std::iter::once(Principal::User(user.name.clone()))
            .chain(user.groups.iter().cloned().map(Principal::Group));
        let grants: Vec<&Grant> = principals.filter_map(|p| self.grants.get(&p)).flatten().collect();
        let cluster_wide = grants.clone().into_iter().filter(|grant| grant.binding.0.is_empty());
        let local = grants
            .into_iter()
            .filter(move |grant| !grant.binding.0.is_empty() && grant.binding.0 == namespace);
        cluster_wide.chain(local)
    }

    fn describe(&self, grant: &Grant, binding: &Binding) -> String {
        let (namespace, name) = &grant.binding;
        let (kind, shown) = if namespace.is_empty() {
            ("ClusterRoleBinding", name.clone())
        } else {
            ("RoleBinding", format!("{name}/{namespace}"))
        };
        let role = &binding.role_ref;
        let subject = binding.subjects.iter().flatten().nth(grant.subject);
        let subject = subject.map(|subject| subject.describe(namespace)).unwrap_or_default();
        format!("{kind} {shown:?} of {} {:?} to {subject}", role.kind, role.name)
    }

    fn index(&mut self) {
        self.grants.clear();
        for (id, binding) in &self.bindings {
            for (number, subject) in binding.subjects.iter().flatten().enumerate() {
                if let Some(principal) = subject.principal(&id.0) {
                    let grant = Grant { binding: id.clone(), subject: number };
                    self.grants.entry(principal).or_default().push(grant);
                }
            }
        }
    }
}

fn not_found(role: &RoleRef) -> String {
    format!("{}.rbac.authorization.k8s.io {:?} not found", role.kind.to_lowercase(), role.name)
}

impl Model for Policy {
    const PREFIX: &'static str = "/registry/rbac.authorization.k8s.io/";

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let Some((kind, id)) = parse_key(key) else { return };
        let decoded = match kind {
            Kind::Role => serde_json::from_slice(value).map(|role| drop(self.roles.insert(id, role))),
            Kind::Binding => {
                self.changed = true;
                serde_json::from_slice(value).map(|binding| drop(self.bindings.insert(id, binding)))
            }
        };
        if let Err(error) = decoded {
            // Validation let nothing through that does not decode; what is damaged grants nothing.
            tracing::error!(key, %error, "cannot read a role or binding; it grants nothing");
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        let Some((kind, id)) = parse_key(key) else { return };
        match kind {
            Kind::Role => drop(self.roles.remove(&id)),
            Kind::Binding => {
                self.bindings.remove(&id);
                self.changed = true;
            }
        }
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.index();
        }
    }
}

enum Kind {
    Role,
    Binding,
}

fn parse_key(key: &str) -> Option<(Kind, Id)> {
    let (resource, rest) = key.strip_prefix(Policy::PREFIX)?.split_once('/')?;
    let namespaced = || rest.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let cluster = || Some((String::new(), rest.to_owned()));
    match resource {
        "clusterroles" => Some((Kind::Role, cluster()?)),
        "roles" => Some((Kind::Role, namespaced()?)),
        "clusterrolebindings" => Some((Kind::Binding, cluster()?)),
        "rolebindings" => Some((Kind::Binding, namespaced()?)),
        _ => None,
    }
}

/// The role that a binding object refers to.
pub(super) fn role_ref(binding: &Object) -> RoleRef {
    RoleRef {
        kind: binding.str(&["roleRef", "kind"]).to_owned(),
        name: binding.str(&["roleRef", "name"]).to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    const GROUP: &str = "/registry/rbac.authorization.k8s.io";

    /// A policy of `(path below the group, object)` pairs.
    pub(crate) fn policy(objects: &[(&str, Value)]) -> Policy {
        let mut policy = Policy::default();
        for (path, object) in objects {
            policy.put(&format!("{GROUP}/{path}"), object.to_string().as_bytes());
        }
        policy.settle();
        policy
    }

    pub(crate) fn role(resource: &str, verbs: &[&str]) -> Value {
        json!({"metadata": {}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": verbs}]})
    }

    pub(crate) fn binding(kind: &str, role: &str, subject: Value) -> Value {
        json!({"metadata": {}, "roleRef": {"kind": kind, "name": role}, "subjects": [subject]})
    }

    fn user_subject(name: &str) -> Value {
        json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
    }

    fn get_pods<'a>(user: &'a UserInfo, namespace: &'a str) -> Attributes<'a> {
        Attributes { namespace, ..Attributes::resource(user, "get", "", "pods") }
    }

    #[test]
    fn bindings_reach_as_far_as_their_scope() {
        let policy = policy(&[
            ("clusterroles/reader", role("pods", &["get"])),
            ("roles/a/local", role("pods", &["get"])),
            ("rolebindings/a/one", binding("Role", "local", user_subject("one"))),
            ("rolebindings/a/two", binding("ClusterRole", "reader", user_subject("two"))),
            ("clusterrolebindings/three", binding("ClusterRole", "reader", user_subject("three"))),
        ]);
        let check = |name: &str, namespace: &str, reason: &str| {
            let user = UserInfo::authenticated(name, []);
            let expected = match reason {
                "" => Verdict::NoOpinion(String::new()),
                reason => Verdict::Allowed(format!("RBAC: allowed by {reason}")),
            };
            assert_eq!(policy.evaluate(&get_pods(&user, namespace)), expected, "{name} in {namespace:?}");
        };
        check("one", "a", r#"RoleBinding "one/a" of Role "local" to User "one""#);
        check("one", "b", "");
        check("one", "", "");
        check("two", "a", r#"RoleBinding "two/a" of ClusterRole "reader" to User "two""#);
        check("two", "b", "");
        check("three", "b", r#"ClusterRoleBinding "three" of ClusterRole "reader" to User "three""#);
        check("three", "", r#"ClusterRoleBinding "three" of ClusterRole "reader" to User "three""#);
        check("four", "a", "");
    }

    #[test]
    fn service_accounts_and_groups_are_subjects() {
        let policy = policy(&[
            ("clusterroles/reader", role("pods", &["get"])),
            (
                "rolebindings/a/sa",
                binding("ClusterRole", "reader", json!({"kind": "ServiceAccount", "name": "x"})),
            ),
            (
                "clusterrolebindings/all",
                binding(
                    "ClusterRole",
                    "reader",
                    json!({"kind": "Group", "name": "system:serviceaccounts:b"}),
                ),
            ),
        ]);
        let check = |user: UserInfo, expected: bool| {
            let allowed = matches!(policy.evaluate(&get_pods(&user, "a")), Verdict::Allowed(_));
            assert_eq!(allowed, expected, "{}", user.name);
        };
        check(UserInfo::service_account("a", "x"), true);
        check(UserInfo::service_account("a", "y"), false);
        check(UserInfo::service_account("b", "y"), true);
    }

    #[test]
    fn a_missing_role_is_named() {
        let policy = policy(&[("clusterrolebindings/b", binding("ClusterRole", "gone", user_subject("u")))]);
        let user = UserInfo::authenticated("u", []);
        let text = r#"RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#;
        assert_eq!(policy.evaluate(&get_pods(&user, "a")), Verdict::NoOpinion(text.to_owned()));
    }

    #[test]
    fn a_role_that_aggregates_allows_what_is_written_in_it() {
        let mut sum = role("pods", &["get"]);
        sum["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to-sum": "true"}}]});
        let mut part = role("pods", &["list"]);
        part["metadata"]["labels"] = json!({"to-sum": "true"});
        let mut policy = policy(&[
            ("clusterroles/sum", sum.clone()),
            ("clusterroles/part", part),
            ("clusterrolebindings/e", binding("ClusterRole", "sum", user_subject("u"))),
        ]);
        let user = UserInfo::authenticated("u", []);
        let list = Attributes { verb: "list", ..get_pods(&user, "a") };
        assert!(matches!(policy.evaluate(&get_pods(&user, "a")), Verdict::Allowed(_)));
        assert_eq!(policy.evaluate(&list), Verdict::NoOpinion(String::new()));
        sum["rules"][0]["verbs"] = json!(["get", "list"]);
        policy.put(&format!("{GROUP}/clusterroles/sum"), sum.to_string().as_bytes());
        policy.settle();
        assert!(matches!(policy.evaluate(&list), Verdict::Allowed(_)));
    }

    #[test]
    fn changes_take_effect() {
        let mut policy = policy(&[
            ("clusterroles/reader", role("pods", &["get"])),
            ("clusterrolebindings/b", binding("ClusterRole", "reader", user_subject("u"))),
        ]);
        let user = UserInfo::authenticated("u", []);
        assert!(matches!(policy.evaluate(&get_pods(&user, "a")), Verdict::Allowed(_)));
        policy.put(&format!("{GROUP}/clusterroles/reader"), role("pods", &["list"]).to_string().as_bytes());
        policy.settle();
        assert!(matches!(policy.evaluate(&get_pods(&user, "a")), Verdict::NoOpinion(_)));
    }
}
