use std::sync::Arc;

use serde_json::{Value, json};
use skiff_informer::ObjectKey;

use crate::cluster::Picture;
use crate::configuration::Configuration;
use crate::model::{Budget, NodeInfo, PodInfo};
use crate::schedule::{Decision, Room, Unschedulable, schedule};

/// A node with 2 CPUs, 4 GiB and room for 10 pods, with `change` merged over it.
pub(crate) fn node(name: &str, change: Value) -> NodeInfo {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    });
    for (key, value) in change.as_object().unwrap() {
        node[key] = value.clone();
    }
    NodeInfo::of(&serde_json::from_value(node).unwrap())
}

/// A node with these labels, of which `name` is its name.
pub(crate) fn labelled(labels: Value) -> NodeInfo {
    node(labels["name"].as_str().unwrap(), json!({"metadata": {"name": labels["name"], "labels": labels}}))
}

fn pod(spec: Value) -> PodInfo {
    object(json!({"spec": spec}))
}

/// A pod in the namespace `ns` with these labels.
fn with_labels(labels: Value, spec: Value) -> PodInfo {
    object(json!({"metadata": {"namespace": "ns", "labels": labels}, "spec": spec}))
}

fn object(mut pod: Value) -> PodInfo {
    if pod["spec"].get("containers").is_none() {
        pod["spec"]["containers"] = json!([]);
    }
    PodInfo::of(&serde_json::from_value(pod).unwrap(), &Configuration::default()).unwrap()
}

fn requesting(cpu: &str, memory: &str) -> PodInfo {
    pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}))
}

/// A node and the pods on it.
#[derive(Clone)]
pub(crate) struct Full(NodeInfo, Vec<PodInfo>);

impl From<NodeInfo> for Full {
    fn from(node: NodeInfo) -> Self {
        Self(node, Vec::new())
    }
}

pub(crate) fn with(node: NodeInfo, pods: &[PodInfo]) -> Full {
    Full(node, pods.to_vec())
}

/// The pods of the node `n` are `n-0`, `n-1`, …
pub(crate) fn picture<N: Into<Full> + Clone>(nodes: &[N]) -> Picture {
    let mut picture = Picture::default();
    picture.namespaces.insert("ns".into(), [("team".into(), "a".into())].into());
    picture.namespaces.insert("other".into(), [("team".into(), "b".into())].into());
    for Full(node, pods) in nodes.iter().cloned().map(Into::into) {
        picture.nodes.set(&node);
        for (number, pod) in pods.into_iter().enumerate() {
            let key = ObjectKey::new(&pod.namespace, &format!("{}-{number}", node.name));
            picture.nodes.put(&node.name, &key, &Arc::new(pod), &picture.namespaces);
        }
    }
    picture
}

pub(crate) fn decide(pod: &PodInfo, picture: &Picture) -> Decision {
    schedule(&ObjectKey::new("ns", "new"), pod, pod.pending.as_ref().unwrap(), picture, "").0
}

pub(crate) fn check<N: Into<Full> + Clone>(pod: &PodInfo, nodes: &[N]) -> String {
    match decide(pod, &picture(nodes)) {
        Decision::Bind(node) => format!("-> {node}"),
        Decision::Unschedulable(why) => why.message,
    }
}

/// The reasons alone, without what is said of preemption.
fn reasons<N: Into<Full> + Clone>(pod: &PodInfo, nodes: &[N]) -> String {
    let text = check(pod, nodes);
    text.split(" no new claims").next().unwrap().trim_start_matches("0/").to_owned()
}

const HELPLESS: &str = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful \
                        for scheduling.";
const NO_VICTIM: &str = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims \
                         found for incoming pod.";

#[test]
fn no_nodes() {
    assert_eq!(check::<Full>(&pod(json!({})), &[]), "no nodes available to schedule pods");
}

#[test]
fn each_refusal_has_its_text() {
    fn refused(pod: &PodInfo, node: impl Into<Full>) -> String {
        check(pod, &[node.into()])
    }
    let plain = pod(json!({}));
    assert_eq!(refused(&plain, node("a", json!({}))), "-> a");
    assert_eq!(
        refused(&plain, node("a", json!({"spec": {"unschedulable": true}}))),
        format!("0/1 nodes are available: 1 node(s) were unschedulable. {HELPLESS}")
    );
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    assert_eq!(
        refused(&plain, node("a", tainted.clone())),
        format!("0/1 nodes are available: 1 node(s) had untolerated taint(s). {HELPLESS}")
    );
    assert_eq!(refused(&pod(json!({"tolerations": [{"operator": "Exists"}]})), node("a", tainted)), "-> a");
    assert_eq!(
        refused(&pod(json!({"nodeSelector": {"disk": "ssd"}})), node("a", json!({}))),
        format!("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {HELPLESS}")
    );
    let web = pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}));
    assert_eq!(
        refused(&web, with(node("a", json!({})), std::slice::from_ref(&web))),
        format!(
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {NO_VICTIM}"
        )
    );
}

