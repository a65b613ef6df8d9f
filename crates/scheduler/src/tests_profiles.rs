use serde_json::{Value, json};

use crate::configuration::Configuration;
use crate::model::{Labels, OwnerKind, PodInfo};
use crate::tests::{Full, decide, labelled, node, picture, with};
use skiff_informer::ObjectKey;
use skiff_machinery::selector::LabelSelector;

/// A pod that is decided about by a profile.
fn by(profile: Value, pod: Value) -> PodInfo {
    let configuration = Configuration::read(&json!({"profiles": [profile]})).unwrap();
    PodInfo::of(&serde_json::from_value(pod).unwrap(), &configuration).unwrap()
}

fn check<N: Into<Full> + Clone>(pod: &PodInfo, nodes: &[N]) -> String {
    crate::tests::check(pod, nodes)
}

fn pod(cpu: &str) -> Value {
    json!({"metadata": {"namespace": "ns", "labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]}})
}

fn full(name: &str, cpu: &str) -> Full {
    with(node(name, json!({})), &[by(json!({}), pod(cpu))])
}

#[test]
fn the_fullest_node_may_be_the_best() {
    let strategy = |kind: &str| json!({"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": kind}}}]});
    let nodes = [full("a", "1"), node("b", json!({})).into()];
    assert_eq!(check(&by(strategy("LeastAllocated"), pod("100m")), &nodes), "-> b");
    assert_eq!(check(&by(strategy("MostAllocated"), pod("100m")), &nodes), "-> a");
    let shape = json!([{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]);
    let ratio = json!({"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu"}], "requestedToCapacityRatio": {"shape": shape}});
    let ratio = json!({"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": ratio}}],
                       "plugins": {"score": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]}}});
    let nodes = [full("a", "1900m"), full("b", "800m"), node("c", json!({})).into()];
    assert_eq!(check(&by(ratio, pod("100m")), &nodes), "-> b");
}

#[test]
fn a_profile_asks_for_nodes_of_its_own() {
    let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["batch"]}]}]}});
    let profile = json!({"pluginConfig": [{"name": "NodeAffinity", "args": {"addedAffinity": affinity}}]});
    let nodes = [labelled(json!({"name": "a"})), labelled(json!({"name": "b", "pool": "batch"}))];
    assert_eq!(check(&by(profile.clone(), pod("1")), &nodes), "-> b");
    let text = check(&by(profile, pod("1")), &nodes[..1]);
    assert!(
        text.starts_with("0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity.")
    );
}

#[test]
fn rules_that_are_off_refuse_nothing_and_what_is_not_done_is_not_told() {
    let off = json!({"plugins": {"filter": {"disabled": [{"name": "NodeUnschedulable"}]}}});
    let cordoned = node("a", json!({"spec": {"unschedulable": true}}));
    assert_eq!(check(&by(off, pod("1")), std::slice::from_ref(&cordoned)), "-> a");
    let quiet = json!({"plugins": {"postFilter": {"disabled": [{"name": "*"}]}}});
    let text = check(&by(quiet, pod("1")), std::slice::from_ref(&cordoned));
    assert_eq!(text, "0/1 nodes are available: 1 node(s) were unschedulable.");
    let no_devices = json!({"plugins": {"multiPoint": {"disabled": [{"name": "DynamicResources"}]}}});
    let text = check(&by(no_devices, pod("1")), &[cordoned]);
    assert!(
        text.contains("unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful"),
        "{text}"
    );
    let ignoring = json!({"pluginConfig": [{"name": "NodeResourcesFit", "args": {"ignoredResourceGroups": ["example.com"]}}]});
    let mut gpu = pod("1");
    gpu["spec"]["containers"][0]["resources"]["requests"]["example.com/gpu"] = json!("1");
    assert_eq!(check(&by(ignoring, gpu), &[node("a", json!({}))]), "-> a");
}

#[test]
fn the_order_of_rules_says_which_is_told() {
    let first = json!({"plugins": {"filter": {"enabled": [{"name": "NodeResourcesFit"}]}}});
    let cordoned = node("a", json!({"spec": {"unschedulable": true}}));
    let text = check(&by(first, pod("9")), &[cordoned]);
    assert!(text.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{text}");
}

#[test]
fn pods_that_name_their_node_are_told_of_it_alone() {
    let named = |names: &[&str]| {
        let mut pod = pod("9");
        let field = json!({"key": "metadata.name", "operator": "In", "values": names});
        let second = json!({"key": "metadata.name", "operator": "In", "values": ["b"]});
        let fields = if names == ["x"] { json!([field, second]) } else { json!([field]) };
        pod["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchFields": fields}]}}});
        check(&by(json!({}), pod), &[node("a", json!({})), node("b", json!({}))])
    };
    assert_eq!(
        named(&["a"]),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to \
         deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
    assert_eq!(
        named(&["x"]),
        "0/2 nodes are available: pod affinity terms conflict. not found",
        "devices were not asked yet"
    );
}

