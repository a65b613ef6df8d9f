//! All pods of this node as their workers see them, for the server.
//!
//! An agent that has just begun knows its pods a moment before their workers have taken them over. Who asks for a pod
//! meanwhile waits for it: it is there, and its containers run.

use super::local::LocalPod;
use super::worker::View;
use parking_lot::RwLock;
use skiff_runtime::PodUid;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long somebody waits for a pod that is being taken over.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pods that have a task.
pub(crate) struct Views {
    pods: RwLock<HashMap<PodUid, watch::Receiver<View>>>,
    /// Whether the node's pods have been listed.
    listed: watch::Sender<bool>,
}

impl Default for Views {
    fn default() -> Self {
        Self { pods: RwLock::default(), listed: watch::channel(false).0 }
    }
}

impl Views {
    /// A pod got its task.
    pub(crate) fn insert(&self, uid: PodUid, view: watch::Receiver<View>) {
        self.pods.write().insert(uid, view);
    }

    /// A pod's task has ended.
    pub(crate) fn remove(&self, uid: &PodUid) {
        self.pods.write().remove(uid);
    }

    /// All pods of the node have their tasks.
    pub(crate) fn list_ended(&self) {
        self.listed.send_replace(true);
    }

    /// Whether the node's pods are known.
    pub(crate) fn are_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// All pods as they are now.
    pub(crate) fn all(&self) -> Vec<View> {
        self.pods.read().values().map(|view| view.borrow().clone()).collect()
    }

    /// Those of the pods with these UIDs that are known.
    pub(crate) fn of(&self, uids: &[PodUid]) -> impl Iterator<Item = Arc<LocalPod>> {
        let pods = self.pods.read();
        let known: Vec<_> = uids.iter().filter_map(|uid| pods.get(uid)?.borrow().pod.clone()).collect();
        known.into_iter()
    }

    /// The pod called `name`, with this UID if there is one, once its worker has begun; and what shows it from then on. Of
    /// several pods that had the name, the one that still runs.
    pub(crate) async fn find(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Option<(View, watch::Receiver<View>)> {
        let waiting = async {
            let mut found = self.named(namespace, name, uid);
            if found.is_none() {
                // Its sender is in `self`.
                drop(self.listed.subscribe().wait_for(|listed| *listed).await);
                found = self.named(namespace, name, uid);
            }
            let mut changes = found?;
            // A worker that is gone will not begin.
            let view = changes.wait_for(|view| view.begun).await.ok()?.clone();
            Some((view, changes))
        };
        timeout(PATIENCE, waiting).await.ok().flatten()
    }

    fn named(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<watch::Receiver<View>> {
        let pods = self.pods.read();
        let candidates = pods.values().filter(|changes| changes.borrow().is(namespace, name, uid));
        candidates.max_by_key(|changes| !changes.borrow().ended).cloned()
    }
}

impl View {
    fn is(&self, namespace: &str, name: &str, uid: Option<&str>) -> bool {
        let named = |pod: &LocalPod| pod.namespace == namespace && pod.name == name;
        let same = |pod: &LocalPod| uid.is_none_or(|uid| pod.uid.as_str() == uid);
        self.pod.as_ref().is_some_and(|pod| named(pod) && same(pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn view(begun: bool) -> View {
        View { pod: Some(Arc::new(pod_of(r#"{"containers": []}"#))), begun, ..View::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_being_taken_over_is_waited_for() {
        let views = Views::default();
        let uid = PodUid::new("u").unwrap();
        let (sender, receiver) = watch::channel(view(false));
        let taking_over = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            views.insert(uid.clone(), receiver);
            views.list_ended();
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(view(true));
        };
        let (found, ()) = tokio::join!(views.find("ns", "p", None), taking_over);
        assert!(found.unwrap().0.begun);
        let (other, another) = tokio::join!(views.find("ns", "p", Some("v")), views.find("ns", "q", None));
        assert!(other.is_none() && another.is_none(), "whoever is not there is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_holds_up_nobody_else() {
        let views = Views::default();
        let (_hangs, hanging) = watch::channel(view(false));
        let mut other = pod_of(r#"{"containers": []}"#);
        other.name = "q".into();
        let (_begun, begun) = watch::channel(View { pod: Some(Arc::new(other)), ..view(true) });
        views.insert(PodUid::new("u").unwrap(), hanging);
        views.insert(PodUid::new("v").unwrap(), begun);
        views.list_ended();
        let start = tokio::time::Instant::now();
        assert!(views.find("ns", "q", None).await.is_some());
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(views.find("ns", "p", None).await.is_none());
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
