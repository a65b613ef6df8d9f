use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::desired::desired;
use super::pack::{Frame, Placeholder, Plan, pack};
use super::{frame_meta, plan};
use crate::pods::KnownPod;
use crate::pods::tests::known;
use crate::services::Family;

fn service(change: Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "kubia", "namespace": "default", "uid": "svc", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "kubia"}, "ports": [{"port": 80, "targetPort": "web"}]},
    });
    json_patch(&mut service, change);
    serde_json::from_value(service).unwrap()
}

fn json_patch(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            change
                .into_iter()
                .for_each(|(key, value)| json_patch(target.entry(key).or_insert(Value::Null), value));
        }
        (target, change) => *target = change,
    }
}

/// The ready pod `p<number>` at 10.0.0.<number>, with port `web` = `port`.
fn pod(number: usize, port: i32, change: Value) -> Arc<KnownPod> {
    let mut pod = json!({
        "metadata": {"name": format!("p{number}"), "namespace": "default", "uid": format!("u{number}")},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.0.{}.{}", number / 250, number % 250)}],
                   "conditions": [{"type": "Ready", "status": "True"}]},
    });
    json_patch(&mut pod, change);
    Arc::new(known(pod))
}

fn node(name: &str) -> Option<Arc<Node>> {
    let labels = json!({"topology.kubernetes.io/zone": "z1"});
    let node = json!({"metadata": {"name": name, "labels": labels}});
    (name == "n1").then(|| Arc::new(serde_json::from_value(node).unwrap()))
}

fn pods(numbers: impl IntoIterator<Item = usize>) -> Vec<Arc<KnownPod>> {
    numbers.into_iter().map(|number| pod(number, 8080, json!({}))).collect()
}

/// The slices after the plan was carried out; new ones are named `new-0`, ….
fn applied(existing: &[Arc<EndpointSlice>], plan: Plan) -> Vec<Arc<EndpointSlice>> {
    let mut slices: BTreeMap<String, EndpointSlice> =
        existing.iter().map(|slice| (slice.name_any(), EndpointSlice::clone(slice))).collect();
    plan.delete.iter().for_each(|slice| drop(slices.remove(&slice.name_any())));
    plan.update.into_iter().for_each(|slice| drop(slices.insert(slice.name_any(), slice)));
    for (number, mut slice) in plan.create.into_iter().enumerate() {
        let name = format!("new-{}-{number}", slices.len());
        slice.metadata.name = Some(name.clone());
        slices.insert(name, slice);
    }
    slices.into_values().map(Arc::new).collect()
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    let mut sizes: Vec<_> = slices.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
    sizes.sort_unstable();
    sizes
}

/// Writes of a plan as `create/update/delete` counts.
fn writes(plan: &Plan) -> (usize, usize, usize) {
    (plan.create.len(), plan.update.len(), plan.delete.len())
}

fn plan_for(service: &Service, members: &[Arc<KnownPod>], existing: &[Arc<EndpointSlice>]) -> Plan {
    plan(service, members, existing, &node, None)
}

#[test]
fn a_slice_carries_labels_owner_and_conditions() {
    let plan = plan_for(&service(json!({})), &pods([1]), &[]);
    let slice = &plan.create[0];
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("kubia-"));
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "kubia");
    assert_eq!(slice.labels()["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(slice.labels()["team"], "a");
    assert_eq!(slice.owner_references()[0].uid, "svc");
    assert_eq!(slice.address_type, "IPv4");
    let endpoint = serde_json::to_value(&slice.endpoints.as_ref().unwrap()[0]).unwrap();
    let expected = json!({
        "addresses": ["10.0.0.1"], "nodeName": "n1", "zone": "z1",
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "p1", "uid": "u1"},
    });
    assert_eq!(endpoint, expected);
    let ports = serde_json::to_value(&slice.ports).unwrap();
    assert_eq!(ports, json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
}

#[test]
fn reserved_labels_of_the_service_are_not_copied() {
    let labels = json!({"metadata": {"labels": {
        "kubernetes.io/service-name": "x", "service.kubernetes.io/headless": "x"}}});
    let meta = frame_meta(&service(labels), None);
    let labels = meta.labels.unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "kubia");
    assert!(!labels.contains_key("service.kubernetes.io/headless"));
    let headless = frame_meta(&service(json!({"spec": {"clusterIP": "None"}})), None);
    assert_eq!(headless.labels.unwrap()["service.kubernetes.io/headless"], "");
}

#[test]
fn conditions_follow_readiness_and_deletion() {
    let check = |service: &Service, change: Value| {
        let groups = desired(service, &[pod(1, 8080, change)], Family::V4, &node);
        let endpoint = groups.into_values().next().map(|group| group.endpoints[0].clone())?;
        let conditions = endpoint.conditions?;
        Some((conditions.ready?, conditions.serving?, conditions.terminating?))
    };
    let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let plain = service(json!({}));
    let publishing = service(json!({"spec": {"publishNotReadyAddresses": true}}));
    assert_eq!(check(&plain, not_ready.clone()), Some((false, false, false)));
    assert_eq!(check(&plain, deleting.clone()), Some((false, true, true)));
    assert_eq!(check(&publishing, not_ready), Some((true, false, false)));
    assert_eq!(check(&publishing, deleting), Some((true, true, true)));
    assert_eq!(check(&plain, json!({"status": {"phase": "Failed"}})), None);
    assert_eq!(check(&plain, json!({"status": {"podIPs": null}})), None);
    assert_eq!(check(&plain, json!({"spec": {"nodeName": "unknown"}})), None);
    assert_eq!(check(&publishing, json!({"spec": {"nodeName": "unknown"}})), Some((true, true, false)));
}