/// A picture of two zones of which the first has more pods of `app=web`, and a Service or owner that selects them.
fn zones(of: Option<OwnerKind>) -> crate::cluster::Picture {
    let web = by(json!({}), pod("100m"));
    let in_zone = |name: &str, zone: &str| {
        labelled(json!({"name": name, "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}))
    };
    // By room alone `b` is the best.
    let busy = by(json!({}), json!({"metadata": {"namespace": "other"}, "spec": pod("1500m")["spec"]}));
    let mut picture = picture(&[
        with(in_zone("a", "1"), &[web.clone(), web.clone(), web.clone()]),
        in_zone("b", "1").into(),
        with(in_zone("c", "2"), &[busy]),
    ]);
    let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
    let key = ObjectKey::new("ns", "web");
    match of {
        Some(kind) => picture.selectors.set_owner(kind, &key, Some(&LabelSelector::all_of(labels))),
        None => picture.selectors.set_service(&key, Some(&labels)),
    }
    picture
}

#[test]
fn pods_of_a_service_or_an_owner_are_spread_over_nodes_and_zones() {
    let on = |profile: Value, owner: Option<(&str, &str)>, picture: &mut crate::cluster::Picture| {
        let mut pod = pod("100m");
        if let Some((version, kind)) = owner {
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": version, "kind": kind, "name": "web", "uid": "u", "controller": true}]);
        }
        let pod = by(profile, pod);
        let uncounted = decide(&pod, picture);
        picture.prepare(&pod, pod.pending.as_ref().unwrap());
        let counted = decide(&pod, picture);
        assert_eq!(uncounted, counted, "what is counted before is what would be counted");
        match counted {
            crate::schedule::Decision::Bind(node) => node,
            refused => format!("{refused:?}"),
        }
    };
    let zone = json!({"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"});
    let list = |constraints: Value| {
        json!({"pluginConfig": [{"name": "PodTopologySpread",
                                 "args": {"defaultingType": "List", "defaultConstraints": constraints}}]})
    };
    let hard = || list(json!([zone]));
    let mut service = zones(None);
    assert_eq!(on(hard(), None, &mut service), "c", "zone 1 has three");
    assert_eq!(on(list(json!([])), None, &mut service), "b");
    let weighty = json!({"plugins": {"score": {"enabled": [{"name": "PodTopologySpread", "weight": 100}]}}});
    assert_eq!(on(weighty.clone(), None, &mut service), "c", "by the system's constraints");
    for (kind, version, name) in [
        (OwnerKind::ReplicaSet, "apps/v1", "ReplicaSet"),
        (OwnerKind::StatefulSet, "apps/v1", "StatefulSet"),
        (OwnerKind::ReplicationController, "v1", "ReplicationController"),
    ] {
        let mut owned = zones(Some(kind));
        assert_eq!(on(weighty.clone(), Some((version, name)), &mut owned), "c", "{name}");
        assert_eq!(
            on(weighty.clone(), Some(("batch/v1", "Job")), &mut owned),
            "b",
            "nobody knows the others"
        );
        assert_eq!(on(weighty.clone(), None, &mut owned), "b");
    }
}

#[test]
fn a_promised_node_is_taken_without_comparing() {
    let mut waiting = by(json!({}), pod("1"));
    waiting.pending.as_mut().unwrap().nominated = Some("a".into());
    let nodes = [full("a", "500m"), node("b", json!({})).into()];
    assert_eq!(check(&waiting, &nodes), "-> a");
    let nodes = [full("a", "1500m"), node("b", json!({})).into()];
    assert_eq!(check(&waiting, &nodes), "-> b", "it does not fit");
}

#[test]
fn long_reasons_are_cut_for_events() {
    let text = crate::act::shortened("é".repeat(600));
    assert!(text.ends_with(" ...") && text.len() <= 1024 && text.len() > 1020);
    assert_eq!(crate::act::shortened("short".into()), "short");
}
