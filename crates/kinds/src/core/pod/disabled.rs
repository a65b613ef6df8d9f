//! Fields of pods that belong to features which Kubernetes 1.36 has off by default. Who writes them finds them gone,
//! unless the object had some before.
//!
//! Source: `kubernetes/pkg/features`, and the API reference of Pod, which names each field's feature.

use serde_json::{Map, Value};

use crate::shared::defaults::{existing_mut, list_mut};

type Spec = Map<String, Value>;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The kinds of projection behind `ClusterTrustBundleProjection` and `PodCertificateRequest`.
const PROJECTIONS: [&str; 2] = ["clusterTrustBundle", "podCertificate"];

/// Takes them out of a pod's spec; `old` is what the spec was before.
pub(crate) fn drop_disabled(spec: &mut Spec, old: Option<&Value>) {
    for kind in PROJECTIONS {
        if !old.is_some_and(|old| projects(old, kind)) {
            drop_projections(spec, kind);
        }
    }
    if old.and_then(|old| old.get("schedulingGroup")).is_none_or(Value::is_null) {
        spec.remove("schedulingGroup");
    }
    if !old.is_some_and(says_stop_signals) {
        drop_stop_signals(spec);
    }
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn projects(spec: &Value, kind: &str) -> bool {
    let projected = items(spec, "volumes").filter_map(|volume| volume.get("projected"));
    projected.flat_map(|projected| items(projected, "sources")).any(|source| source.get(kind).is_some())
}

fn drop_projections(spec: &mut Spec, kind: &str) {
    for volume in list_mut(spec, "volumes") {
        let Some(projected) = existing_mut(volume, "projected") else { continue };
        for source in list_mut(projected, "sources") {
            source.remove(kind);
        }
    }
}

fn says_stop_signals(spec: &Value) -> bool {
    let signal = |container: &Value| container.pointer("/lifecycle/stopSignal").is_some();
    CONTAINERS.iter().any(|list| items(spec, list).any(signal))
}

/// A lifecycle of which nothing is left goes as well.
fn drop_stop_signals(spec: &mut Spec) {
    for list in CONTAINERS {
        for container in list_mut(spec, list) {
            let Some(lifecycle) = existing_mut(container, "lifecycle") else { continue };
            if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
                container.remove("lifecycle");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_off_is_dropped_unless_it_was_there() {
        let check = |spec: Value, expected: Value| {
            let dropped = |old: Option<&Value>| {
                let mut spec = spec.as_object().unwrap().clone();
                drop_disabled(&mut spec, old);
                Value::Object(spec)
            };
            assert_eq!(dropped(None), expected);
            assert_eq!(dropped(Some(&json!({}))), expected);
            assert_eq!(dropped(Some(&spec)), spec);
        };
        check(json!({"containers": [{"lifecycle": {"stopSignal": "SIGUSR1"}}]}), json!({"containers": [{}]}));
        check(
            json!({"initContainers": [{"lifecycle": {"stopSignal": "SIGUSR1", "preStop": {}}}]}),
            json!({"initContainers": [{"lifecycle": {"preStop": {}}}]}),
        );
        check(
            json!({"volumes": [{"projected": {"sources": [{"podCertificate": {}}, {"clusterTrustBundle": {}}]}}]}),
            json!({"volumes": [{"projected": {"sources": [{}, {}]}}]}),
        );
        check(json!({"schedulingGroup": {"podGroupName": "g"}}), json!({}));
    }
}
