//! When the change happened that a write of endpoints answers: the oldest of the changes since the last write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use skiff_informer::ObjectKey;
use skiff_ordered::Ordered as _;

use crate::pods::KnownPod;

#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: BTreeMap<String, Timestamp>,
}

/// Remembers, per Service, the times that were taken into account.
#[derive(Default)]
pub(crate) struct TriggerTimes {
    services: Mutex<HashMap<ObjectKey, Seen>>,
}

impl TriggerTimes {
    /// The time of the oldest change since the last call for `key`, in RFC 3339; `None` if no time has changed, as
    /// when a pod has gone.
    pub(crate) fn advance(
        &self,
        key: &ObjectKey,
        service: &Service,
        members: &[Arc<KnownPod>],
    ) -> Option<String> {
        let now = Seen {
            service: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            pods: members.iter().filter_map(|pod| Some((pod.name().to_owned(), changed_at(pod)?))).to_map(),
        };
        let mut services = self.services.lock();
        let before = services.entry(key.clone()).or_default();
        let changed_pods = now.pods.iter().filter(|(name, time)| before.pods.get(*name) != Some(time));
        let changed_service = now.service.filter(|time| before.service != Some(*time));
        let oldest = changed_pods.map(|(_, time)| *time).chain(changed_service).min();
        *before = now;
        oldest.map(|time| time.to_string())
    }

    /// Forgets a Service that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.services.lock().remove(key);
    }
}

fn changed_at(pod: &KnownPod) -> Option<Timestamp> {
    pod.ready_changed().or(pod.created())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::known;
    use serde_json::json;

    #[test]
    fn only_changes_count_and_the_oldest_wins() {
        let service: Service =
            serde_json::from_value(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}))
                .unwrap();
        let pod = |name: &str, ready: &str| -> Arc<KnownPod> {
            let conditions = json!([{"type": "Ready", "status": "True", "lastTransitionTime": ready}]);
            Arc::new(known(json!({"metadata": {"name": name}, "status": {"conditions": conditions}})))
        };
        let (times, key) = (TriggerTimes::default(), ObjectKey::new("ns", "s"));
        let check = |members: &[Arc<KnownPod>]| times.advance(&key, &service, members);
        assert_eq!(check(&[]).as_deref(), Some("2026-01-01T00:00:00Z"));
        let (a, b) = (pod("a", "2026-01-01T00:00:05Z"), pod("b", "2026-01-01T00:00:03Z"));
        assert_eq!(check(&[a.clone(), b.clone()]).as_deref(), Some("2026-01-01T00:00:03Z"));
        assert_eq!(check(&[a.clone(), b]), None);
        assert_eq!(check(&[a]), None);
    }
}
