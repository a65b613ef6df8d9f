use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::storage::v1::{CSINode, CSIStorageCapacity, VolumeAttachment};
use serde_json::{Value, json};
use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Volume};

use crate::cluster::Picture;
use crate::configuration::{Configuration, Profile};
use crate::model::{NodeInfo, PodInfo};
use crate::schedule::{Decision, schedule};
use crate::storage::{Attachment, Capacity, Class, Driver, limits};

/// A cluster with nodes `a` and `b`, in zones of these names, and a class `s` that waits for consumers.
fn cluster() -> Picture {
    let mut picture = Picture::default();
    for name in ["a", "b"] {
        let node = json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": name}},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
        });
        picture.nodes.set(&NodeInfo::of(&serde_json::from_value(node).unwrap()));
    }
    class(&mut picture, json!({}));
    picture
}

fn class(picture: &mut Picture, change: Value) {
    let mut class = json!({"provisioner": "x.io/p", "volumeBindingMode": "WaitForFirstConsumer"});
    class.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let class = Class::of(&serde_json::from_value(class).unwrap());
    picture.storage.set_class("s", Some(&Arc::new(class)));
}

fn pod(name: &str, volumes: &[Value]) -> PodInfo {
    let volumes: Vec<Value> = volumes
        .iter()
        .enumerate()
        .map(|(number, source)| {
            let mut volume = source.clone();
            volume["name"] = format!("v{number}").into();
            volume
        })
        .collect();
    let pod = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": name},
        "spec": {"containers": [], "volumes": volumes},
    });
    PodInfo::of(&serde_json::from_value(pod).unwrap(), &Configuration::default()).unwrap()
}

fn named(claim: &str) -> Value {
    json!({"persistentVolumeClaim": {"claimName": claim}})
}

/// A claim of 1 GiB of the class `s`.
fn claim(picture: &mut Picture, name: &str, change: Value) {
    let mut claim = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "5"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
                 "resources": {"requests": {"storage": "1Gi"}}},
    });
    for (part, fields) in change.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            claim[part][field] = value.clone();
        }
    }
    let claim = Claim::of(&serde_json::from_value(claim).unwrap());
    picture.storage.set_claim(&ObjectKey::new("ns", name), Some(&Arc::new(claim)));
}

fn bound_to(volume: &str) -> Value {
    json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}})
}

/// A volume of 2 GiB of the class `s`.
fn volume(picture: &mut Picture, name: &str, labels: Value, change: Value) {
    let mut volume = json!({
        "metadata": {"name": name, "labels": labels, "resourceVersion": "6"}, "status": {"phase": "Available"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s", "capacity": {"storage": "2Gi"}},
    });
    volume["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let volume = Volume::of(&serde_json::from_value(volume).unwrap());
    picture.storage.set_volume(name, Some(&Arc::new(volume)));
}

/// What a volume says that can be reached only from one zone.
fn in_zone(zone: &str) -> Value {
    let expression = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]});
    json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}})
}

fn decide(picture: &Picture, pod: &PodInfo) -> String {
    let key = ObjectKey::new("ns", "p");
    let (decision, _) = schedule(&key, pod, pod.pending.as_ref().unwrap(), picture, "");
    match decision {
        Decision::Bind(node) => format!("-> {node}"),
        Decision::Unschedulable(why) => why.message,
    }
}

fn check(picture: &Picture, volumes: &[Value], expected: &str) {
    let said = decide(picture, &pod("p", volumes));
    let said = said.split(" no new claims").next().unwrap().trim_start_matches("0/2 nodes are available: ");
    assert_eq!(said, expected);
}

/// Puts a pod on a node.
fn put(picture: &mut Picture, node: &str, pod: PodInfo) {
    let pod = Arc::new(PodInfo { pending: None, ..pod });
    picture.storage.count(pod.volumes.as_deref(), 1);
    picture.nodes.put(node, &ObjectKey::new("ns", &pod.uid), &pod, &picture.namespaces);
}

