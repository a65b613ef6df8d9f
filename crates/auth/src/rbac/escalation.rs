//! Nobody grants more than they hold: the check on writes of roles and bindings.

use serde_json::Value;
use skiff_machinery::Object;

use super::policy::{RoleRef, role_ref};
use super::{Policy, Rule, missing, quoted};
use crate::{Attributes, Auth, Refusal};

/// The group of the RBAC kinds.
const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a write of a Role, ClusterRole, RoleBinding or ClusterRoleBinding; everything else passes.
/// `allowed` says whether the authorisers allow something.
pub(crate) fn admit(
    policy: &Policy,
    allowed: &dyn Fn(&Attributes<'_>) -> bool,
    attributes: &Attributes<'_>,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), Refusal> {
    let Some(new) = new else { return Ok(()) };
    if attributes.group != GROUP || attributes.user.is_in(skiff_identity::MASTERS) {
        return Ok(());
    }
    match attributes.resource {
        "roles" | "clusterroles" => admit_role(policy, allowed, attributes, new, old),
        "rolebindings" | "clusterrolebindings" => admit_binding(policy, allowed, attributes, new, old),
        _ => Ok(()),
    }
}

fn admit_role(
    policy: &Policy,
    allowed: &dyn Fn(&Attributes<'_>) -> bool,
    attributes: &Attributes<'_>,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Refusal> {
    let same = |field: &str| old.is_some_and(|old| old.get(&[field]) == new.get(&[field]));
    if (same("rules") && same("aggregationRule")) || allowed(&escalates(attributes, new)) {
        return Ok(());
    }
    let rules: Vec<Rule> = decode_rules(new);
    let aggregates = new.get(&["aggregationRule"]).is_some_and(|value| !value.is_null());
    if aggregates && !same("aggregationRule") {
        let everything = Rule::everything();
        let (held, _) = policy.rules_of(attributes.user, "");
        if !missing(&held, &everything).is_empty() {
            let text = "must have cluster-admin privileges to use the aggregationRule";
            return Err(forbidden(attributes, new.name(), text));
        }
    }
    confirm(policy, attributes, new.name(), &rules)
}

fn admit_binding(
    policy: &Policy,
    allowed: &dyn Fn(&Attributes<'_>) -> bool,
    attributes: &Attributes<'_>,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Refusal> {
    let same = |field: &str| old.is_some_and(|old| old.get(&[field]) == new.get(&[field]));
    if same("roleRef") && same("subjects") {
        return Ok(());
    }
    let role = role_ref(new);
    let bind = binds(attributes, &role);
    if allowed(&bind) {
        return Ok(());
    }
    let resource = resource_of(&role);
    let Some(rules) = policy.rules(&role, attributes.namespace) else {
        return Err(Refusal::NotFound { group: GROUP, resource, name: role.name });
    };
    confirm(policy, attributes, new.name(), rules)
}

/// The right to grant more than one holds by writing a role.
fn escalates<'a>(attributes: &Attributes<'a>, new: &'a Object) -> Attributes<'a> {
    Attributes { verb: "escalate", name: new.name(), subresource: "", ..*attributes }
}

fn resource_of(role: &RoleRef) -> &'static str {
    if role.kind == "ClusterRole" { "clusterroles" } else { "roles" }
}

/// The right to bind a role of which one does not hold everything.
fn binds<'a>(attributes: &Attributes<'a>, role: &'a RoleRef) -> Attributes<'a> {
    let bind = Attributes::resource(attributes.user, "bind", GROUP, resource_of(role));
    Attributes { namespace: attributes.namespace, name: &role.name, ..bind }
}

/// Whether a write grants something, and an authoriser that cannot be asked in place allows that.
pub(crate) async fn granted(auth: &Auth, attributes: &Attributes<'_>, new: Option<&Object>) -> bool {
    let Some(new) = new.filter(|_| attributes.group == GROUP) else { return false };
    match attributes.resource {
        "roles" | "clusterroles" => auth.authorize(&escalates(attributes, new)).await.is_allowed(),
        "rolebindings" | "clusterrolebindings" => {
            auth.authorize(&binds(attributes, &role_ref(new))).await.is_allowed()
        }
        _ => false,
    }
}

/// Refuses unless the caller holds all the rules where they would apply.
fn confirm(policy: &Policy, attributes: &Attributes<'_>, name: &str, rules: &[Rule]) -> Result<(), Refusal> {
    let (held, problems) = policy.rules_of(attributes.user, attributes.namespace);
    let missing = missing(&held, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(Rule::describe).collect();
    let resolution = match problems.as_slice() {
        [] => String::new(),
        problems => format!("; resolution errors: [{}]", problems.join(", ")),
    };
    let text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}{resolution}",
        attributes.user.name,
        quoted(&attributes.user.groups),
        lines.join("\n"),
    );
    Err(forbidden(attributes, name, &text))
}

fn forbidden(attributes: &Attributes<'_>, name: &str, text: &str) -> Refusal {
    Refusal::Forbidden(format!("{} {name:?} is forbidden: {text}", attributes.qualified_resource()))
}

/// Rules that do not decode are refused by validation, not here.
fn decode_rules(role: &Object) -> Vec<Rule> {
    let rules = role.get(&["rules"]).and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::policy::Verdict;
    use super::super::policy::tests::{binding, policy, role};
    use super::*;
    use serde_json::json;
    use skiff_identity::UserInfo;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    /// `reader` may get pods everywhere, `binder` may besides bind and escalate.
    fn example() -> Policy {
        let user = |name: &str| json!({"kind": "User", "name": name});
        let powers = json!({"metadata": {}, "rules": [{
            "apiGroups": [GROUP], "resources": ["roles", "clusterroles"], "verbs": ["bind", "escalate"],
        }]});
        policy(&[
            ("clusterroles/pods", role("pods", &["get"])),
            ("clusterroles/secrets", role("secrets", &["get"])),
            ("clusterroles/powers", powers),
            ("clusterrolebindings/1", binding("ClusterRole", "pods", user("reader"))),
            ("clusterrolebindings/2", binding("ClusterRole", "powers", user("binder"))),
        ])
    }

    fn check(who: &str, resource: &str, new: Value, expected: Result<(), &str>) {
        let user = UserInfo::authenticated(who, []);
        let attributes =
            Attributes { namespace: "ns", ..Attributes::resource(&user, "create", GROUP, resource) };
        let policy = example();
        let allowed = |asked: &Attributes<'_>| matches!(policy.evaluate(asked), Verdict::Allowed(_));
        let result = admit(&policy, &allowed, &attributes, Some(&object(new.clone())), None);
        assert_eq!(result.map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{who} {new}");
    }

    #[test]
    fn roles_cannot_exceed_their_author() {
        let mut wanted = role("pods", &["get", "list"]);
        wanted["metadata"]["name"] = json!("r");
        check(
            "reader",
            "roles",
            wanted.clone(),
            Err(concat!(
                r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "reader" (groups=["system:authenticated"]) "#,
                "is attempting to grant RBAC permissions not currently held:\n",
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
            )),
        );
        check("binder", "roles", wanted, Ok(()));
        check("reader", "roles", role("pods", &["get"]), Ok(()));
    }

    #[test]
    fn bindings_cannot_exceed_their_author() {
        let wanted = |kind: &str, role: &str| binding(kind, role, json!({"kind": "User", "name": "x"}));
        check("reader", "rolebindings", wanted("ClusterRole", "pods"), Ok(()));
        check("binder", "rolebindings", wanted("ClusterRole", "secrets"), Ok(()));
        check(
            "reader",
            "rolebindings",
            wanted("Role", "none"),
            Err(r#"roles.rbac.authorization.k8s.io "none" not found"#),
        );
        let user = UserInfo::authenticated("reader", []);
        let attributes = Attributes::resource(&user, "create", GROUP, "clusterrolebindings");
        let new = object(wanted("ClusterRole", "secrets"));
        let (policy, never) = (example(), |_: &Attributes<'_>| false);
        let refused = admit(&policy, &never, &attributes, Some(&new), None);
        assert!(matches!(refused, Err(Refusal::Forbidden(_))));
        assert!(admit(&policy, &never, &attributes, Some(&new), Some(&new)).is_ok(), "nothing changes");
    }
}
