//! How long commits take, under the names that Kubernetes has for what it asks of etcd.

use std::time::Instant;

use skiff_exposition::{Counters, Exposed, Family, Histograms};

use crate::types::{Expect, Key, Op, Txn};

/// In seconds.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];

const LABELS: [&str; 3] = ["operation", "group", "resource"];

static TOOK: Histograms<3> =
    Family::histograms("etcd_request_duration_seconds", "Time until a commit is durable.", LABELS, DURATIONS);
static COMMITS: Counters<3> = Family::counters("etcd_requests_total", "Commits.", LABELS);
static ERRORS: Counters<3> =
    Family::counters("etcd_request_errors_total", "Commits that did not happen.", LABELS);

/// The families of the store. Reads are of memory, take microseconds, and are not counted.
pub static METRICS: &[&dyn Exposed] = &[&TOOK, &COMMITS, &ERRORS];

/// What a commit is, by its first write.
#[derive(Debug)]
pub(crate) struct Measured {
    labels: Option<(&'static str, String)>,
    began: Instant,
}

impl Measured {
    pub(crate) fn begin(txn: &Txn) -> Self {
        let labels = txn.ops.first().map(|op| {
            let creates = |key: &Key| {
                txn.expect.iter().any(|expect| matches!(expect, Expect::Absent(absent) if absent == key))
            };
            let operation = match op {
                Op::Delete { .. } => "delete",
                Op::Put { key, .. } if creates(key) => "create",
                Op::Put { .. } => "update",
            };
            (operation, op.key().as_str().to_owned())
        });
        Self { labels, began: Instant::now() }
    }

    pub(crate) fn end(self, failed: bool) {
        let Some((operation, key)) = &self.labels else { return };
        let (group, resource) = resource(key);
        let labels = [*operation, group, resource];
        TOOK.of(labels).observe(self.began.elapsed().as_secs_f64());
        COMMITS.of(labels).add(1);
        if failed {
            ERRORS.of(labels).add(1);
        }
    }
}

/// Group and resource of an object's key; nothing of others, which may be any.
fn resource(key: &str) -> (&str, &str) {
    let mut parts = key.strip_prefix("/registry/").unwrap_or_default().splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("core"), Some(resource), Some(_)) => ("", resource),
        (Some(group), Some(resource), Some(_)) => (group, resource),
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_by_what_they_write() {
        let key = Key::from("/registry/core/pods/default/a");
        let put = Op::Put { key: key.clone(), value: "{}".into() };
        Measured::begin(&Txn { expect: vec![Expect::Absent(key.clone())], ops: vec![put.clone()] })
            .end(false);
        Measured::begin(&Txn { expect: Vec::new(), ops: vec![put] }).end(true);
        let other = Key::from("/registry/apps/deployments/default/a");
        Measured::begin(&Txn { expect: Vec::new(), ops: vec![Op::Delete { key: other }] }).end(false);
        Measured::begin(&Txn::default()).end(false);
        let text = skiff_exposition::text(METRICS);
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        check(r#"etcd_requests_total{operation="create",group="",resource="pods"} 1"#);
        check(r#"etcd_request_errors_total{operation="update",group="",resource="pods"} 1"#);
        check(
            r#"etcd_request_duration_seconds_count{operation="delete",group="apps",resource="deployments"} 1"#,
        );
    }
}