#[test]
fn claims_have_to_be_usable() {
    let mut picture = cluster();
    check(&picture, &[named("c")], r#"persistentvolumeclaim "c" not found. not found"#);
    let own = json!({"ephemeral": {}});
    check(
        &picture,
        std::slice::from_ref(&own),
        r#"waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v0". not found"#,
    );
    claim(&mut picture, "p-v0", json!({}));
    check(
        &picture,
        std::slice::from_ref(&own),
        "PVC ns/p-v0 was not created for pod ns/p (pod is not owner). not found",
    );
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p", "controller": true}]);
    claim(&mut picture, "p-v0", json!({"metadata": {"ownerReferences": owner}}));
    check(&picture, &[own], "-> a");
    claim(&mut picture, "c", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    check(&picture, &[named("c")], r#"persistentvolumeclaim "c" is being deleted. not found"#);
    claim(&mut picture, "c", json!({"spec": {"volumeName": "v"}, "status": {"phase": "Lost"}}));
    check(
        &picture,
        &[named("c")],
        r#"persistentvolumeclaim "c" bound to non-existent persistentvolume "v". not found"#,
    );
    claim(&mut picture, "c", json!({"spec": {"storageClassName": "other"}}));
    check(&picture, &[named("c")], "pod has unbound immediate PersistentVolumeClaims. not found");
    claim(&mut picture, "c", bound_to("v"));
    check(&picture, &[named("c")], r#"persistentvolume "v" not found. not found"#);
}

#[test]
fn volumes_that_are_bound_have_to_be_reached() {
    let mut picture = cluster();
    claim(&mut picture, "c", bound_to("v"));
    volume(&mut picture, "v", json!({}), in_zone("b"));
    check(&picture, &[named("c")], "-> b");
    volume(&mut picture, "v", json!({}), in_zone("c"));
    check(&picture, &[named("c")], "2 node(s) didn't match PersistentVolume's node affinity.");
    volume(&mut picture, "v", json!({"topology.kubernetes.io/zone": "c__b"}), json!({}));
    check(&picture, &[named("c")], "-> b");
    volume(&mut picture, "v", json!({"failure-domain.beta.kubernetes.io/zone": "c"}), json!({}));
    check(&picture, &[named("c")], "2 node(s) had no available volume zone.");
}

#[test]
fn open_claims_get_volumes_of_the_node_or_new_ones() {
    let mut picture = cluster();
    class(&mut picture, json!({"provisioner": "kubernetes.io/no-provisioner"}));
    claim(&mut picture, "c", json!({}));
    check(&picture, &[named("c")], "2 node(s) didn't find available persistent volumes to bind.");
    volume(&mut picture, "v", json!({}), in_zone("b"));
    check(&picture, &[named("c")], "-> b");
    claim(&mut picture, "d", json!({}));
    check(&picture, &[named("c"), named("d")], "2 node(s) didn't find available persistent volumes to bind.");
    class(&mut picture, json!({}));
    check(&picture, &[named("c"), named("d")], "-> a");
    let zone = json!([{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["b"]}]}]);
    class(&mut picture, json!({"allowedTopologies": zone}));
    check(&picture, &[named("d"), named("c")], "-> b");
    claim(
        &mut picture,
        "d",
        json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "a"}}}),
    );
    check(&picture, &[named("d")], "2 node(s) didn't find available persistent volumes to bind.");
}

#[test]
fn drivers_that_tell_their_room_have_to_have_it() {
    let mut picture = cluster();
    claim(&mut picture, "c", json!({}));
    let driver = Arc::new(Driver { tells_capacity: true });
    picture.storage.set_driver("x.io/p", Some(&driver));
    check(&picture, &[named("c")], "2 node(s) did not have enough free storage.");
    let mut set = |name: &str, zone: &str, amounts: Value| {
        let mut capacity = json!({"storageClassName": "s", "nodeTopology":
            {"matchLabels": {"topology.kubernetes.io/zone": zone}}});
        capacity.as_object_mut().unwrap().extend(amounts.as_object().unwrap().clone());
        let capacity: CSIStorageCapacity = serde_json::from_value(capacity).unwrap();
        picture.storage.set_capacity(&ObjectKey::new("x", name), Some(&Arc::new(Capacity::of(&capacity))))
    };
    assert!(set("a", "a", json!({"capacity": "9Gi", "maximumVolumeSize": "512Mi"})));
    assert!(set("b", "b", json!({"capacity": "1Gi"})));
    assert!(!set("b", "b", json!({"capacity": "1Gi"})), "nothing grew");
    check(&picture, &[named("c")], "-> b");
}

