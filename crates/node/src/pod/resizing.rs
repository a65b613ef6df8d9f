//! The worker's part in changes of a pod's resources: what the node granted becomes the pod's, is kept for a later agent,
//! and is written to the control groups.

use super::kept::Kept;
use super::ledger::Standing;
use super::local::LocalPod;
use super::observed::{Granted, Report, Stage};
use super::resize::{self, event_message};
use super::sizes::Sizes;
use super::tasks::Done;
use super::worker::Worker;
use skiff_informer::EventType::{Normal, Warning};
use skiff_runtime::{ContainerId, Resize, Resized};
use std::sync::Arc;

impl Worker {
    /// Takes in a new specification: asks the node for its resources, and has what was granted until then.
    pub(super) fn ask_for(&mut self, latest: LocalPod) {
        let (granted, asked) = (Sizes::of(&self.pod), Sizes::of(&latest));
        if !asked.same(&self.asked) {
            self.shared.ledger.want(&latest, &self.shared.node.current());
        }
        self.asked = asked;
        self.pod = Arc::new(granted.applied(latest));
        self.take_standing();
    }

    /// Takes in what the node granted, or why it did not.
    pub(super) fn take_standing(&mut self) {
        let Some(receiver) = &mut self.standing else { return };
        let Standing { granted, generation, deferred } = receiver.borrow_and_update().clone();
        if !granted.same(&Sizes::of(&self.pod)) {
            self.pod = Arc::new(granted.applied(LocalPod::clone(&self.pod)));
            self.observed.resizing.granted = Some(Granted { generation, error: None });
            self.keep();
            let message = event_message("Pod resize started", &self.pod, generation, "");
            self.shared.pod_event(&self.pod, Normal, "ResizeStarted", message);
            self.sources_changed();
        }
        let before = std::mem::replace(&mut self.observed.resizing.deferred, deferred);
        if let Some(deferred) = &self.observed.resizing.deferred
            && before.is_none_or(|before| before.generation != deferred.generation)
        {
            let asked = self.asked.applied(LocalPod::clone(&self.pod));
            let prefix = format!("Pod resize {}", deferred.reason);
            let message = event_message(&prefix, &asked, deferred.generation, &deferred.message);
            self.shared.pod_event(&self.pod, Warning, "ResizeDeferred", message);
        }
    }

    /// Writes down what a later agent has to know, if that is news.
    pub(super) fn keep(&mut self) {
        if self.observed.ended() {
            return;
        }
        let kept = Kept::of(&self.pod, &self.observed);
        if self.kept.as_ref() == Some(&kept) {
            return;
        }
        if let Err(error) = kept.save(&self.shared.paths(&self.pod.uid)) {
            tracing::warn!(pod = %self.pod.full_name(), %error, "a later agent will not know the pod's resources");
        }
        self.kept = Some(kept);
    }

    pub(super) fn begin_resize(&mut self) {
        let resize::Changes { pod, containers } = resize::changes(&self.pod, &self.observed);
        let to = Arc::new(Sizes::of(&self.pod));
        let Some(handle) = self.handle.clone() else {
            return self.resize_failed("the pod has no sandbox".into());
        };
        let resized = containers.into_iter().filter_map(|(name, id, change)| {
            Some(Resized { id: ContainerId::new(id).ok()?, name: name.to_string(), change })
        });
        let resize = Resize { pod, containers: resized.collect() };
        self.tasks.spawn(async move {
            let named = |resized: &Resized| (resized.name.as_str().into(), resized.id.to_string());
            let containers = resize.containers.iter().map(named).collect();
            Done::Report(match handle.resize(resize).await {
                Ok(()) => Report::Resized { to, containers },
                Err(error) => Report::ResizeFailed { message: error.to_string() },
            })
        });
    }

    pub(super) fn resize_failed(&mut self, message: String) {
        let known = self.observed.resizing.granted.as_ref();
        if let Some(Granted { generation, error }) = known
            && error.as_ref() != Some(&message)
        {
            let text = event_message("Pod resize error", &self.pod, *generation, &message);
            self.shared.pod_event(&self.pod, Warning, "ResizeError", text);
        }
        self.apply(Report::ResizeFailed { message });
    }

    /// Ends a change of resources when every group has what was granted.
    pub(super) fn complete_resize(&mut self) {
        let works = matches!(self.observed.resizing.work, Stage::Working { .. });
        if works || resize::is_under_way(&self.pod, &self.observed) {
            return;
        }
        if let Some(Granted { generation, .. }) = self.observed.resizing.granted.take() {
            let message = event_message("Pod resize completed", &self.pod, generation, "");
            self.shared.pod_event(&self.pod, Normal, "ResizeCompleted", message);
        }
    }
}
