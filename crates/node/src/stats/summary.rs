//! `/stats/summary`: the readings as a `Summary` of the kubelet's statistics API, v1alpha1.

use super::readings::{
    ContainerReading, Measured, NodeReading, POD_INTERFACE, PodReading, Readings, VolumeReading,
};
use crate::node::disk::Room;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_ordered::Ordered as _;
use skiff_podnet::Counters;

/// How much of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Everything,
    /// `?only_cpu_and_memory=true`
    CpuAndMemory,
}

/// The answer for these readings.
pub(crate) fn summary(readings: &Readings, extent: Extent) -> Value {
    let disk = readings.node.disk;
    let pods: Vec<Value> = readings.pods.iter().map(|pod| of_pod(pod, disk, extent)).collect();
    json!({"node": of_node(&readings.node, extent), "pods": pods})
}

/// An object of those fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(known.one_by_one::<Map<_, _>>())
}

/// A value that is known.
fn some(value: impl Into<Value>) -> Option<Value> {
    Some(value.into())
}

fn number(value: Option<u64>) -> Option<Value> {
    value.map(Value::from)
}

/// The API keeps whole seconds.
fn time(at: Timestamp) -> Value {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

fn of_node(node: &NodeReading, extent: Extent) -> Value {
    let at = node.measured.map(|measured| measured.at);
    let all = extent == Extent::Everything;
    let disk = node.disk.zip(at).map(|(room, at)| file_system(room, Some(room.bytes_used), at));
    let swap = node.swap.zip(at).map(|((all, free), at)| {
        object([
            ("time", Some(time(at))),
            ("swapAvailableBytes", some(free)),
            ("swapUsageBytes", some(all.saturating_sub(free))),
        ])
    });
    let tasks = node.tasks.zip(at).map(|((most, now), at)| {
        object([("time", Some(time(at))), ("maxpid", some(most)), ("curproc", some(now))])
    });
    let network = at.filter(|_| !node.network.is_empty());
    object([
        ("nodeName", some(node.name.as_str())),
        ("startTime", node.started.map(time)),
        ("cpu", node.measured.as_ref().and_then(cpu)),
        ("memory", node.measured.as_ref().and_then(|measured| memory(measured, Some(node.memory)))),
        ("network", network.filter(|_| all).map(|at| networks(node.uplink.as_deref(), &node.network, at))),
        ("fs", disk.clone().filter(|_| all)),
        // Images and writable layers lie on the node's own file system.
        ("runtime", disk.filter(|_| all).map(|disk| json!({"imageFs": disk, "containerFs": disk}))),
        ("rlimit", tasks.filter(|_| all)),
        ("swap", swap),
    ])
}

fn of_pod(pod: &PodReading, disk: Option<Room>, extent: Extent) -> Value {
    let at = pod.measured.at;
    let all = extent == Extent::Everything;
    let containers: Vec<Value> = pod.containers.iter().map(|c| of_container(c, disk, extent)).collect();
    let volumes: Vec<Value> =
        pod.volumes.iter().map(|volume| of_volume(volume, &pod.namespace, at)).collect();
    let network = pod.network.filter(|_| all);
    let network =
        network.map(|counters| networks(Some(POD_INTERFACE), &[(POD_INTERFACE.into(), counters)], at));
    object([
        ("podRef", some(json!({"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}))),
        ("startTime", pod.started.map(time)),
        ("containers", some(containers)),
        ("cpu", cpu(&pod.measured)),
        ("memory", memory(&pod.measured, bytes_limit(pod.limits.memory_limit))),
        ("network", network),
        ("volume", some(volumes).filter(|_| all && !pod.volumes.is_empty())),
        ("ephemeral-storage", disk.filter(|_| all).map(|room| file_system(room, None, at))),
        ("process_stats", some(json!({"process_count": pod.processes})).filter(|_| all)),
        ("swap", swap(&pod.measured)),
    ])
}

fn of_container(container: &ContainerReading, disk: Option<Room>, extent: Extent) -> Value {
    let at = container.measured.at;
    let disk = disk.filter(|_| extent == Extent::Everything);
    let logs = disk.zip(container.logs).map(|(room, (bytes, files))| {
        let mut logs = file_system(room, Some(bytes), at);
        logs["inodesUsed"] = files.into();
        logs
    });
    object([
        ("name", some(container.name.as_str())),
        ("startTime", Some(time(container.started))),
        ("cpu", cpu(&container.measured)),
        ("memory", memory(&container.measured, bytes_limit(container.limits.memory_limit))),
        ("rootfs", disk.map(|room| file_system(room, None, at))),
        ("logs", logs),
        ("swap", swap(&container.measured)),
    ])
}

fn of_volume(volume: &VolumeReading, namespace: &str, at: Timestamp) -> Value {
    let used = volume.own.then_some(volume.room.bytes_used);
    let mut shown = file_system(volume.room, used, at);
    if volume.own && volume.room.files > 0 {
        shown["inodesUsed"] = volume.room.files.saturating_sub(volume.room.files_left).into();
    }
    shown["name"] = volume.name.as_str().into();
    if let Some(claim) = &volume.claim {
        shown["pvcRef"] = json!({"name": claim, "namespace": namespace});
    }
    shown
}

fn bytes_limit(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

fn cpu(measured: &Measured) -> Option<Value> {
    let used = measured.usage.cpu_nanos?;
    Some(object([
        ("time", Some(time(measured.at))),
        ("usageNanoCores", number(measured.nano_cores)),
        ("usageCoreNanoSeconds", some(used)),
    ]))
}

fn memory(measured: &Measured, limit: Option<u64>) -> Option<Value> {
    let usage = &measured.usage;
    let used = usage.memory_bytes?;
    let available = limit.zip(usage.working_set_bytes).map(|(limit, set)| limit.saturating_sub(set));
    Some(object([
        ("time", Some(time(measured.at))),
        ("availableBytes", number(available)),
        ("usageBytes", some(used)),
        ("workingSetBytes", number(usage.working_set_bytes)),
        ("rssBytes", number(usage.rss_bytes)),
        ("pageFaults", number(usage.page_faults)),
        ("majorPageFaults", number(usage.major_page_faults)),
    ]))
}

fn swap(measured: &Measured) -> Option<Value> {
    let used = measured.usage.swap_bytes?;
    Some(object([("time", Some(time(measured.at))), ("swapUsageBytes", some(used))]))
}

/// A file system, of which `used` bytes belong to what is described, if that is known.
fn file_system(room: Room, used: Option<u64>, at: Timestamp) -> Value {
    let files = |count: u64| Some(count).filter(|_| room.files > 0);
    let whole = used == Some(room.bytes_used);
    object([
        ("time", Some(time(at))),
        ("availableBytes", some(room.bytes_left)),
        ("capacityBytes", some(room.bytes)),
        ("usedBytes", number(used)),
        ("inodesFree", number(files(room.files_left))),
        ("inodes", number(files(room.files))),
        ("inodesUsed", number(files(room.files.saturating_sub(room.files_left)).filter(|_| whole))),
    ])
}

fn networks(main: Option<&str>, interfaces: &[(String, Counters)], at: Timestamp) -> Value {
    let of_main = interfaces.iter().find(|(name, _)| Some(name.as_str()) == main);
    let mut shown = of_main.map_or_else(|| json!({}), |(name, counters)| interface(name, counters));
    shown["time"] = time(at);
    shown["interfaces"] = interfaces.iter().map(|(name, counters)| interface(name, counters)).collect();
    shown
}

fn interface(name: &str, counters: &Counters) -> Value {
    json!({
        "name": name,
        "rxBytes": counters.received.bytes,
        "rxErrors": counters.received.errors,
        "txBytes": counters.sent.bytes,
        "txErrors": counters.sent.errors,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pod::testing::at;
    use skiff_podnet::Flow;
    use skiff_runtime::{Resources, Usage};

    fn measured(cpu_nanos: u64, working_set: u64) -> Measured {
        let usage = Usage {
            cpu_nanos: Some(cpu_nanos),
            memory_bytes: Some(working_set + 10),
            working_set_bytes: Some(working_set),
            rss_bytes: Some(400),
            page_faults: Some(7),
            major_page_faults: Some(1),
            ..Usage::default()
        };
        Measured { at: at(10), usage, nano_cores: None }
    }

    fn counters(bytes: u64) -> Counters {
        let flow = |bytes| Flow { bytes, packets: bytes / 100, ..Flow::default() };
        Counters { received: flow(bytes), sent: flow(bytes * 2) }
    }

    /// A node with one pod of one container.
    pub(in super::super) fn readings() -> Readings {
        let room = Room { bytes: 1000, bytes_left: 300, bytes_used: 600, files: 50, files_left: 20 };
        let container = ContainerReading {
            name: "c".into(),
            id: "id".into(),
            group: "/skiff/u/id".into(),
            image: "image:1".into(),
            started: at(2),
            measured: Measured { nano_cores: Some(250), ..measured(1_500_000_000, 900) },
            limits: Resources { memory_limit: Some(1000), ..Resources::default() },
            logs: Some((12, 2)),
        };
        let memory = VolumeReading {
            name: "memory".into(),
            room: Room { bytes: 64, bytes_left: 60, bytes_used: 4, files: 0, files_left: 0 },
            own: true,
            claim: Some("c".into()),
        };
        let pod = PodReading {
            namespace: "ns".into(),
            name: "p".into(),
            uid: "u".into(),
            started: Some(at(1)),
            measured: measured(1_750_000_000, 1000),
            group: "/skiff/u".into(),
            limits: Resources::default(),
            processes: 3,
            network: Some(counters(100)),
            containers: vec![container],
            volumes: vec![memory, VolumeReading { name: "disk".into(), room, own: false, claim: None }],
        };
        let node = NodeReading {
            name: "n".into(),
            started: Some(at(0)),
            measured: Some(measured(100_000_000_000, 5000)),
            cpus: 2,
            identity: vec![("boot_id", "b".into())],
            memory: 8000,
            swap: Some((100, 70)),
            disk: Some(room),
            tasks: Some((32768, 120)),
            uplink: Some("ens3".into()),
            network: vec![("ens3".into(), counters(1000))],
        };
        Readings { node, pods: vec![pod], complete: true }
    }

    const TIME: &str = "1970-01-12T13:46:50Z";

    #[test]
    fn the_node_is_what_was_read_of_it() {
        let disk = json!({
            "time": TIME, "availableBytes": 300, "capacityBytes": 1000, "usedBytes": 600,
            "inodesFree": 20, "inodes": 50, "inodesUsed": 30,
        });
        let interface =
            json!({"name": "ens3", "rxBytes": 1000, "rxErrors": 0, "txBytes": 2000, "txErrors": 0});
        let mut network = interface.clone();
        (network["time"], network["interfaces"]) = (TIME.into(), json!([interface]));
        let expected = json!({
            "nodeName": "n",
            "startTime": "1970-01-12T13:46:40Z",
            "cpu": {"time": TIME, "usageCoreNanoSeconds": 100_000_000_000u64},
            "memory": {
                "time": TIME, "availableBytes": 3000, "usageBytes": 5010, "workingSetBytes": 5000,
                "rssBytes": 400, "pageFaults": 7, "majorPageFaults": 1,
            },
            "network": network,
            "fs": disk,
            "runtime": {"imageFs": disk, "containerFs": disk},
            "rlimit": {"time": TIME, "maxpid": 32768, "curproc": 120},
            "swap": {"time": TIME, "swapAvailableBytes": 70, "swapUsageBytes": 30},
        });
        assert_eq!(summary(&readings(), Extent::Everything)["node"], expected);
    }

    #[test]
    fn a_pod_is_what_was_read_of_it() {
        let share = json!({"time": TIME, "availableBytes": 300, "capacityBytes": 1000, "inodesFree": 20, "inodes": 50});
        let with = |more: Value| {
            let mut share = share.clone();
            share.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            share
        };
        let interface = json!({"name": "eth0", "rxBytes": 100, "rxErrors": 0, "txBytes": 200, "txErrors": 0});
        let mut network = interface.clone();
        (network["time"], network["interfaces"]) = (TIME.into(), json!([interface]));
        let expected = json!([{
            "podRef": {"name": "p", "namespace": "ns", "uid": "u"},
            "startTime": "1970-01-12T13:46:41Z",
            "containers": [{
                "name": "c",
                "startTime": "1970-01-12T13:46:42Z",
                "cpu": {"time": TIME, "usageNanoCores": 250, "usageCoreNanoSeconds": 1_500_000_000},
                "memory": {
                    "time": TIME, "availableBytes": 100, "usageBytes": 910, "workingSetBytes": 900,
                    "rssBytes": 400, "pageFaults": 7, "majorPageFaults": 1,
                },
                "rootfs": share,
                "logs": with(json!({"usedBytes": 12, "inodesUsed": 2})),
            }],
            "cpu": {"time": TIME, "usageCoreNanoSeconds": 1_750_000_000},
            "memory": {
                "time": TIME, "usageBytes": 1010, "workingSetBytes": 1000,
                "rssBytes": 400, "pageFaults": 7, "majorPageFaults": 1,
            },
            "network": network,
            "volume": [
                {"time": TIME, "name": "memory", "availableBytes": 60, "capacityBytes": 64, "usedBytes": 4,
                    "pvcRef": {"name": "c", "namespace": "ns"}},
                with(json!({"name": "disk"})),
            ],
            "ephemeral-storage": share,
            "process_stats": {"process_count": 3},
        }]);
        assert_eq!(summary(&readings(), Extent::Everything)["pods"], expected);
    }

    #[test]
    fn what_was_not_read_is_left_out() {
        let mut readings = readings();
        readings.node = NodeReading {
            started: None,
            measured: None,
            swap: None,
            disk: None,
            tasks: None,
            network: Vec::new(),
            ..readings.node
        };
        readings.pods[0].measured.usage = Usage::default();
        readings.pods[0].containers.clear();
        let summary = summary(&readings, Extent::CpuAndMemory);
        let pod = json!({
            "podRef": {"name": "p", "namespace": "ns", "uid": "u"}, "startTime": "1970-01-12T13:46:41Z", "containers": [],
        });
        assert_eq!(summary, json!({"node": {"nodeName": "n"}, "pods": [pod]}));
    }
}
