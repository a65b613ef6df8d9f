//! Role, ClusterRole, RoleBinding, ClusterRoleBinding.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, age, age_column, items, name_column, str_of, text, wide};
use super::{Plain, stored};
use crate::{GroupVersion, Kind, Object, Row, Scope};

const GV: GroupVersion = GroupVersion::fixed("rbac.authorization.k8s.io", "v1");

pub(super) fn rows() -> [Kind; 4] {
    [
        binding("io.k8s.api.rbac.v1.ClusterRoleBinding", Scope::Cluster),
        role("io.k8s.api.rbac.v1.ClusterRole", Scope::Cluster),
        binding("io.k8s.api.rbac.v1.RoleBinding", Scope::Namespaced),
        role("io.k8s.api.rbac.v1.Role", Scope::Namespaced),
    ]
}

fn role(definition: &'static str, scope: Scope) -> Kind {
    Kind {
        columns: vec![name_column(), text("Created At", "When the object was created.")],
        print: |object, _| {
            cells::row([object.name().into(), object.str(&["metadata", "creationTimestamp"]).into()])
        },
        ..stored(GV, definition, scope, Plain)
    }
}

fn binding(definition: &'static str, scope: Scope) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Role", "The role that is granted."),
            age_column(),
            wide("Users", "Users that it is granted to."),
            wide("Groups", "Groups that it is granted to."),
            wide("ServiceAccounts", "Service accounts that it is granted to."),
        ],
        print: print_binding,
        ..stored(GV, definition, scope, Plain)
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