#[test]
fn a_node_takes_so_many_volumes_of_a_driver() {
    let mut picture = cluster();
    let node = |most: i64| {
        let node =
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "allocatable": {"count": most}}]}});
        Arc::new(limits(&serde_json::from_value::<CSINode>(node).unwrap()))
    };
    for (name, most) in [("a", 1), ("b", 2)] {
        picture.storage.set_limits(name, Some(&node(most)));
    }
    let csi = |handle: &str| json!({"csi": {"driver": "d", "volumeHandle": handle}});
    for name in ["c", "d", "e"] {
        claim(&mut picture, name, bound_to(name));
        volume(&mut picture, name, json!({}), csi(name));
    }
    check(&picture, &[named("c"), named("d")], "-> b");
    check(&picture, &[named("c"), named("d"), named("e")], "2 node(s) exceed max volume count.");
    for (node, claim) in [("a", "c"), ("b", "d")] {
        put(&mut picture, node, pod(claim, &[named(claim)]));
    }
    check(&picture, &[named("c")], "-> a");
    check(&picture, &[named("e")], "-> b");
    let attachment =
        json!({"spec": {"attacher": "d", "nodeName": "b", "source": {"persistentVolumeName": "c"}}});
    let attachment: VolumeAttachment = serde_json::from_value(attachment).unwrap();
    picture.storage.set_attachment("x", Attachment::of(&attachment).map(Arc::new).as_ref());
    check(&picture, &[named("e")], "2 node(s) exceed max volume count.");
    assert!(picture.storage.set_attachment("x", None));
    assert!(!picture.storage.set_limits("b", Some(&node(2))), "nothing grew");
    claim(&mut picture, "new", json!({}));
    class(&mut picture, json!({"provisioner": "d"}));
    check(&picture, &[named("new"), named("e")], "2 node(s) exceed max volume count.");
}

