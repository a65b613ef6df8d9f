//! Golden plans: each file in `tests/plans` has API objects before and after, and the steps between.
//!
//! `UPDATE_PLANS=1` writes the steps into the files, for review.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use k8s_openapi::{
    api::{core::v1, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_proxy::{
    ledger::Ledger,
    model::{Owner, PodName, ServiceName},
    objects::{HostPorts, Service, Slice},
    plan::Op,
    select::Location,
    table::{NodeView, host_port_table, service_table},
};

#[derive(Default)]
struct Objects {
    services: BTreeMap<ServiceName, Service>,
    slices: Vec<Slice>,
    pods: BTreeMap<PodName, HostPorts>,
}

fn name(meta: &ObjectMeta) -> ServiceName {
    let text = |text: &Option<String>| text.as_deref().unwrap().into();
    ServiceName { namespace: text(&meta.namespace), name: text(&meta.name) }
}

fn pod_name(meta: &ObjectMeta) -> PodName {
    let ServiceName { namespace, name } = name(meta);
    PodName { namespace, name }
}

fn parse(text: &str) -> Objects {
    let mut objects = Objects::default();
    for document in text.split("---\n").filter(|document| !document.trim().is_empty()) {
        if document.contains("kind: EndpointSlice") {
            let slice: EndpointSlice = serde_saphyr::from_str(document).unwrap();
            objects.slices.extend(Slice::from_api(&slice, "node-a"));
        } else if document.contains("kind: Pod\n") {
            let pod: v1::Pod = serde_saphyr::from_str(document).unwrap();
            objects.pods.extend(HostPorts::from_api(&pod).map(|kept| (pod_name(&pod.metadata), kept)));
        } else {
            let service: v1::Service = serde_saphyr::from_str(document).unwrap();
            objects.services.extend(Service::from_api(&service).map(|kept| (name(&service.metadata), kept)));
        }
    }
    objects
}

/// The steps that bring the ledger, and a kernel that accepts everything, to `objects`.
fn step(ledger: &mut Ledger, objects: &Objects) -> Vec<Op> {
    let node = NodeView {
        location: Location { node: "node-a".into(), zone: Some("zone-1".into()) },
        node_ips: vec!["192.0.2.1".parse().unwrap()],
    };
    let mut owners: Vec<_> = objects.services.keys().cloned().map(Owner::Service).collect();
    owners.extend(objects.pods.keys().cloned().map(Owner::Pod));
    owners.extend(ledger.owners().cloned());
    let batch = ledger.prepare(owners, true, |owner| match owner {
        Owner::Service(name) => {
            let slices: Vec<_> = objects.slices.iter().filter(|slice| slice.service == *name).collect();
            Some(service_table(name, objects.services.get(name)?, &slices, &node))
        }
        Owner::Pod(name) => Some(host_port_table(objects.pods.get(name)?, &node)),
    });
    let ops = batch.ops.clone();
    ledger.commit(batch);
    ops
}

fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let (input, expected) = text.split_once("== plan\n").unwrap();
    let (before, after) = input.split_once("== before\n").unwrap().1.split_once("== after\n").unwrap();
    let mut ledger = Ledger::default();
    step(&mut ledger, &parse(before));
    let mut plan = String::new();
    for op in step(&mut ledger, &parse(after)) {
        writeln!(plan, "{op}").unwrap();
    }
    assert!(
        step(&mut ledger, &parse(after)).is_empty(),
        "{}: the same again changes something",
        path.display()
    );
    if std::env::var_os("UPDATE_PLANS").is_some() {
        fs::write(path, format!("{input}== plan\n{plan}")).unwrap();
    } else {
        assert_eq!(plan, expected, "{}", path.display());
    }
}

#[test]
fn plans_are_as_recorded() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().for_each(|path| check(path));
}
