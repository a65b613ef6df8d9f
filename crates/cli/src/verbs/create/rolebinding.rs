//! `create rolebinding` and `create clusterrolebinding`.

use serde_json::{Value, json};

use super::{CREATE, Kind};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const CLUSTER_ROLE_NAME: Flag = Flag::text("clusterrole", "ClusterRole to bind");
const ROLE_NAME: Flag = Flag::text("role", "Role to bind");
pub(crate) const USER: Flag = Flag::each("user", "User to bind the role to; may be repeated");
pub(crate) const GROUP: Flag = Flag::each("group", "Group to bind the role to; may be repeated");
pub(crate) const SERVICE_ACCOUNT: Flag =
    Flag::each("serviceaccount", "ServiceAccount to bind the role to, as NAMESPACE:NAME; may be repeated");

pub(super) const ROLE_BINDING: Command = Command::new(
    "rolebinding",
    "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    "Bind a role to users, groups and ServiceAccounts of a namespace",
)
.examples("# Let a ServiceAccount look at its namespace\nkubectl create rolebinding robot --clusterrole=view --serviceaccount=default:robot")
.flags(&[&[CLUSTER_ROLE_NAME, ROLE_NAME, USER, GROUP, SERVICE_ACCOUNT], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        let kind = Kind::namespaced("rolebindings", "failed to create rolebinding: ");
        kind.send(cx, given, role_binding(given)?).await
    })
});

pub(super) const CLUSTER_ROLE_BINDING: Command = Command::new(
    "clusterrolebinding",
    "NAME --clusterrole=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    "Bind a ClusterRole in every namespace",
)
.examples("# Make a user an administrator\nkubectl create clusterrolebinding boss --clusterrole=cluster-admin --user=me")
.flags(&[&[CLUSTER_ROLE_NAME.required(), USER, GROUP, SERVICE_ACCOUNT], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        let kind = Kind::cluster("clusterrolebindings", "failed to create clusterrolebinding: ");
        kind.send(cx, given, binding(given, "ClusterRoleBinding", "ClusterRole", given.text(&CLUSTER_ROLE_NAME))?).await
    })
});

fn role_binding(given: &Given) -> Result<Value, Error> {
    match (given.some(&CLUSTER_ROLE_NAME), given.some(&ROLE_NAME)) {
        (Some(name), None) => binding(given, "RoleBinding", "ClusterRole", name),
        (None, Some(name)) => binding(given, "RoleBinding", "Role", name),
        _ => {
            given.name()?;
            Err(Error::usage("exactly one of clusterrole or role must be specified"))
        }
    }
}

const GROUP_NAME: &str = "rbac.authorization.k8s.io";

fn binding(given: &Given, kind: &str, role_kind: &str, role: &str) -> Result<Value, Error> {
    let mut object = json!({
        "apiVersion": format!("{GROUP_NAME}/v1"), "kind": kind, "metadata": {"name": given.name()?},
        "roleRef": {"apiGroup": GROUP_NAME, "kind": role_kind, "name": role},
    });
    let subjects = subjects(given)?;
    if !subjects.is_empty() {
        object["subjects"] = Value::Array(subjects);
    }
    Ok(object)
}

/// Whom the flags name.
pub(crate) fn subjects(given: &Given) -> Result<Vec<Value>, Error> {
    let named = |kind: &'static str, names: &[String]| -> Vec<Value> {
        names.iter().map(|name| json!({"kind": kind, "apiGroup": GROUP_NAME, "name": name})).collect()
    };
    let mut subjects = named("User", given.all(&USER));
    subjects.extend(named("Group", given.all(&GROUP)));
    for account in given.all(&SERVICE_ACCOUNT) {
        let parts: Vec<&str> = account.split(':').collect();
        match parts.as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                subjects.push(json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}));
            }
            _ => return Err(Error::usage("serviceaccount must be <namespace>:<name>")),
        }
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::role_binding;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: rb\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: view\nsubjects:\n- apiGroup: rbac.authorization.k8s.io\n  kind: User\n  name: u\n- apiGroup: rbac.authorization.k8s.io\n  kind: Group\n  name: g\n- kind: ServiceAccount\n  name: s\n  namespace: a\n";
        assert_eq!(
            made("rolebinding rb --clusterrole=view --user=u --group=g --serviceaccount=a:s", role_binding),
            text
        );
        for (line, text) in [
            ("rolebinding rb --user=u", "exactly one of clusterrole or role must be specified"),
            ("rolebinding rb --role=r --serviceaccount=x", "serviceaccount must be <namespace>:<name>"),
        ] {
            assert_eq!(made(line, role_binding), format!("error: {text}"), "{line}");
        }
    }
}