#[test]
fn resources_run_out() {
    let full = || with(node("a", json!({})), &[requesting("1500m", "1Gi")]);
    assert_eq!(check(&requesting("500m", "1Gi"), &[full()]), "-> a");
    assert_eq!(
        check(&requesting("501m", "4Gi"), &[full()]),
        format!("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {NO_VICTIM}")
    );
    assert_eq!(
        check(&requesting("3", "1Gi"), &[full()]),
        format!("0/1 nodes are available: 1 Insufficient cpu. {HELPLESS}")
    );
    let crowded = with(node("a", json!({})), &vec![pod(json!({})); 10]);
    assert_eq!(
        check(&pod(json!({})), &[crowded]),
        format!("0/1 nodes are available: 1 Too many pods. {NO_VICTIM}")
    );
    let gpu =
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}));
    assert_eq!(
        check(&gpu, &[node("a", json!({}))]),
        format!("0/1 nodes are available: 1 Insufficient example.com/gpu. {HELPLESS}")
    );
}

#[test]
fn reasons_of_several_nodes_are_counted() {
    let cordoned = || json!({"spec": {"unschedulable": true}});
    let nodes = [
        node("a", cordoned()).into(),
        node("b", cordoned()).into(),
        with(node("c", json!({})), &[requesting("2", "1Gi")]),
    ];
    assert_eq!(
        check(&requesting("1", "1Gi"), &nodes),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. no new claims to deallocate, \
         preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not \
         helpful for scheduling."
    );
}

#[test]
fn the_emptier_node_is_chosen() {
    let used = with(node("a", json!({})), &[requesting("1", "2Gi")]);
    assert_eq!(check(&requesting("100m", "100Mi"), &[used, node("b", json!({})).into()]), "-> b");
    assert_eq!(check(&pod(json!({})), &[node("b", json!({})), node("a", json!({}))]), "-> a");
    let nodes = [with(node("a", json!({})), &[pod(json!({}))]), node("b", json!({})).into()];
    assert_eq!(check(&pod(json!({})), &nodes), "-> b", "pods without requests count as well");
}

#[test]
fn preferences_outweigh_room() {
    let preferring = pod(
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [{"key": "name", "operator": "In", "values": ["b"]}]}},
        ]}}}),
    );
    let nodes = [node("a", json!({})).into(), with(node("b", json!({})), &[requesting("1", "1Gi")])];
    assert_eq!(check(&preferring, &nodes), "-> b");
    let soft = json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}});
    let nodes = [node("a", soft).into(), with(node("b", json!({})), &[requesting("1", "1Gi")])];
    assert_eq!(check(&pod(json!({})), &nodes), "-> b");
}

