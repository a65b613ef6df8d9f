//! Which requests of node agents are allowed. Agents are in no binding: what is not allowed here is only
//! allowed if someone binds a role to them.

use skiff_machinery::Namespace;

use super::NodeGraph;
use super::graph::Referent;
use crate::Attributes;
use crate::rbac::Rule;

/// What this authoriser says about a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Allowed.
    Allowed,
    /// For others to decide; the reason is empty if the request is not a node agent's.
    NoOpinion(String),
}

use Verdict::{Allowed, NoOpinion};

fn no(reason: impl Into<String>) -> Verdict {
    NoOpinion(reason.into())
}

fn when(condition: bool, otherwise: &str) -> Verdict {
    if condition { Allowed } else { no(otherwise) }
}

/// The namespace of the leases by which nodes show that they are alive.
pub(super) const LEASES: &str = "kube-node-lease";

/// Decides on a request of a node agent.
pub(crate) fn authorize(graph: &NodeGraph, rules: &[Rule], request: &Attributes<'_>) -> Verdict {
    let Some(node) = request.user.node_name() else { return no("") };
    if node.is_empty() {
        return no(format!("unknown node for user {:?}", request.user.name));
    }
    match (request.group, request.resource) {
        ("", "secrets") => read(graph, node, Referent::Secret, request),
        ("", "configmaps") => read(graph, node, Referent::ConfigMap, request),
        ("", "persistentvolumeclaims") => claim(graph, node, request),
        ("", "serviceaccounts") => service_account(graph, node, request),
        ("", "nodes") => own_node(node, request),
        ("", "pods") => own_pods(graph, node, request),
        ("coordination.k8s.io", "leases") => lease(node, request),
        _ if rules.iter().any(|rule| rule.allows(request)) => Allowed,
        _ => no(""),
    }
}

fn related(graph: &NodeGraph, node: &str, kind: Referent, request: &Attributes<'_>) -> Verdict {
    if request.name.is_empty() {
        return no("No Object name found");
    }
    if graph.refers(node, kind, Namespace::new(request.namespace), request.name) {
        return Allowed;
    }
    unrelated(node)
}

fn unrelated(node: &str) -> Verdict {
    no(format!("no relationship found between node '{node}' and this object"))
}

fn read(graph: &NodeGraph, node: &str, kind: Referent, request: &Attributes<'_>) -> Verdict {
    if !matches!(request.verb, "get" | "list" | "watch") {
        return no("can only read resources of this type");
    }
    if !request.subresource.is_empty() {
        return no("cannot read subresource");
    }
    if request.namespace.is_empty() {
        return no("can only read namespaced object of this type");
    }
    related(graph, node, kind, request)
}

fn claim(graph: &NodeGraph, node: &str, request: &Attributes<'_>) -> Verdict {
    match (request.subresource, request.verb) {
        ("", "get") | ("status", "update" | "patch") => related(graph, node, Referent::Claim, request),
        ("status", _) => no("can only update status subresource"),
        _ => no("can only get individual resources of this type"),
    }
}

fn service_account(graph: &NodeGraph, node: &str, request: &Attributes<'_>) -> Verdict {
    match (request.subresource, request.verb) {
        ("token", "create") if request.name.is_empty() => {
            no("can only create tokens for individual service accounts")
        }
        ("token", "create") | ("", "get") => related(graph, node, Referent::ServiceAccount, request),
        _ => no("can only create tokens for individual service accounts"),
    }
}

