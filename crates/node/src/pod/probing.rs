//! Keeps the probes of a pod's running containers going.

use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{Hook, Observed, Report, Running, Stage};
use crate::ids::ContainerName;
use crate::probes::perform::Target;
use crate::probes::prober::{Prober, probe_of};
use crate::probes::tally::ProbeKind;
use crate::shared::Shared;
use skiff_runtime::{ContainerId, PodHandle};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The probes under way in one pod.
pub(crate) struct Probes {
    shared: Arc<Shared>,
    running: HashMap<Key, AbortOnDrop>,
    sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
}

/// Verdicts that may wait for the pod's worker; a probe with one more waits with it, and probes again afterwards.
const WAITING_REPORTS: usize = 16;

/// One probe of one attempt of a container.
type Key = (ContainerName, String, ProbeKind);

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probes {
    /// No probes.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let (sender, reports) = mpsc::channel(WAITING_REPORTS);
        Self { shared, running: HashMap::new(), sender, reports }
    }

    /// The next verdict that changed.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// Starts and stops probes so that exactly the wanted ones run.
    pub(crate) fn reconcile(&mut self, pod: &Arc<LocalPod>, observed: &Observed, handle: Option<&PodHandle>) {
        let mut wanted: Vec<(&LocalContainer, &Running, ProbeKind)> = Vec::new();
        for container in pod.containers.iter().filter(|c| matches!(c.role, Role::Main | Role::Sidecar)) {
            if let Some(running) = observed.container(&container.name).running() {
                wanted.extend(
                    kinds(container, running, observed.ending.is_some())
                        .map(|kind| (container, running, kind)),
                );
            }
        }
        self.running.retain(|(name, id, kind), _| {
            wanted.iter().any(|(container, running, wanted)| {
                container.name == *name && running.id == *id && wanted == kind
            })
        });
        let Some(handle) = handle else { return };
        for (container, running, kind) in wanted {
            let key = (container.name.clone(), running.id.clone(), kind);
            let Ok(id) = ContainerId::new(running.id.as_str()) else { continue };
            self.running.entry(key).or_insert_with(|| {
                let prober = Prober {
                    shared: self.shared.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    kind,
                    target: Target { handle: handle.clone(), container: id },
                    ip: if let Stage::Ready(ips) = &observed.sandbox { ips.first().copied() } else { None },
                    started_at: running.started_at,
                    reports: self.sender.clone(),
                };
                AbortOnDrop(tokio::spawn(prober.run()).abort_handle())
            });
        }
    }
}

/// The probes a running container wants now: its startup probe first, then the others; while it is being stopped or
/// its pod ends, readiness only.
fn kinds(container: &LocalContainer, running: &Running, ending: bool) -> impl Iterator<Item = ProbeKind> {
    let stopping = running.stop.is_some() || ending;
    let starting = container.spec.startup_probe.is_some() && running.startup != Some(true);
    let hooked = running.post_start == Hook::Done;
    let wanted = move |kind: &ProbeKind| match kind {
        ProbeKind::Startup => starting && hooked && !stopping,
        ProbeKind::Liveness => !starting && hooked && !stopping,
        ProbeKind::Readiness => !starting && hooked,
    };
    let all = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
    let existing: Vec<ProbeKind> =
        all.into_iter().filter(|kind| probe_of(container, *kind).is_some()).collect();
    existing.into_iter().filter(wanted)
}