#[test]
fn a_refusal_names_the_generation_that_it_is_about() {
    let condition =
        crate::act::unscheduled("Unschedulable", "0/1 nodes", Some(3), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(condition["observedGeneration"], 3);
    assert_eq!((&condition["type"], &condition["status"]), (&"PodScheduled".into(), &"False".into()));
}

fn near(kind: &str, terms: Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

#[test]
fn a_pod_goes_where_those_are_that_it_must_be_near() {
    let web = with_labels(json!({"app": "web"}), json!({}));
    let zones = |pods: &[PodInfo]| {
        [
            with(labelled(json!({"name": "a", "zone": "1"})), pods),
            labelled(json!({"name": "b", "zone": "2"})).into(),
            labelled(json!({"name": "c"})).into(),
        ]
    };
    let cache = with_labels(json!({"app": "cache"}), near("podAffinity", json!([term("web", "zone")])));
    assert_eq!(check(&cache, &zones(std::slice::from_ref(&web))), "-> a");
    assert_eq!(
        reasons(&cache, &zones(&[])),
        "3 nodes are available: 3 node(s) didn't match pod affinity rules."
    );
    let both = json!([term("web", "zone"), term("db", "zone")]);
    let both = with_labels(json!({"app": "cache"}), near("podAffinity", both));
    assert_eq!(
        reasons(&both, &zones(&[web.clone(), with_labels(json!({"app": "db"}), json!({}))])),
        "3 nodes are available: 3 node(s) didn't match pod affinity rules.",
        "one pod must match all terms"
    );
    let first = with_labels(json!({"app": "web"}), near("podAffinity", json!([term("web", "zone")])));
    assert_eq!(check(&first, &zones(&[])), "-> a", "the first of its kind");
}

#[test]
fn a_pod_keeps_away_from_those_it_forbids_and_that_forbid_it() {
    let web = with_labels(json!({"app": "web"}), json!({}));
    let lonely = with_labels(json!({"app": "web"}), near("podAntiAffinity", json!([term("web", "name")])));
    let a = || labelled(json!({"name": "a"}));
    assert_eq!(
        reasons(&lonely, &[with(a(), std::slice::from_ref(&web))]),
        "1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    );
    assert_eq!(
        reasons(&web, &[with(a(), std::slice::from_ref(&lonely))]),
        "1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
    assert_eq!(check(&web, &[with(a(), &[lonely]), labelled(json!({"name": "b"})).into()]), "-> b");
}

#[test]
fn terms_reach_the_namespaces_that_they_name() {
    let web = object(json!({"metadata": {"namespace": "other", "labels": {"app": "web"}}, "spec": {}}));
    let nodes = [with(labelled(json!({"name": "a"})), &[web])];
    let fits = |more: Value| {
        let mut term = term("web", "name");
        term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        check(&with_labels(json!({}), near("podAffinity", json!([term]))), &nodes) == "-> a"
    };
    assert!(!fits(json!({})), "its own alone");
    assert!(fits(json!({"namespaces": ["other"]})));
    assert!(fits(json!({"namespaceSelector": {}})));
    assert!(fits(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})));
    assert!(!fits(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})));
}

#[test]
fn wishes_about_other_pods_count() {
    let web = with_labels(json!({"app": "web"}), json!({}));
    let nodes = |pods: &[PodInfo]| {
        [labelled(json!({"name": "a"})).into(), with(labelled(json!({"name": "b"})), pods)]
    };
    let wish = |kind: &str| {
        let terms = json!([{"weight": 100, "podAffinityTerm": term("web", "name")}]);
        let rules = json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": terms}}});
        with_labels(json!({"app": "web"}), rules)
    };
    assert_eq!(check(&wish("podAffinity"), &nodes(std::slice::from_ref(&web))), "-> b");
    assert_eq!(check(&wish("podAntiAffinity"), &nodes(std::slice::from_ref(&web))), "-> a");
    assert_eq!(check(&web, &nodes(&[wish("podAffinity")])), "-> b", "they wish for it");
    assert_eq!(check(&web, &nodes(&[wish("podAntiAffinity")])), "-> a");
}

fn spread(when: &str, more: Value) -> Value {
    let mut rule = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
                          "labelSelector": {"matchLabels": {"app": "web"}}});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"topologySpreadConstraints": [rule]})
}

#[test]
fn pods_are_spread_over_domains() {
    let web = with_labels(json!({"app": "web"}), json!({}));
    let zone = |name: &str, zone: &str| labelled(json!({"name": name, "zone": zone}));
    let nodes =
        [with(zone("a", "1"), &[web.clone(), web.clone()]), with(zone("b", "2"), std::slice::from_ref(&web))];
    let pod = |when: &str, more: Value| with_labels(json!({"app": "web"}), spread(when, more));
    assert_eq!(check(&pod("DoNotSchedule", json!({})), &nodes), "-> b");
    let only_a = {
        let mut only_a = spread("DoNotSchedule", json!({}));
        only_a["nodeSelector"] = json!({"name": "a"});
        only_a
    };
    assert_eq!(
        check(&with_labels(json!({"app": "web"}), only_a.clone()), &nodes),
        "-> a",
        "nodes that the pod cannot go to are not counted"
    );
    let mut ignoring = only_a;
    ignoring["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    assert_eq!(
        reasons(&with_labels(json!({"app": "web"}), ignoring), &nodes),
        "2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod topology \
         spread constraints."
    );
    assert_eq!(
        reasons(&pod("DoNotSchedule", json!({"minDomains": 3})), &nodes),
        "2 nodes are available: 2 node(s) didn't match pod topology spread constraints.",
        "a third domain is wanted"
    );
    assert_eq!(
        reasons(&pod("DoNotSchedule", json!({"topologyKey": "rack"})), &nodes),
        "2 nodes are available: 2 node(s) didn't match pod topology spread constraints (missing required label)."
    );
    assert_eq!(check(&pod("ScheduleAnyway", json!({})), &nodes), "-> b");
}

