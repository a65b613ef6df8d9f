//! `/metrics/cadvisor`: those of cAdvisor's families that the kernel's own counts answer. Absent are its file system and block
//! device families, those of single CPUs, and what it samples itself (load, deltas, `container_last_seen`).

use super::exposition::{Exposition, Family, Kind, Kind::*, Sample, epoch, float, seconds};
use super::readings::{Measured, POD_INTERFACE, Readings};
use jiff::Timestamp;
use skiff_podnet::Counters;
use skiff_runtime::Resources;

/// A control group as cAdvisor sees it: the machine's, a pod's or a container's.
struct Group<'a> {
    labels: Vec<(&'static str, &'a str)>,
    measured: Measured,
    limits: Option<&'a Resources>,
    started: Option<Timestamp>,
    processes: Option<u64>,
    network: Vec<(&'a str, Counters)>,
}

/// A family and its number of a group.
type Row = (&'static str, Kind, &'static str, fn(&Group<'_>) -> Option<f64>);

const ROWS: [Row; 15] = [
    ("container_cpu_cfs_periods_total", Counter, "Periods in which a limit of CPU time counted.", |g| {
        g.measured.usage.throttling.map(|t| float(t.periods))
    }),
    ("container_cpu_cfs_throttled_periods_total", Counter, "Periods in which CPU time ran out.", |g| {
        g.measured.usage.throttling.map(|t| float(t.throttled))
    }),
    ("container_cpu_cfs_throttled_seconds_total", Counter, "Time waited for CPU time to come.", |g| {
        g.measured.usage.throttling.map(|t| seconds(t.nanos))
    }),
    ("container_memory_cache", Gauge, "Bytes of file pages.", |g| g.measured.usage.cache_bytes.map(float)),
    ("container_memory_rss", Gauge, "Bytes of memory that no file stands for.", |g| {
        g.measured.usage.rss_bytes.map(float)
    }),
    ("container_memory_swap", Gauge, "Bytes in swap.", |g| g.measured.usage.swap_bytes.map(float)),
    ("container_memory_usage_bytes", Gauge, "Bytes of memory charged.", |g| {
        g.measured.usage.memory_bytes.map(float)
    }),
    ("container_memory_working_set_bytes", Gauge, "Bytes of memory without inactive file pages.", |g| {
        g.measured.usage.working_set_bytes.map(float)
    }),
    ("container_processes", Gauge, "Processes.", |g| g.processes.map(float)),
    ("container_spec_cpu_period", Gauge, "Microseconds of a period of CPU time.", |g| {
        g.limits?.cpu_period.map(float)
    }),
    ("container_spec_cpu_quota", Gauge, "Microseconds of CPU time in a period.", |g| {
        u64::try_from(g.limits?.cpu_quota?).ok().map(float)
    }),
    ("container_spec_cpu_shares", Gauge, "Weight of CPU time.", |g| g.limits?.cpu_shares.map(float)),
    ("container_spec_memory_limit_bytes", Gauge, "Bytes of memory allowed, 0 for any.", |g| {
        Some(g.limits?.memory_limit.and_then(|limit| u64::try_from(limit).ok()).map_or(0.0, float))
    }),
    ("container_start_time_seconds", Gauge, "When it was started, since 1970.", |g| g.started.map(epoch)),
    ("container_threads", Gauge, "Processes and threads.", |g| g.measured.usage.tasks.map(float)),
];

/// A family and its number of an interface.
type NetworkRow = (&'static str, fn(&Counters) -> u64);

const NETWORK_ROWS: [NetworkRow; 8] = [
    ("container_network_receive_bytes_total", |c| c.received.bytes),
    ("container_network_receive_errors_total", |c| c.received.errors),
    ("container_network_receive_packets_dropped_total", |c| c.received.dropped),
    ("container_network_receive_packets_total", |c| c.received.packets),
    ("container_network_transmit_bytes_total", |c| c.sent.bytes),
    ("container_network_transmit_errors_total", |c| c.sent.errors),
    ("container_network_transmit_packets_dropped_total", |c| c.sent.dropped),
    ("container_network_transmit_packets_total", |c| c.sent.packets),
];

/// The text for these readings.
pub(crate) fn cadvisor_metrics(readings: &Readings) -> String {
    let mut text = Exposition::default();
    let groups = groups(readings);
    write_cpu(&mut text, &groups);
    for (name, kind, help, number) in ROWS {
        let samples = groups.iter().filter_map(|group| {
            Some(Sample { labels: group.labels.clone(), value: number(group)?, at: Some(group.measured.at) })
        });
        text.family(Family(name, kind, help), samples);
    }
    write_faults(&mut text, &groups);
    write_network(&mut text, &groups);
    let node = &readings.node;
    let machine = |value: f64| {
        let labels = node.identity.iter().map(|(name, value)| (*name, value.as_str())).collect();
        [Sample { labels, value, at: None }]
    };
    let cpus = u64::try_from(node.cpus).unwrap_or(0);
    text.family(Family("machine_cpu_cores", Gauge, "CPUs of the machine."), machine(float(cpus)));
    text.family(
        Family("machine_memory_bytes", Gauge, "Bytes of memory of the machine."),
        machine(float(node.memory)),
    );
    text.into_text()
}

/// Every group, with the labels that cAdvisor gives it: those that do not apply are empty.
fn groups(readings: &Readings) -> Vec<Group<'_>> {
    let node = &readings.node;
    let labels = |container, id, image, name, namespace, pod| {
        vec![
            ("container", container),
            ("id", id),
            ("image", image),
            ("name", name),
            ("namespace", namespace),
            ("pod", pod),
        ]
    };
    let machine = node.measured.map(|measured| Group {
        labels: labels("", "/", "", "", "", ""),
        measured,
        limits: None,
        started: node.started,
        processes: None,
        network: node.network.iter().map(|(name, counters)| (name.as_str(), *counters)).collect(),
    });
    let pods = readings.pods.iter().flat_map(|pod| {
        let (namespace, name) = (pod.namespace.as_str(), pod.name.as_str());
        let own = Group {
            labels: labels("", pod.group.as_str(), "", "", namespace, name),
            measured: pod.measured,
            limits: Some(&pod.limits),
            started: pod.started,
            processes: Some(pod.processes),
            network: pod.network.map(|counters| (POD_INTERFACE, counters)).into_iter().collect(),
        };
        let containers = pod.containers.iter().map(move |container| Group {
            labels: labels(
                container.name.as_str(),
                container.group.as_str(),
                container.image.as_str(),
                container.id.as_str(),
                namespace,
                name,
            ),
            measured: container.measured,
            limits: Some(&container.limits),
            started: Some(container.started),
            processes: None,
            network: Vec::new(),
        });
        std::iter::once(own).chain(containers)
    });
    machine.into_iter().chain(pods).collect()
}

impl<'a> Group<'a> {
    fn labels_with(&self, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
        [self.labels.as_slice(), more].concat()
    }
}

fn write_cpu(text: &mut Exposition, groups: &[Group<'_>]) {
    let samples = groups.iter().filter_map(|group| {
        let value = seconds(group.measured.usage.cpu_nanos?);
        Some(Sample { labels: group.labels_with(&[("cpu", "total")]), value, at: Some(group.measured.at) })
    });
    text.family(Family("container_cpu_usage_seconds_total", Counter, "CPU time so far."), samples);
}

fn write_faults(text: &mut Exposition, groups: &[Group<'_>]) {
    let samples = groups.iter().flat_map(|group| {
        let usage = &group.measured.usage;
        let kinds = [("pgfault", usage.page_faults), ("pgmajfault", usage.major_page_faults)];
        kinds.into_iter().filter_map(|(kind, count)| {
            let labels = group.labels_with(&[("failure_type", kind), ("scope", "hierarchy")]);
            Some(Sample { labels, value: float(count?), at: Some(group.measured.at) })
        })
    });
    text.family(Family("container_memory_failures_total", Counter, "Page faults so far."), samples);
}

fn write_network(text: &mut Exposition, groups: &[Group<'_>]) {
    for (name, number) in NETWORK_ROWS {
        let samples = groups.iter().flat_map(|group| {
            group.network.iter().map(move |(interface, counters)| Sample {
                labels: group.labels_with(&[("interface", *interface)]),
                value: float(number(counters)),
                at: Some(group.measured.at),
            })
        });
        text.family(Family(name, Counter, "Of all interfaces, as the kernel counts."), samples);
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::readings;
    use super::*;

    #[test]
    fn groups_have_the_labels_of_cadvisor() {
        let text = cadvisor_metrics(&readings());
        let samples_of =
            |name: &str| -> Vec<&str> { text.lines().filter_map(|line| line.strip_prefix(name)).collect() };
        let container = r#"container="c",id="/skiff/u/id",image="image:1",name="id",namespace="ns",pod="p""#;
        let pod = r#"container="",id="/skiff/u",image="",name="",namespace="ns",pod="p""#;
        let node = r#"container="",id="/",image="",name="",namespace="",pod="""#;
        assert_eq!(
            samples_of("container_cpu_usage_seconds_total"),
            [
                format!("{{{node},cpu=\"total\"}} 100 1000010000"),
                format!("{{{pod},cpu=\"total\"}} 1.75 1000010000"),
                format!("{{{container},cpu=\"total\"}} 1.5 1000010000"),
            ]
        );
        assert_eq!(
            samples_of("container_network_transmit_bytes_total"),
            [
                format!("{{{node},interface=\"ens3\"}} 2000 1000010000"),
                format!("{{{pod},interface=\"eth0\"}} 200 1000010000"),
            ]
        );
        assert_eq!(
            samples_of("container_spec_memory_limit_bytes"),
            [format!("{{{pod}}} 0 1000010000"), format!("{{{container}}} 1000 1000010000")]
        );
        assert_eq!(samples_of("machine_cpu_cores"), [r#"{boot_id="b"} 2"#]);
        assert_eq!(samples_of("container_memory_swap"), [""; 0], "not measured, not told");
    }
}
