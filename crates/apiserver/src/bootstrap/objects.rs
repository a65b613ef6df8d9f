//! The first objects of a cluster, made from the tables.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_auth::rbac::defaults::{
    BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, CONTROLLERS, ClusterRoleRow, ROLES, Who, parse,
};
use skiff_auth::{Rule, front_proxy};
use skiff_kinds::scheduling::{self, SystemClass};
use skiff_machinery::{Namespace, Object};
use skiff_pki::FRONT_PROXY_CLIENT;
use skiff_store::Key;

use super::cluster::Bootstrap;
use super::flow_control;
use super::maker::{AUTHENTICATION, AUTOUPDATE, Maker, RBAC, TOKEN_TRACKING, key};

/// Where the cluster's own parts are.
const SYSTEM: Namespace<'_> = Namespace::new("kube-system");

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// The controllers that write no events. Those in a namespace that goes would be the last to go.
const SILENT: [&str; 2] = ["clusterrole-aggregation-controller", "namespace-controller"];

/// Every object with its key.
pub(super) fn all(cluster: &Bootstrap, now: Timestamp) -> Vec<(Key, Object)> {
    let made = Maker { now };
    let mut objects: Vec<(Key, Object)> = NAMESPACES.iter().map(|name| made.namespace(name)).collect();
    objects.push(made.service_cidr(&cluster.service_cidrs));
    objects.push(made.authentication(cluster));
    objects.push(made.token_tracking());
    objects.extend(flow_control::all(&made));
    objects.extend(scheduling::SYSTEM.iter().map(|class| made.priority_class(class)));
    objects.extend(CLUSTER_ROLES.iter().map(|row| made.cluster_role(row)));
    for (name, rules) in CONTROLLERS {
        let role = format!("system:controller:{name}");
        let events = if SILENT.contains(name) { "" } else { "create,patch,update core,events.k8s.io events" };
        let rules = format!("{rules}\n{events}");
        objects.push(made.rbac("ClusterRole", Namespace::NONE, &role, json!({"rules": parse(&rules)}), None));
        objects.push(made.binding(Namespace::NONE, &role, "ClusterRole", &role, vec![account(name)]));
    }
    for row in CLUSTER_BINDINGS {
        let subjects = row.subjects.iter().map(subject).collect();
        objects.push(made.binding(Namespace::NONE, row.role, "ClusterRole", row.role, subjects));
    }
    for row in ROLES {
        objects.push(made.rbac(
            "Role",
            Namespace::new(row.namespace),
            row.name,
            json!({"rules": parse(row.rules)}),
            None,
        ));
    }
    for row in BINDINGS {
        let subjects = row.subjects.iter().map(subject).collect();
        objects.push(made.binding(Namespace::new(row.namespace), row.name, "Role", row.role, subjects));
    }
    objects
}

impl Maker {
    fn namespace(&self, name: &str) -> (Key, Object) {
        let body = json!({
            "metadata": {"labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        (
            key("core/namespaces", Namespace::NONE, name),
            self.object("v1", "Namespace", Namespace::NONE, name, body),
        )
    }

    /// Since when the use of tokens in Secrets is noted.
    fn token_tracking(&self) -> (Key, Object) {
        let body = json!({"data": {"since": self.now.strftime("%Y-%m-%d").to_string()}});
        let object = self.object("v1", "ConfigMap", SYSTEM, TOKEN_TRACKING, body);
        (key("core/configmaps", SYSTEM, TOKEN_TRACKING), object)
    }

    fn service_cidr(&self, ranges: &[String]) -> (Key, Object) {
        let body = json!({
            "metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
            "spec": {"cidrs": ranges},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes default Service CIDR is ready",
                "lastTransitionTime": format!("{:.0}", self.now),
            }]},
        });
        let object = self.object("networking.k8s.io/v1", "ServiceCIDR", Namespace::NONE, "kubernetes", body);
        (key("networking.k8s.io/servicecidrs", Namespace::NONE, "kubernetes"), object)
    }

    fn priority_class(&self, class: &SystemClass) -> (Key, Object) {
        let body = json!({
            "metadata": {"generation": 1},
            "value": class.value,
            "description": class.description,
            "preemptionPolicy": "PreemptLowerPriority",
        });
        let object = self.object("scheduling.k8s.io/v1", "PriorityClass", Namespace::NONE, class.name, body);
        (key("scheduling.k8s.io/priorityclasses", Namespace::NONE, class.name), object)
    }

    /// What extension API servers need to verify client certificates themselves, and to believe this one for whom it asks.
    fn authentication(&self, cluster: &Bootstrap) -> (Key, Object) {
        let (namespace, name) = (SYSTEM, AUTHENTICATION);
        let list = |name: &str| json!([name]).to_string();
        let body = json!({"data": {
            "client-ca-file": cluster.client_ca_pem,
            "requestheader-allowed-names": list(FRONT_PROXY_CLIENT),
            "requestheader-client-ca-file": cluster.front_proxy_ca_pem,
            "requestheader-extra-headers-prefix": list(front_proxy::EXTRA),
            "requestheader-group-headers": list(front_proxy::GROUP),
            "requestheader-uid-headers": list(front_proxy::UID),
            "requestheader-username-headers": list(front_proxy::USER),
        }});
        (key("core/configmaps", namespace, name), self.object("v1", "ConfigMap", namespace, name, body))
    }

    fn cluster_role(&self, row: &ClusterRoleRow) -> (Key, Object) {
        let part_of = row.part_of.map(aggregation_label);
        let body = if row.aggregates {
            json!({
                "aggregationRule": {
                    "clusterRoleSelectors": [{"matchLabels": {aggregation_label(row.name): "true"}}],
                },
                "rules": sum(row.name),
            })
        } else {
            json!({"rules": parse(row.rules)})
        };
        self.rbac("ClusterRole", Namespace::NONE, row.name, body, part_of)
    }

    fn binding(
        &self,
        namespace: Namespace<'_>,
        name: &str,
        role_kind: &str,
        role: &str,
        subjects: Vec<Value>,
    ) -> (Key, Object) {
        let kind = if namespace.is_none() { "ClusterRoleBinding" } else { "RoleBinding" };
        let mut body = json!({"roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role}});
        if !subjects.is_empty() {
            body["subjects"] = subjects.into();
        }
        self.rbac(kind, namespace, name, body, None)
    }

    fn rbac(
        &self,
        kind: &str,
        namespace: Namespace<'_>,
        name: &str,
        body: Value,
        label: Option<String>,
    ) -> (Key, Object) {
        let mut labels = Map::from_iter([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".into())]);
        labels.extend(label.map(|label| (label, "true".into())));
        let mut object = self.object(&format!("{RBAC}/v1"), kind, namespace, name, body);
        object.set(&["metadata", "labels"], labels);
        object.set(&["metadata", "annotations"], json!({AUTOUPDATE: "true"}));
        (key(&format!("{RBAC}/{}s", kind.to_lowercase()), namespace, name), object)
    }
}

fn aggregation_label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

/// The rules of everything that is part of an aggregating role.
fn sum(name: &str) -> Vec<Rule> {
    let parts = CLUSTER_ROLES.iter().filter(|row| row.part_of == Some(name));
    parts.flat_map(|row| if row.aggregates { sum(row.name) } else { parse(row.rules) }).collect()
}

fn subject(who: &Who) -> Value {
    match who {
        Who::User(name) => json!({"apiGroup": RBAC, "kind": "User", "name": name}),
        Who::Group(name) => json!({"apiGroup": RBAC, "kind": "Group", "name": name}),
        Who::Account(name) => account(name),
    }
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})
}
