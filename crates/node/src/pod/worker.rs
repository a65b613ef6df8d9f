//! The task that looks after one pod: feeds events into [`Observed`], asks [`plan`] what to do, does it, and
//! reports the status. It sleeps until something happens or the plan wants to look again.

use super::adopt;
use super::finish::finished;
use super::kept::Kept;
use super::ledger::Standing;
use super::local::LocalPod;
use super::observed::{Observed, Rejection, Report, Stage};
use super::probing::Probes;
use super::publish::Publisher;
use super::sizes::Sizes;
use super::step::{Step, plan};
use super::tasks::{Done, Tasks};
use crate::container::references::references;
use crate::directory;
use crate::ids::ContainerName;
use crate::shared::Shared;
use crate::sources::PodSources;
use crate::time::until;
use crate::volumes::claims::Claims;
use crate::volumes::tokens::IssuedTokens;
use jiff::Timestamp;
use skiff_runtime::{ContainerState, PodHandle, PodState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the API says of a pod now; a worker that was busy skips the states in between.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) pod: Arc<LocalPod>,
    /// The API object is gone. For good: a new one of that name has another UID.
    pub(crate) removed: bool,
}

/// The pod as its worker sees it, for the server.
#[derive(Clone, Default)]
pub(crate) struct View {
    /// The worker has begun. Until then nothing is known but the pod.
    pub(crate) begun: bool,
    pub(crate) pod: Option<Arc<LocalPod>>,
    pub(crate) handle: Option<PodHandle>,
    /// Names, IDs and whether they run, of the containers' newest attempts.
    pub(crate) containers: Vec<ContainerView>,
    /// Nothing of the pod runs any more, or ever will.
    pub(crate) ended: bool,
}

/// One container of a [`View`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerView {
    pub(crate) name: ContainerName,
    /// ID of the running attempt.
    pub(crate) running: Option<String>,
    /// The attempt whose log is meant without further word, and by "previous".
    pub(crate) current: Option<u32>,
    pub(crate) previous: Option<u32>,
    /// The reason it waits for, when it does.
    pub(crate) waiting: Option<String>,
}

/// How a worker begins.
pub(crate) struct Start {
    /// With what it was granted.
    pub(crate) pod: LocalPod,
    /// What it asks for.
    pub(crate) asked: Sizes,
    /// What an agent before this one wrote down of it.
    pub(crate) kept: Option<Kept>,
    /// Set when the pod runs already.
    pub(crate) adopted: Option<(PodHandle, Vec<IpAddr>)>,
    /// Set when the node refuses the pod.
    pub(crate) rejection: Option<Rejection>,
}

/// The worker of one pod.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    /// The pod with the resources that it was granted.
    pub(super) pod: Arc<LocalPod>,
    /// The resources that its specification asks for.
    pub(super) asked: Sizes,
    /// What the node granted it; none when the node has not taken it.
    pub(super) standing: Option<watch::Receiver<Standing>>,
    /// What is written down for a later agent.
    pub(super) kept: Option<Kept>,
    pub(super) observed: Observed,
    pub(super) handle: Option<PodHandle>,
    pub(super) sources: PodSources,
    pub(super) tasks: Tasks,
    /// Whether the volumes are being brought up to date, and have to be once more afterwards.
    pub(super) refreshing: bool,
    pub(super) refresh_again: bool,
    /// Whether what it takes of the disk is about to be looked at.
    pub(super) looking: bool,
    /// The tokens in the pod's volumes and when to renew them.
    pub(super) issued: IssuedTokens,
    probes: Probes,
    publisher: Publisher,
    runtime_state: Option<watch::Receiver<PodState>>,
    view: watch::Sender<View>,
}

impl Worker {
    /// A worker that has not begun; `view` shows the pod to others.
    pub(crate) async fn new(shared: Arc<Shared>, start: Start, view: watch::Sender<View>) -> Self {
        let Start { pod, asked, kept, adopted, rejection } = start;
        let now = Timestamp::now();
        let mut sources = shared.sources.for_pod(&pod.namespace);
        let (mut observed, handle) = match adopted {
            Some((handle, addresses)) => {
                let state = handle.state().await;
                let mut observed =
                    adopt::adopted(&pod, &state, addresses, now, |run| end_of(&shared, &pod, run));
                kept.iter().cloned().for_each(|kept| kept.restore(&mut observed));
                (observed, Some(handle))
            }
            None => (adopt::fresh(&pod, now), None),
        };
        // It ended, and its claims were not given up before the agent did.
        if handle.is_none() && pod.finished_in_api() && has_claims(&shared, &pod) {
            observed.volumes = Stage::Ready(());
        }
        observed.rejection = rejection;
        if !observed.ended() {
            sources.follow(references(&pod));
        }
        let publisher =
            Publisher::new(&shared, handle.is_none() && (pod.finished_in_api() || pod.deleting()));
        Self {
            tasks: Tasks::default(),
            runtime_state: handle.as_ref().map(PodHandle::watch),
            // An adopted pod's tokens are of unknown age.
            issued: IssuedTokens { renew_at: handle.is_some().then_some(now), ..IssuedTokens::default() },
            refreshing: false,
            refresh_again: false,
            looking: false,
            probes: Probes::new(shared.clone()),
            standing: shared.ledger.standing(&pod.uid),
            asked,
            kept,
            pod: Arc::new(pod),
            shared,
            observed,
            handle,
            sources,
            publisher,
            view,
        }
    }