#[test]
fn an_image_that_is_there_makes_a_node_better() {
    let images = json!({"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"},
                        "images": [{"names": ["big:latest"], "sizeBytes": 900_000_000}]});
    let wanting = pod(json!({"containers": [{"name": "c", "image": "big"}]}));
    assert_eq!(check(&wanting, &[node("a", json!({})), node("b", json!({"status": images}))]), "-> b");
}

fn important(priority: i32, cpu: &str) -> PodInfo {
    let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
    with_labels(json!({"app": "web"}), json!({"priority": priority, "containers": containers}))
}

fn victims(pod: &PodInfo, picture: &Picture) -> (String, Vec<String>) {
    match decide(pod, picture) {
        Decision::Unschedulable(Unschedulable { room: Room::Made(preemption), .. }) => {
            let names = preemption.victims.iter().map(|(key, _)| key.name().to_owned());
            (preemption.node.clone(), names.collect())
        }
        other => panic!("no room is made: {other:?}"),
    }
}

#[test]
fn no_more_pods_go_than_must_and_the_least_important() {
    let a = with(node("a", json!({})), &[important(1, "1"), important(2, "500m"), important(0, "500m")]);
    let b = with(node("b", json!({})), &[important(5, "2")]);
    let picture = picture(&[a, b]);
    assert_eq!(victims(&important(9, "500m"), &picture), ("a".into(), vec!["a-2".into()]));
    assert_eq!(victims(&important(9, "1500m"), &picture), ("a".into(), vec!["a-0".into(), "a-2".into()]));
    let Decision::Unschedulable(why) = decide(&important(9, "500m"), &picture) else { panic!("it fits") };
    assert_eq!(why.message, "0/2 nodes are available: 2 Insufficient cpu.");
}

#[test]
fn pods_of_the_same_importance_stay() {
    let nodes = [with(node("a", json!({})), &[important(9, "2")])];
    assert_eq!(
        check(&important(9, "1"), &nodes),
        format!("0/1 nodes are available: 1 Insufficient cpu. {NO_VICTIM}")
    );
    let mut patient = important(10, "1");
    patient.pending.as_mut().unwrap().preempts = false;
    assert_eq!(
        check(&patient, &nodes),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to \
         preemptionPolicy=Never."
    );
}

#[test]
fn budgets_are_broken_only_where_nothing_else_helps() {
    let budget = |allowed: i32| {
        let budget = json!({"metadata": {"namespace": "ns"}, "spec": {"selector": {"matchLabels": {"app": "web"}}},
                            "status": {"disruptionsAllowed": allowed, "currentHealthy": 0, "desiredHealthy": 0,
                                       "expectedPods": 0}});
        Arc::new(Budget::of(&serde_json::from_value(budget).unwrap()))
    };
    let mut free = important(3, "2");
    free.labels = [("app".into(), "free".into())].into();
    let nodes = [with(node("a", json!({})), &[important(0, "2")]), with(node("b", json!({})), &[free])];
    let mut picture = picture(&nodes);
    assert_eq!(victims(&important(9, "1"), &picture).0, "a", "the less important one");
    picture.budgets = vec![budget(0)];
    assert_eq!(victims(&important(9, "1"), &picture).0, "b");
    picture.budgets = vec![budget(1)];
    assert_eq!(victims(&important(9, "1"), &picture).0, "a");
}

#[test]
fn room_that_is_made_for_a_pod_is_not_given_to_a_lesser_one() {
    let mut picture = picture(&[node("a", json!({}))]);
    let coming = Arc::new(important(5, "2"));
    picture.nominate(&ObjectKey::new("ns", "coming"), &coming, Some("a"));
    let decision = decide(&important(0, "1"), &picture);
    assert!(matches!(decision, Decision::Unschedulable(_)), "{decision:?}");
    assert_eq!(decide(&important(6, "1"), &picture), Decision::Bind("a".into()));
}

#[test]
fn one_that_waits_for_pods_to_end_makes_no_more_room() {
    let mut ending = important(0, "2");
    ending.preempted = true;
    let mut pod = important(9, "1");
    pod.pending.as_mut().unwrap().nominated = Some("a".into());
    assert_eq!(
        check(&pod, &[with(node("a", json!({})), &[ending])]),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a \
         terminating pod on the nominated node."
    );
}