#[test]
fn volumes_of_former_plugins_count_for_their_drivers() {
    let full = "2 node(s) exceed max volume count.";
    let amazon = |id: &str| json!({"awsElasticBlockStore": {"volumeID": id}});
    // What is on node "a", what the pod wants, and whether there is room on a node that takes one.
    let check = |there: &[Value], wanted: &[Value], expected: &str| {
        let mut picture = cluster();
        let node = json!({"spec": {"drivers": [{"name": "ebs.csi.aws.com", "nodeID": "n", "allocatable": {"count": 1}}]}});
        for name in ["a", "b"] {
            let limits = limits(&serde_json::from_value::<CSINode>(node.clone()).unwrap());
            picture.storage.set_limits(name, Some(&Arc::new(limits)));
        }
        class(
            &mut picture,
            json!({"provisioner": "kubernetes.io/aws-ebs", "volumeBindingMode": "WaitForFirstConsumer"}),
        );
        claim(&mut picture, "new", json!({}));
        for (name, source) in [
            ("old", amazon("aws://z/vol-1")),
            ("own", json!({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-2"}})),
        ] {
            claim(&mut picture, name, bound_to(name));
            volume(&mut picture, name, json!({}), source);
        }
        for name in ["a", "b"] {
            put(&mut picture, name, pod(&format!("on-{name}"), there));
        }
        check(&picture, wanted, expected);
    };
    check(&[], &[named("old")], "-> a");
    check(&[], &[named("old"), named("own")], full);
    check(&[named("own")], &[named("old")], full);
    check(&[named("own")], &[named("new")], full);
    check(&[named("own")], &[named("own")], "-> a");
    check(&[], &[amazon("vol-2"), named("own")], "-> a");
    check(&[named("own")], &[json!({"cinder": {"volumeID": "vol-1"}})], "-> a");
    check(&[json!({"emptyDir": {}})], &[amazon("vol-3"), amazon("vol-4")], full);
    check(&[amazon("vol-3")], &[amazon("vol-4")], full);
    check(&[named("old")], &[named("old")], "-> a");
}

#[test]
fn an_attachment_of_a_former_plugins_volume_says_nothing() {
    let mut picture = cluster();
    let node = json!({"spec": {"drivers": [{"name": "ebs.csi.aws.com", "nodeID": "n", "allocatable": {"count": 1}}]}});
    for name in ["a", "b"] {
        let limits = limits(&serde_json::from_value::<CSINode>(node.clone()).unwrap());
        picture.storage.set_limits(name, Some(&Arc::new(limits)));
    }
    volume(&mut picture, "old", json!({}), json!({"awsElasticBlockStore": {"volumeID": "vol-1"}}));
    volume(
        &mut picture,
        "own",
        json!({}),
        json!({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-2"}}),
    );
    let mut attach = |volume: &str, node: &str| {
        let attachment = json!({"spec": {"attacher": "ebs.csi.aws.com", "nodeName": node,
            "source": {"persistentVolumeName": volume}}});
        let attachment: VolumeAttachment = serde_json::from_value(attachment).unwrap();
        picture.storage.set_attachment(node, Attachment::of(&attachment).map(Arc::new).as_ref());
        check(
            &picture,
            &[json!({"awsElasticBlockStore": {"volumeID": "vol-3"}})],
            match volume {
                "own" => "-> b",
                _ => "-> a",
            },
        );
    };
    attach("old", "a");
    attach("own", "a");
}

#[test]
fn some_claims_and_disks_are_for_one_pod_alone() {
    let mut picture = cluster();
    claim(&mut picture, "c", json!({"spec": {"accessModes": ["ReadWriteOncePod"]}}));
    check(&picture, &[named("c")], "-> a");
    put(&mut picture, "a", pod("other", &[named("c")]));
    let in_use = "2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use \
                  by another pod.";
    check(&picture, &[named("c")], in_use);
    let important = PodInfo { priority: 10, ..pod("p", &[named("c")]) };
    let mut important = important;
    important.pending.as_mut().unwrap().preempts = true;
    let key = ObjectKey::new("ns", "p");
    let (Decision::Unschedulable(why), _) =
        schedule(&key, &important, important.pending.as_ref().unwrap(), &picture, "")
    else {
        panic!("it fits");
    };
    let crate::schedule::Room::Made(preemption) = why.room else { panic!("{}", why.message) };
    assert_eq!((preemption.node.as_str(), preemption.victims.len()), ("a", 1));
    let disk = json!({"awsElasticBlockStore": {"volumeID": "d"}});
    put(&mut picture, "a", pod("with-disk", std::slice::from_ref(&disk)));
    check(&picture, std::slice::from_ref(&disk), "-> b");
    put(&mut picture, "b", pod("with-disk", std::slice::from_ref(&disk)));
    check(&picture, &[disk], "2 node(s) had no available disk.");
}

#[test]
fn what_is_reserved_counts_until_it_is_seen_or_taken_back() {
    let mut picture = cluster();
    class(&mut picture, json!({"provisioner": "kubernetes.io/no-provisioner"}));
    claim(&mut picture, "c", json!({}));
    claim(&mut picture, "d", json!({}));
    volume(&mut picture, "v", json!({}), in_zone("a"));
    let first = pod("p", &[named("c")]);
    let choose = |picture: &Picture, pod: &PodInfo, node: &str| {
        let facts = super::Facts::gather(pod, &Profile::default(), &picture.storage).ok().unwrap();
        facts.choice(picture.nodes.get(node).unwrap())
    };
    let choice = choose(&picture, &first, "a");
    let reserved = picture.storage.reserve(choice, "a", Duration::ZERO).unwrap();
    check(&picture, &[named("d")], "2 node(s) didn't find available persistent volumes to bind.");
    check(&picture, &[named("c")], "-> a");
    picture.storage.release(&reserved);
    check(&picture, &[named("d")], "-> a");
    class(&mut picture, json!({}));
    let second = pod("q", &[named("c"), named("d")]);
    let choice = choose(&picture, &second, "b");
    let reserved = picture.storage.reserve(choice, "b", Duration::ZERO).unwrap();
    assert_eq!((reserved.volumes.len(), reserved.claims.len()), (0, 2));
    check(&picture, &[named("d")], "-> b");
    claim(&mut picture, "d", json!({}));
    check(&picture, &[named("d")], "-> a");
}

#[test]
fn the_binder_is_waited_for() {
    use crate::storage::Written;
    let mut picture = cluster();
    claim(&mut picture, "c", json!({}));
    let first = pod("p", &[named("c")]);
    let facts = super::Facts::gather(&first, &Profile::default(), &picture.storage).ok().unwrap();
    let choice = facts.choice(picture.nodes.get("a").unwrap());
    let reserved = picture.storage.reserve(choice, "a", Duration::ZERO).unwrap();
    let written = Written { claims: vec![(ObjectKey::new("ns", "c"), 7)], ..Written::default() };
    let state = |picture: &Picture| {
        let node = picture.nodes.get("a").map(|node| &node.info);
        picture.storage.is_bound(&reserved, &written, node)
    };
    let at = |version: &str, node: &str| {
        json!({"metadata": {"resourceVersion": version,
        "annotations": {"volume.kubernetes.io/selected-node": node, "pv.kubernetes.io/bind-completed": "yes"}}})
    };
    assert_eq!(state(&picture), Ok(false), "not seen yet");
    claim(&mut picture, "c", at("7", "a"));
    assert_eq!(state(&picture), Ok(false), "no volume yet");
    let mut bound = at("8", "a");
    bound["spec"] = json!({"volumeName": "v"});
    claim(&mut picture, "c", bound.clone());
    assert_eq!(state(&picture), Ok(false), "its volume is not seen yet");
    volume(&mut picture, "v", json!({}), in_zone("b"));
    let why = r#"pv "v" node affinity doesn't match node "a": no matching NodeSelectorTerms"#;
    assert_eq!(state(&picture), Err(why.to_owned()));
    volume(&mut picture, "v", json!({}), in_zone("a"));
    assert_eq!(state(&picture), Ok(false), "node agents do not know yet");
    bound["status"] = json!({"phase": "Bound"});
    claim(&mut picture, "c", bound);
    assert_eq!(state(&picture), Ok(true));
    claim(&mut picture, "c", at("9", ""));
    assert_eq!(state(&picture), Err(r#"provisioning failed for PVC "c""#.to_owned()));
    let gone = picture.storage.is_bound(&reserved, &written, None);
    assert_eq!(gone, Err(r#"failed to get node "a": node "a" not found"#.to_owned()));
}

#[test]
fn plugins_that_are_off_ask_nothing_of_volumes() {
    let mut picture = cluster();
    let decide_without = |picture: &Picture, off: &[&str], volumes: &[Value]| {
        let off: Vec<Value> = off.iter().map(|name| json!({"name": name})).collect();
        let profile = json!({"plugins": {"multiPoint": {"disabled": off}}});
        let configuration = Configuration::read(&json!({"profiles": [profile]})).unwrap();
        let mut pod = pod("p", volumes);
        pod.pending.as_mut().unwrap().profile = configuration.profile_of(None).unwrap().clone();
        decide(picture, &pod)
    };
    let all = ["VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"];
    assert_eq!(decide_without(&picture, &all, &[named("c")]), "-> a");
    let first = "0/2 nodes are available: persistentvolumeclaim \"c\" not found. not found";
    for on in ["VolumeRestrictions", "VolumeBinding", "VolumeZone"] {
        let off: Vec<&str> = all.into_iter().filter(|name| *name != on).collect();
        assert_eq!(decide_without(&picture, &off, &[named("c")]), first, "{on}");
    }
    claim(&mut picture, "c", bound_to("v"));
    let text = decide_without(&picture, &["VolumeZone"], &[named("c")]);
    let missing = "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    assert!(text.contains(missing), "{text}");
    volume(&mut picture, "v", json!({"topology.kubernetes.io/zone": "c"}), in_zone("b"));
    assert_eq!(decide_without(&picture, &["VolumeZone"], &[named("c")]), "-> b");
    let text = decide_without(&picture, &["VolumeBinding"], &[named("c")]);
    assert!(text.contains("2 node(s) had no available volume zone."), "{text}");
    claim(&mut picture, "c", json!({"spec": {"storageClassName": "other"}}));
    let text = decide_without(&picture, &["VolumeBinding"], &[named("c")]);
    assert!(text.contains("storageclass.storage.k8s.io \"other\" not found"), "{text}");
    assert_eq!(decide_without(&picture, &["VolumeBinding", "VolumeZone"], &[named("c")]), "-> a");
    let disk = json!({"awsElasticBlockStore": {"volumeID": "d"}});
    for node in ["a", "b"] {
        put(&mut picture, node, pod(&format!("on-{node}"), std::slice::from_ref(&disk)));
    }
    assert!(decide_without(&picture, &[], std::slice::from_ref(&disk)).contains("no available disk"));
    assert_eq!(decide_without(&picture, &["VolumeRestrictions"], &[disk]), "-> a");
}

#[test]
fn what_is_told_without_devices_is_that_preemption_is_in_vain() {
    let picture = cluster();
    let off = json!({"plugins": {"multiPoint": {"disabled": [{"name": "DynamicResources"}]}}});
    let configuration = Configuration::read(&json!({"profiles": [off]})).unwrap();
    let mut pod = pod("p", &[named("c")]);
    let pending = pod.pending.as_mut().unwrap();
    pending.profile = configuration.profile_of(None).unwrap().clone();
    pending.preempts = true;
    assert_eq!(
        decide(&picture, &pod),
        "0/2 nodes are available: persistentvolumeclaim \"c\" not found. preemption: 0/2 nodes are available: \
         2 Preemption is not helpful for scheduling."
    );
}