    /// Looks after the pod until nothing of it is left.
    pub(crate) async fn run(mut self, mut latest: watch::Receiver<Latest>) {
        let changed = self.sources.changed();
        self.sync_runtime();
        self.take_standing();
        loop {
            let Some(wake) = self.advance() else { return };
            let sleep = wake.map(|at| until(Timestamp::now(), at));
            tokio::select! {
                news = latest.changed() => match news {
                    Ok(()) => {
                        let now = latest.borrow_and_update().clone();
                        self.take_latest(now);
                    }
                    // The agent shuts down: pods stay as they are.
                    Err(_) => return,
                },
                Some(done) = self.tasks.next() => self.take_done(done),
                Some(report) = self.probes.next() => self.apply(report),
                () = next_standing(&mut self.standing) => self.take_standing(),
                alive = next_state(&mut self.runtime_state) => self.runtime_changed(alive),
                () = changed.notified() => self.sources_changed(),
                () = tokio::time::sleep(sleep.unwrap_or(Duration::MAX)), if sleep.is_some() => {}
            }
        }
    }

    /// The sandbox is being stopped: what the runtime says from now on does not count.
    pub(super) fn runtime_state_ended(&mut self) {
        self.runtime_state = None;
    }

    pub(super) fn apply(&mut self, report: Report) {
        self.observed.apply(report, &self.pod, Timestamp::now());
    }

    /// Begins every step that is due, reports the status, and says when to look again; `None` when done.
    fn advance(&mut self) -> Option<Option<Timestamp>> {
        self.keep();
        let mut wake = loop {
            let now = Timestamp::now();
            let plan = plan(&self.pod, &self.observed, now);
            if plan.done {
                return None;
            }
            let steps: Vec<Step> = plan.steps.into_iter().filter(|step| !self.is_held_back(step)).collect();
            if steps.is_empty() {
                break plan.wake;
            }
            for step in steps {
                self.observed.issue(&step, &self.pod, now);
                self.begin(step);
            }
        };
        self.complete_resize();
        self.watch_storage();
        self.probes.reconcile(&self.pod, &self.observed, self.handle.as_ref());
        let now = Timestamp::now();
        if let Some(renew_at) = self.issued.renew_at.filter(|_| !self.observed.ended()) {
            if now >= renew_at {
                self.issued = IssuedTokens::default();
                self.begin_refresh();
            } else {
                wake = earlier(wake, Some(renew_at));
            }
        }
        let retry = self.publisher.publish(&mut self.pod, &self.observed, &mut self.tasks, now);
        self.show();
        Some(earlier(wake, retry))
    }

    /// Whether a step has to wait for the pod's status.
    fn is_held_back(&self, step: &Step) -> bool {
        match step {
            // The last status must be on its way before the object may go.
            Step::DeleteObject => self.publisher.is_writing(),
            // An agent that finds neither the end of a pod in the API nor its sandbox would run it once more.
            Step::StopSandbox => {
                let is_known = self.pod.finished_in_api() && !self.publisher.is_behind();
                !(is_known || self.pod.deleting() || self.observed.removed)
            }
            _ => false,
        }
    }

    fn take_latest(&mut self, Latest { pod, removed }: Latest) {
        let volumes_changed =
            pod.meta.labels != self.pod.meta.labels || pod.meta.annotations != self.pod.meta.annotations;
        let spec_changed = pod.meta.generation != self.pod.meta.generation;
        self.ask_for(self.publisher.merge_status(Arc::unwrap_or_clone(pod)));
        if removed {
            return self.apply(Report::Removed);
        }
        if spec_changed && !self.observed.ended() {
            self.sources.follow(references(&self.pod));
        }
        if volumes_changed || spec_changed {
            self.sources_changed();
        }
    }

