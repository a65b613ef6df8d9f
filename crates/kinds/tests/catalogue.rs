//! The built-in kinds as a whole.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_kinds::builtin;
use skiff_machinery::{ClusterFacts, Context, GroupVersion, NodePorts, Object, Requester, strict};
use skiff_schema::{DefinitionId, Schema, Type};

#[test]
fn finds_by_url_and_by_kind() {
    let catalogue = builtin();
    let check = |group: &str, version: &str, plural: &str, kind: &str| {
        let found = catalogue.find(group, version, plural).map(|row| row.names.kind.as_ref());
        assert_eq!(found, Some(kind));
        let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
        assert_eq!(catalogue.find_kind(&gv, kind).map(|row| row.names.plural.as_ref()), Some(plural));
    };
    check("", "v1", "services", "Service");
    check("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");
    check("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
    assert!(catalogue.find("", "v2", "services").is_none());
    assert!(catalogue.find("apps", "v1", "services").is_none());
}

#[test]
fn category_all_lists_pods_before_controllers_before_services() {
    let catalogue = builtin();
    let all: Vec<_> =
        catalogue.iter().filter(|row| row.names.categories.iter().any(|c| c == "all")).collect();
    let names: Vec<_> = all.iter().map(|row| row.names.plural.as_ref()).collect();
    let wanted = [
        "pods",
        "replicationcontrollers",
        "services",
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
        "horizontalpodautoscalers",
        "horizontalpodautoscalers",
        "cronjobs",
        "jobs",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn every_row_prints_one_cell_per_column() {
    for kind in builtin().iter() {
        let mut object = Object::default();
        object.set(&["metadata", "name"], "x");
        let row = kind.print.row(&object, jiff::Timestamp::UNIX_EPOCH);
        // As in Kubernetes, whose rows of addresses end with their age and have no column for it.
        let untitled = usize::from(kind.names.kind == "IPAddress");
        assert_eq!(row.cells.len(), kind.columns.len() + untitled, "{kind:?}");
    }
}

/// An object with every object, list and map that the schema allows, and no scalar in any of them.
fn hollow(schema: &Schema, ty: Type, above: &mut Vec<DefinitionId>) -> Value {
    match ty {
        Type::Object(id) if above.contains(&id) => json!({}),
        Type::Object(id) => {
            above.push(id);
            let fields = schema.get(id).fields().iter();
            let map = fields.map(|f| (f.name.to_string(), hollow(schema, f.ty, above))).collect();
            above.pop();
            Value::Object(map)
        }
        Type::List(inner) => json!([hollow(schema, schema.inner(inner), above)]),
        Type::Map(inner) => json!({"k": hollow(schema, schema.inner(inner), above)}),
        _ => Value::Null,
    }
}

#[test]
fn whatever_a_client_leaves_out_every_kind_can_be_read_again() {
    let cluster = ClusterFacts { domain: "cluster.local".to_owned(), node_ports: NodePorts::USUAL };
    let requester = Requester::nobody();
    let cx = Context { now: Timestamp::UNIX_EPOCH, cluster: &cluster, requester };
    for kind in builtin().iter() {
        let tree = hollow(kind.root.schema(), kind.root.ty(), &mut Vec::new());
        if !tree.is_object() {
            continue;
        }
        let mut object = strict::prune(tree, &kind.root).unwrap().object;
        object.set(&["apiVersion"], kind.gv.to_string());
        object.set(&["kind"], kind.names.kind.as_ref());
        kind.fill(&mut object);
        let mut errors = kind.strategy.validate(cx, &object);
        errors.extend(kind.strategy.validate_update(cx, &object, &object));
        errors.extend(kind.strategy.validate_status(cx, &object, &object));
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(!texts.iter().any(|text| text.contains("cannot decode")), "{kind:?}: {texts:?}");
    }
}