#[test]
fn hints_follow_the_traffic_distribution() {
    let check = |distribution: &str| {
        let service = service(json!({"spec": {"trafficDistribution": distribution}}));
        let groups = desired(&service, &pods([1]), Family::V4, &node);
        let endpoint = groups.into_values().next().unwrap().endpoints[0].clone();
        serde_json::to_value(endpoint.hints).unwrap()
    };
    assert_eq!(check("PreferClose"), json!({"forZones": [{"name": "z1"}]}));
    assert_eq!(check("PreferSameNode"), json!({"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}));
    assert_eq!(check("Unknown"), Value::Null);
}

#[test]
fn a_service_without_endpoints_has_one_empty_slice() {
    let service = service(json!({}));
    let first = plan_for(&service, &[], &[]);
    assert_eq!(writes(&first), (1, 0, 0));
    let slices = applied(&[], first);
    assert_eq!(writes(&plan_for(&service, &[], &slices)), (0, 0, 0));
    let filled = plan_for(&service, &pods([1]), &slices);
    assert_eq!(writes(&filled), (0, 1, 0), "the placeholder is recycled");
    let slices = applied(&slices, filled);
    assert_eq!(writes(&plan_for(&service, &[], &slices)), (0, 1, 0), "and becomes one again");
}

#[test]
fn a_change_of_readiness_is_one_update() {
    let service = service(json!({}));
    let slices = applied(&[], plan_for(&service, &pods(0..150), &[]));
    assert_eq!(sizes(&slices), [50, 100]);
    assert_eq!(writes(&plan_for(&service, &pods(0..150), &slices)), (0, 0, 0));
    let mut members = pods(0..150);
    members[120] = pod(120, 8080, json!({"status": {"conditions": []}}));
    assert_eq!(writes(&plan_for(&service, &members, &slices)), (0, 1, 0));
}

#[test]
fn new_endpoints_fill_changed_slices_then_the_best_fit_then_new_ones() {
    let service = service(json!({}));
    let slices = applied(&[], plan_for(&service, &pods(0..150), &[]));
    let more = plan_for(&service, &pods(0..160), &slices);
    assert_eq!(writes(&more), (0, 1, 0));
    assert_eq!(sizes(&applied(&slices, more)), [60, 100]);
    let swapped = plan_for(&service, &pods((1..150).chain([200])), &slices);
    assert_eq!(writes(&swapped), (0, 1, 0), "the slice that lost one takes the new one");
    let many = plan_for(&service, &pods(0..210), &slices);
    assert_eq!(writes(&many), (1, 0, 0), "60 more do not fit into the slice of 50");
}

#[test]
fn pods_with_other_port_numbers_have_a_slice_of_their_own() {
    let service = service(json!({}));
    let members = [pod(1, 8080, json!({})), pod(2, 9090, json!({})), pod(3, 8080, json!({}))];
    let slices = applied(&[], plan_for(&service, &members, &[]));
    assert_eq!(sizes(&slices), [1, 2]);
}

#[test]
fn changed_labels_are_brought_to_every_slice() {
    let slices = applied(&[], plan_for(&service(json!({})), &pods(0..150), &[]));
    let relabelled = service(json!({"metadata": {"labels": {"team": "b"}}}));
    assert_eq!(writes(&plan_for(&relabelled, &pods(0..150), &slices)), (0, 2, 0));
}

#[test]
fn families_have_slices_of_their_own_and_dropped_ones_go() {
    let dual = service(json!({"spec": {"ipFamilies": ["IPv4", "IPv6"]}}));
    let slices = applied(&[], plan_for(&dual, &pods([1]), &[]));
    assert_eq!(slices.iter().map(|slice| slice.address_type.as_str()).collect::<Vec<_>>(), ["IPv4", "IPv6"]);
    let single = service(json!({"spec": {"ipFamilies": ["IPv4"]}}));
    assert_eq!(writes(&plan_for(&single, &pods([1]), &slices)), (0, 0, 1));
}

#[test]
fn foreign_annotations_survive_and_the_trigger_time_is_replaced() {
    let mut slices = applied(&[], plan_for(&service(json!({})), &pods([1]), &[]));
    let mut slice = EndpointSlice::clone(&slices[0]);
    slice.annotations_mut().insert("mine".into(), "kept".into());
    slice.annotations_mut().insert("endpoints.kubernetes.io/last-change-trigger-time".into(), "old".into());
    slices[0] = Arc::new(slice);
    let update = plan(&service(json!({})), &pods([1, 2]), &slices, &node, Some("new".into())).update;
    let annotations = update[0].annotations();
    assert_eq!(annotations["mine"], "kept");
    assert_eq!(annotations["endpoints.kubernetes.io/last-change-trigger-time"], "new");
    let update = plan_for(&service(json!({})), &pods([1, 2]), &slices).update;
    assert!(!update[0].annotations().contains_key("endpoints.kubernetes.io/last-change-trigger-time"));
}

#[test]
fn packing_needs_no_more_writes_than_slices() {
    let meta = frame_meta(&service(json!({})), None);
    let frame = Frame { meta: &meta, address_type: "IPv4", capacity: 10, placeholder: Placeholder::Keep };
    let groups = desired(&service(json!({})), &pods(0..35), Family::V4, &node);
    let plan = pack(&frame, &[], groups);
    assert_eq!(sizes(&applied(&[], plan)), [5, 10, 10, 10]);
}