fn own_node(node: &str, request: &Attributes<'_>) -> Verdict {
    match (request.subresource, request.verb) {
        // The rest of the check is the admission's, which knows the object.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Allowed,
        ("", "get" | "list" | "watch") if request.name == node => Allowed,
        ("", "get" | "list" | "watch") if request.name.is_empty() => {
            no(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            no(format!("node '{node}' cannot read '{}', only its own Node object", request.name))
        }
        _ => no(""),
    }
}

fn own_pods(graph: &NodeGraph, node: &str, request: &Attributes<'_>) -> Verdict {
    match (request.subresource, request.verb) {
        ("", "get") => match graph.pod(node, Namespace::new(request.namespace), request.name) {
            Some(_) => Allowed,
            None => unrelated(node),
        },
        ("", "list" | "watch") => when(
            request.fields.and_then(|fields| fields.exact("spec.nodeName")) == Some(node),
            "can only list/watch pods with spec.nodeName field selector",
        ),
        // The rest of the check is the admission's, which knows the object.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Allowed,
        _ => no(""),
    }
}

fn lease(node: &str, request: &Attributes<'_>) -> Verdict {
    if !matches!(request.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if request.namespace != LEASES {
        return no(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of a new lease is in the object; admission checks it.
    when(
        request.verb == "create" || request.name == node,
        "can only access node lease with the same name as the requesting node",
    )
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::example;
    use super::*;
    use crate::rbac::defaults::node_rules;
    use skiff_identity::UserInfo;
    use skiff_machinery::selector::FieldSelector;

    /// `verb group/resource[/subresource] namespace/name [selector]`; `core` is the core group, `-` empty.
    fn check(request: &str, expected: bool) {
        let words: Vec<&str> = request.split(' ').collect();
        let mut resource = words[1].split('/');
        let group = resource.next().filter(|group| *group != "core").unwrap_or("");
        let plural = resource.next().unwrap_or("");
        let (namespace, name) = words[2].split_once('/').unwrap();
        let dash = |text| if text == "-" { "" } else { text };
        let user = UserInfo::node("n1");
        let fields = words.get(3).map(|text| FieldSelector::parse(text).unwrap());
        let attributes = Attributes {
            subresource: resource.next().unwrap_or(""),
            namespace: dash(namespace),
            name: dash(name),
            fields: fields.as_ref(),
            ..Attributes::resource(&user, words[0], group, plural)
        };
        let verdict = authorize(&example(), &node_rules(), &attributes);
        assert_eq!(verdict == Allowed, expected, "{request}: {verdict:?}");
    }

    #[test]
    fn nodes_read_what_their_pods_need() {
        check("get core/secrets default/pull", true);
        check("list core/secrets default/pull", true);
        check("list core/secrets default/-", false);
        check("list core/secrets -/-", false);
        check("update core/secrets default/pull", false);
        check("get core/secrets default/other", false);
        check("get core/secrets kube-system/pull", false);
        check("watch core/configmaps default/keys", true);
        check("create core/serviceaccounts/token default/sa", true);
        check("create core/serviceaccounts/token default/other", false);
        check("delete core/serviceaccounts default/sa", false);
    }

    #[test]
    fn nodes_touch_only_their_own() {
        check("get core/nodes -/n1", true);
        check("get core/nodes -/n2", false);
        check("list core/nodes -/-", false);
        check("watch core/nodes -/n1 metadata.name=n1", true);
        check("create core/nodes -/-", true);
        check("patch core/nodes/status -/n1", true);
        check("delete core/nodes -/n1", false);
        check("get core/pods default/p", true);
        check("get core/pods default/q", false);
        check("list core/pods -/- spec.nodeName=n1", true);
        check("watch core/pods -/- status.phase!=Failed,spec.nodeName=n1", true);
        check("list core/pods -/- spec.nodeName=n2", false);
        check("list core/pods -/- spec.nodeName!=n1", false);
        check(r"list core/pods -/- metadata.name=x\,spec.nodeName\=n1", false);
        check("list core/pods -/-", false);
        check("patch core/pods/status default/p", true);
        check("create core/pods/exec default/p", false);
        check("update coordination.k8s.io/leases kube-node-lease/n1", true);
        check("update coordination.k8s.io/leases kube-node-lease/n2", false);
        check("update coordination.k8s.io/leases default/n1", false);
        check("create coordination.k8s.io/leases kube-node-lease/-", true);
    }

    #[test]
    fn nodes_use_the_common_rules() {
        check("list core/services -/-", true);
        check("watch discovery.k8s.io/endpointslices -/-", true);
        check("create core/events default/-", true);
        check("patch events.k8s.io/events default/e", true);
        check("list core/namespaces -/-", false);
        check("create core/services default/-", false);
    }

    #[test]
    fn others_are_not_this_authorisers_business() {
        let user = UserInfo::authenticated("system:node:n1", []);
        let attributes = Attributes { name: "n1", ..Attributes::resource(&user, "get", "", "nodes") };
        assert_eq!(authorize(&example(), &[], &attributes), NoOpinion(String::new()));
    }
}
