//! From what nodes say again and again to what is used per second. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// What something used at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The end of the time that it was measured for.
    pub(crate) at: Timestamp,
    /// The length of that.
    pub(crate) window: Duration,
    /// Nanoseconds of CPU per second.
    pub(crate) nano_cores: u64,
    /// Bytes of memory that cannot be taken away.
    pub(crate) memory: u64,
}

/// What all nodes and pods use.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    pub(crate) nodes: BTreeMap<String, Usage>,
    /// By UID: the containers by name. Only pods of which all containers that run are known.
    pub(crate) pods: HashMap<String, Vec<(String, Usage)>>,
}

/// The readings before, and what came of them.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    before: HashMap<Key, Point>,
    last: Option<(Timestamp, Arc<Usages>)>,
}

/// A node by name, or a container by its pod's UID and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Node(String),
    Container(String, String),
}

/// The CPU time that something has used by a time.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: Timestamp,
    nanos: u64,
}

/// A rate over less says little: the kernel counts in ticks.
const LEAST: Duration = Duration::from_secs(1);

impl Readings {
    /// What was read last, if that was less than `age` before `now`.
    pub(crate) fn fresh(&self, now: Timestamp, age: Duration) -> Option<Arc<Usages>> {
        let (at, usages) = self.last.as_ref()?;
        (elapsed(*at, now)? < age).then(|| usages.clone())
    }

    /// Takes in what nodes say of themselves, by name.
    pub(crate) fn take(&mut self, summaries: &BTreeMap<String, Value>, now: Timestamp) -> Arc<Usages> {
        let before = std::mem::take(&mut self.before);
        let mut usages = Usages::default();
        for (name, summary) in summaries {
            let key = Key::Node(name.clone());
            if let Some(usage) = self.measure(&before, key, &summary["node"]) {
                usages.nodes.insert(name.clone(), usage);
            }
            for pod in summary["pods"].as_array().into_iter().flatten() {
                let uid = text(&pod["podRef"]["uid"]);
                let containers = pod["containers"].as_array().into_iter().flatten();
                let measured = containers.map(|container| {
                    let name = text(&container["name"]);
                    let key = Key::Container(uid.clone(), name.clone());
                    Some((name, self.measure(&before, key, container)?))
                });
                let measured: Option<Vec<_>> = measured.collect();
                if let Some(measured) = measured.filter(|measured| !measured.is_empty()) {
                    usages.pods.insert(uid, measured);
                }
            }
        }
        let usages = Arc::new(usages);
        self.last = Some((now, usages.clone()));
        usages
    }

    /// What something used since the reading before, or since its start.
    fn measure(&mut self, before: &HashMap<Key, Point>, key: Key, told: &Value) -> Option<Usage> {
        let now =
            Point { at: time(&told["cpu"]["time"])?, nanos: told["cpu"]["usageCoreNanoSeconds"].as_u64()? };
        let memory = told["memory"]["workingSetBytes"].as_u64()?;
        // Another process of that name has counted from its own start.
        let known = before.get(&key).filter(|point| point.nanos <= now.nanos);
        let since = known.copied().or_else(|| Some(Point { at: time(&told["startTime"])?, nanos: 0 }))?;
        self.before.insert(key, now);
        let window = elapsed(since.at, now.at).filter(|window| *window >= LEAST)?;
        let rate = u128::from(now.nanos - since.nanos) * 1_000_000_000 / window.as_nanos();
        Some(Usage { at: now.at, window, nano_cores: u64::try_from(rate).unwrap_or(u64::MAX), memory })
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1000 + second).unwrap()
    }

    fn told(second: i64, nanos: u64) -> Value {
        json!({
            "name": "c", "startTime": at(0).to_string(),
            "cpu": {"time": at(second).to_string(), "usageCoreNanoSeconds": nanos},
            "memory": {"workingSetBytes": 4096},
        })
    }

    fn summary(second: i64, node: u64, containers: &[Value]) -> BTreeMap<String, Value> {
        let pods = json!([{"podRef": {"uid": "u"}, "containers": containers}]);
        [("n".to_owned(), json!({"node": told(second, node), "pods": pods}))].into()
    }

    #[test]
    fn a_rate_is_that_since_the_reading_before() {
        let mut readings = Readings::default();
        let usages = readings.take(&summary(10, 5_000_000_000, &[told(10, 1_000_000_000)]), at(10));
        let usage = |at_second, window, nano_cores| Usage {
            at: at(at_second),
            window: Duration::from_secs(window),
            nano_cores,
            memory: 4096,
        };
        assert_eq!(usages.nodes["n"], usage(10, 10, 500_000_000), "since its start");
        assert_eq!(usages.pods["u"], [("c".to_owned(), usage(10, 10, 100_000_000))]);
        assert!(readings.fresh(at(14), Duration::from_secs(5)).is_some());
        assert!(readings.fresh(at(15), Duration::from_secs(5)).is_none());
        let usages = readings.take(&summary(30, 25_000_000_000, &[told(30, 1_000_000_000)]), at(30));
        assert_eq!(usages.nodes["n"], usage(30, 20, 1_000_000_000));
        assert_eq!(usages.pods["u"], [("c".to_owned(), usage(30, 20, 0))]);
        // A container that was started anew counts from its start.
        let mut anew = told(40, 500_000_000);
        anew["startTime"] = at(35).to_string().into();
        let usages = readings.take(&summary(40, 25_000_000_000, &[anew]), at(40));
        assert_eq!(usages.pods["u"], [("c".to_owned(), usage(40, 5, 100_000_000))]);
        assert_eq!(readings.before.len(), 2, "what is gone is forgotten");
    }

    #[test]
    fn a_pod_is_told_when_all_its_containers_are_known() {
        let mut readings = Readings::default();
        let young = |second: i64| {
            let mut young = told(second, 1);
            young["name"] = "young".into();
            young["startTime"] = at(10).to_string().into();
            young
        };
        let usages = readings.take(&summary(10, 1, &[told(10, 1), young(10)]), at(10));
        assert!(usages.pods.is_empty(), "one has just begun");
        let usages = readings.take(&summary(11, 1, &[told(11, 1), young(11)]), at(11));
        assert_eq!(usages.pods["u"].len(), 2);
        let usages = readings.take(&summary(12, 1, &[json!({"name": "c"})]), at(12));
        assert!(usages.pods.is_empty() && usages.nodes.len() == 1);
    }
}
