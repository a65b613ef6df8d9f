//! How probes went, for `/metrics/probes`.

use super::tally::ProbeKind;
use crate::pod::local::{LocalContainer, LocalPod};
use crate::probes::perform::Outcome;
use crate::stats::exposition::{Exposition, Family, Kind, Sample, float};
use parking_lot::Mutex;
use skiff_runtime::PodUid;
use std::collections::BTreeMap;

/// The probes of all pods of the node, counted. Its bound is theirs: those of a pod go with it.
#[derive(Debug, Default)]
pub(crate) struct ProbeCounts(Mutex<BTreeMap<Key, u64>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    pod: String,
    uid: PodUid,
    container: String,
    kind: &'static str,
    result: &'static str,
}

impl ProbeCounts {
    /// Counts one attempt.
    pub(crate) fn count(
        &self,
        pod: &LocalPod,
        container: &LocalContainer,
        kind: ProbeKind,
        outcome: &Outcome,
    ) {
        let result = match outcome {
            Outcome::Success | Outcome::Warning(_) => "successful",
            Outcome::Failure(_) => "failed",
            Outcome::Error(_) => "unknown",
        };
        let key = Key {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            container: container.name.to_string(),
            kind: kind.title(),
            result,
        };
        *self.0.lock().entry(key).or_default() += 1;
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&self, uid: &PodUid) {
        self.0.lock().retain(|key, _| key.uid != *uid);
    }

    /// The text of `/metrics/probes`. The kubelet's other family there, of how long probes took, is not kept.
    pub(crate) fn text(&self) -> String {
        let counts = self.0.lock().clone();
        let samples = counts.iter().map(|(key, count)| Sample {
            labels: vec![
                ("container", key.container.as_str()),
                ("namespace", key.namespace.as_str()),
                ("pod", key.pod.as_str()),
                ("pod_uid", key.uid.as_str()),
                ("probe_type", key.kind),
                ("result", key.result),
            ],
            value: float(*count),
            at: None,
        });
        let mut text = Exposition::default();
        text.family(Family("prober_probe_total", Kind::Counter, "Probes of containers by result."), samples);
        text.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    #[test]
    fn probes_are_counted_by_result_and_forgotten_with_their_pod() {
        let (counts, pod) = (ProbeCounts::default(), pod_of(r#"{"containers": [{"name": "c"}]}"#));
        let outcomes = [
            Outcome::Success,
            Outcome::Warning("w".into()),
            Outcome::Failure("f".into()),
            Outcome::Error("e".into()),
        ];
        for outcome in &outcomes {
            counts.count(&pod, &pod.containers[0], ProbeKind::Liveness, outcome);
        }
        let line = |result: &str, count: u64| {
            format!(
                "prober_probe_total{{container=\"c\",namespace=\"ns\",pod=\"p\",pod_uid=\"u\",\
                 probe_type=\"Liveness\",result=\"{result}\"}} {count}"
            )
        };
        let text = counts.text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, [line("failed", 1), line("successful", 2), line("unknown", 1)]);
        counts.forget(&pod.uid);
        assert_eq!(counts.text(), "");
    }
}