    /// Something that volumes or environments show has changed.
    pub(super) fn sources_changed(&mut self) {
        self.apply(Report::Retry);
        self.begin_refresh();
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Report(Report::ResizeFailed { message }) => self.resize_failed(message),
            Done::Report(report) => self.apply(report),
            Done::Volumes(Ok(issued)) => {
                self.issued = issued;
                self.apply(Report::Volumes(Ok(())));
            }
            Done::Volumes(Err(message)) => self.apply(Report::Volumes(Err(message))),
            Done::Refreshed(issued) => {
                self.issued = issued;
                self.refreshing = false;
                if std::mem::take(&mut self.refresh_again) {
                    self.begin_refresh();
                }
            }
            Done::Sandbox(Ok((handle, addresses))) => {
                self.runtime_state = Some(handle.watch());
                self.handle = Some(handle);
                self.apply(Report::Sandbox(Ok(addresses)));
            }
            Done::Sandbox(Err(message)) => self.apply(Report::Sandbox(Err(message))),
            Done::Started(reports) => reports.into_iter().for_each(|report| self.apply(report)),
            Done::Storage(found) => {
                self.looking = false;
                if let Some(message) = found {
                    self.apply(Report::TakesTooMuch { message });
                }
            }
            Done::StatusWritten(result) => self.publisher.written(result, Timestamp::now()),
            Done::Nothing => {}
        }
        self.sync_runtime();
    }

    /// Takes in news from the runtime. A supervisor that died has a successor soon and says nothing until then; a
    /// sandbox of which nothing more will be heard is lost.
    fn runtime_changed(&mut self, alive: bool) {
        if alive {
            return self.sync_runtime();
        }
        self.runtime_state = None;
        if let Some(handle) = self.handle.take() {
            self.begin_clear_lost(handle);
        }
    }

    /// Takes in what the runtime says of the containers.
    fn sync_runtime(&mut self) {
        let Some(receiver) = &mut self.runtime_state else { return };
        let state = receiver.borrow_and_update().clone();
        for run in &state.containers {
            let name = ContainerName::from(run.name.as_str());
            let is_current =
                self.observed.container(&name).running().is_some_and(|running| running.id == run.id.as_str());
            if is_current && let Some(end) = end_of(&self.shared, &self.pod, run) {
                self.apply(Report::Exited { container: name, end });
            }
        }
    }

    /// Shows the pod to the server.
    fn show(&self) {
        let containers = self.pod.containers.iter().map(|container| {
            let state = self.observed.container(&container.name);
            ContainerView {
                name: container.name.clone(),
                running: state.running().map(|running| running.id.clone()),
                current: state.attempts.checked_sub(1),
                previous: state.previous_attempt(),
                waiting: state.failure.as_ref().map(|failure| failure.shown_reason().to_owned()),
            }
        });
        let containers: Vec<ContainerView> = containers.collect();
        let ended = self.observed.ended();
        if ended {
            self.shared.ledger.release(&self.pod.uid, &self.shared.node.current());
        }
        self.view.send_if_modified(|view| {
            let same_pod = view.pod.as_ref().is_some_and(|pod| Arc::ptr_eq(pod, &self.pod));
            let same = view.begun
                && same_pod
                && view.handle.is_some() == self.handle.is_some()
                && view.ended == ended
                && view.containers == containers;
            if !same {
                *view = View {
                    begun: true,
                    pod: Some(self.pod.clone()),
                    handle: self.handle.clone(),
                    containers,
                    ended,
                };
            }
            !same
        });
    }
}

/// Whether a pod has claims by what an agent wrote down; what cannot be read may be some.
fn has_claims(shared: &Shared, pod: &LocalPod) -> bool {
    let claims = Claims::load(&shared.paths(&pod.uid));
    claims.map_or_else(
        |error| {
            tracing::warn!(pod = %pod.full_name(), %error, "what claims it has cannot be read");
            true
        },
        |claims| !claims.is_empty(),
    )
}

/// The end of a container, with its message.
fn end_of(shared: &Shared, pod: &LocalPod, run: &ContainerState) -> Option<super::observed::Finished> {
    let name = ContainerName::from(run.name.as_str());
    finished(pod.container(&name), run, || directory::message(&shared.paths(&pod.uid), &name, run.attempt))
}

/// Returns after the next change of the runtime's state: false when there will be no other. Never without a runtime.
async fn next_state(receiver: &mut Option<watch::Receiver<PodState>>) -> bool {
    match receiver {
        Some(changes) => changes.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Returns after the next change of what the node granted. Never for a pod that has ended, or that it has not taken.
async fn next_standing(receiver: &mut Option<watch::Receiver<Standing>>) {
    if let Some(changes) = receiver
        && changes.changed().await.is_err()
    {
        *receiver = None;
    }
    if receiver.is_none() {
        std::future::pending().await
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
