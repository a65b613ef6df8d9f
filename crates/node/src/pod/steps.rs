//! Carries out the steps of a plan: each begins a task of the worker, whose outcome comes back as [`Done`].

use super::hooks;
use super::local::{LocalContainer, LocalPod};
use super::observed::{EndCause, Report, Stage, StartError, StopCause};
use super::pull::{image_ref, resolve_images};
use super::sandbox;
use super::start::{STOP_SIGNAL_LABEL, StartInputs, StartRefusal, create_and_start};
use super::step::Step;
use super::tasks::Done;
use super::worker::Worker;
use crate::directory;
use crate::ids::ContainerName;
use crate::probes::perform::Target;
use crate::shared::Shared;
use crate::time::{after, until};
use crate::volumes::Remark;
use crate::volumes::claims::Claims;
use crate::volumes::claims::resolve::{claims_of, resolve};
use crate::volumes::content::ContentContext;
use crate::volumes::setup;
use crate::volumes::tokens::{self, IssuedTokens};
use jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use skiff_informer::EventType::{Normal, Warning};
use skiff_runtime::{ContainerId, PodHandle};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long the objects a pod refers to may take to arrive before a mount fails (and is tried again).
const SOURCES_LIMIT: Duration = Duration::from_secs(10);
/// The pause after tokens could not be issued.
const TOKEN_RETRY: Duration = Duration::from_secs(30);

impl Worker {
    /// Begins `step`, which was noted as issued.
    pub(super) fn begin(&mut self, step: Step) {
        match step {
            Step::End(cause) => self.begin_end(cause),
            Step::MountVolumes => self.begin_mount(),
            Step::StartSandbox => self.begin_sandbox(),
            Step::Start { container, attempt } => self.begin_start(&container, attempt),
            Step::PostStart { container } => self.begin_post_start(container),
            Step::BeginStop { container, cause } => self.announce_stop(&container, &cause),
            Step::PreStop { container, deadline } => self.begin_pre_stop(container, deadline),
            Step::Terminate { container } => self.begin_signal(&container, false),
            Step::Kill { container } => self.begin_signal(&container, true),
            Step::NoteCrashBackOff { container } => {
                let message = format!(
                    "Back-off restarting failed container {container} in pod {}",
                    self.pod.full_name()
                );
                self.container_event(&container, Warning, "BackOff", message);
            }
            Step::NoteImageBackOff { container } => self.note_image_back_off(&container),
            // It changes only what is known.
            Step::RestartAll => {}
            Step::Resize => self.begin_resize(),
            Step::StopSandbox => self.begin_stop_sandbox(),
            Step::UnmountVolumes => self.begin_unmount(),
            Step::DeleteObject => self.begin_delete(),
            Step::RemoveFiles => self.begin_remove_files(),
        }
    }

    fn note_image_back_off(&self, name: &ContainerName) {
        let failure = self.observed.container(name).failure.as_ref();
        let told = |image: &str| format!("Back-off pulling image \"{image}\"");
        if let Some(image) = failure.and_then(|failure| failure.image.as_deref()) {
            self.shared.pod_event(&self.pod, Normal, "BackOff", told(image));
        } else {
            let image = self.pod.container(name).and_then(|c| c.spec.image.as_deref()).unwrap_or_default();
            self.container_event(name, Normal, "BackOff", told(image));
        }
        self.container_event(name, Warning, "Failed", "Error: ImagePullBackOff".into());
    }

    fn container_event(
        &self,
        container: &ContainerName,
        kind: skiff_informer::EventType,
        reason: &'static str,
        message: String,
    ) {
        if let Some(container) = self.pod.container(container) {
            self.shared.container_event(&self.pod, container, kind, reason, message);
        }
    }

    /// The pod's primary address.
    fn ip(&self) -> Option<IpAddr> {
        self.addresses().first().copied()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        if let Stage::Ready(addresses) = &self.observed.sandbox { addresses.clone() } else { Vec::new() }
    }

    /// The live container called `name`, and how to reach it.
    fn target(&self, name: &ContainerName) -> Option<(LocalContainer, Target)> {
        let running = self.observed.container(name).running()?;
        let container = ContainerId::new(running.id.as_str()).ok()?;
        Some((self.pod.container(name)?.clone(), Target { handle: self.handle.clone()?, container }))
    }

    fn begin_end(&mut self, cause: EndCause) {
        self.tasks.ending.cancel();
        if cause == EndCause::DeadlineExceeded {
            let message = "Pod was active on the node longer than the specified deadline";
            self.shared.pod_event(&self.pod, Normal, "DeadlineExceeded", message.into());
        }
        if cause == EndCause::Evicted {
            let message = self.observed.eviction.clone().unwrap_or_default();
            self.shared.pod_event(&self.pod, Warning, "Evicted", message);
        }
    }

    fn begin_mount(&mut self) {
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        let (sources, ending) = (self.sources.snapshot(), self.tasks.ending.clone());
        let (issued, changed) = (self.issued.clone(), self.sources.changed());
        self.tasks.spawn(async move {
            let work = async {
                let claims = claims(&shared, &pod, &changed).await?;
                let sources = tokio::time::timeout(SOURCES_LIMIT, sources).await;
                let sources = sources.map_err(|_| {
                    "failed to sync configmap and secret cache: timed out waiting for the condition"
                        .to_owned()
                })?;
                let issued = tokens::issue(&shared.client, &pod, issued).await?;
                let (paths, kept) = (shared.paths(&pod.uid), issued.clone());
                let (shared, pod) = (shared.clone(), pod.clone());
                let mounted = tokio::task::spawn_blocking(move || {
                    let context = ContentContext {
                        pod: &pod,
                        sources: &sources,
                        tokens: &issued.tokens,
                        allocatable: &shared.allocatable,
                        users: shared.users.of(&pod)?,
                    };
                    let remarks = setup::set_up(&paths, &context, &claims, &shared.volumes);
                    for Remark { reason, message } in remarks.map_err(|error| error.to_string())? {
                        shared.pod_event(&pod, Warning, reason, message);
                    }
                    Ok(())
                });
                mounted.await.map_err(|error| error.to_string())?.map(|()| kept)
            };
            let result = tokio::select! {
                result = work => result,
                () = ending.cancelled() => Err(String::new()),
            };
            if let Err(message) = &result
                && !message.is_empty()
            {
                shared.pod_event(&pod, Warning, "FailedMount", message.clone());
            }
            Done::Volumes(result)
        });
    }

    /// Writes the current objects and fresh tokens into the volumes.
    pub(super) fn begin_refresh(&mut self) {
        if !matches!(self.observed.volumes, Stage::Ready(())) || self.observed.ending.is_some() {
            return;
        }
        // One at a time: two writers of a volume would take each other's files away.
        if std::mem::replace(&mut self.refreshing, true) {
            self.refresh_again = true;
            return;
        }
        let (shared, pod, sources) = (self.shared.clone(), self.pod.clone(), self.sources.snapshot());
        let held = self.issued.clone();
        self.tasks.spawn(async move {
            let (sources, issued) = tokio::join!(sources, tokens::issue(&shared.client, &pod, held));
            let issued = match issued {
                Ok(issued) => issued,
                Err(error) => {
                    tracing::warn!(pod = %pod.full_name(), error, "renewing tokens");
                    // The old token lasts for a fifth of its life.
                    let renew_at = Some(after(Timestamp::now(), TOKEN_RETRY));
                    return Done::Refreshed(IssuedTokens { renew_at, ..IssuedTokens::default() });
                }
            };
            let (paths, name, kept) = (shared.paths(&pod.uid), pod.full_name(), issued.clone());
            let written = tokio::task::spawn_blocking(move || {
                let context = ContentContext {
                    pod: &pod,
                    sources: &sources,
                    tokens: &issued.tokens,
                    allocatable: &shared.allocatable,
                    users: shared.users.known(&pod.uid),
                };
                setup::refresh(&paths, &context, &shared.volumes)
            });
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err((volume, error))) => tracing::warn!(pod = name, volume, %error, "updating a volume"),
                Err(error) => tracing::warn!(pod = name, %error, "updating volumes"),
            }
            Done::Refreshed(kept)
        });
    }

    fn begin_sandbox(&mut self) {
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.tasks.spawn(async move {
            let result = sandbox::start(&shared, &pod).await;
            if let Err(message) = &result {
                let message = format!("Failed to create pod sandbox: {message}");
                shared.pod_event(&pod, Warning, "FailedCreatePodSandBox", message);
            }
            Done::Sandbox(result)
        });
    }

    fn begin_start(&mut self, name: &ContainerName, attempt: u32) {
        let (Some(container), Some(handle)) = (self.pod.container(name).cloned(), self.handle.clone()) else {
            return;
        };
        let (shared, pod, addresses) = (self.shared.clone(), self.pod.clone(), self.addresses());
        let (sources, ending) = (self.sources.snapshot(), self.tasks.ending.clone());
        self.tasks.spawn(async move {
            let name = container.name.clone();
            let given_up = || {
                let (reason, message) = (StartError::CreateContainerError, "the pod is ending".into());
                let container = name.clone();
                Done::Started(vec![Report::StartFailed { container, reason, message, image: None }])
            };
            let sources = tokio::select! {
                sources = sources => sources,
                () = ending.cancelled() => return given_up(),
            };
            let inputs = StartInputs {
                shared: &shared,
                pod: &pod,
                container: &container,
                attempt,
                handle: &handle,
                addresses: &addresses,
                sources: &sources,
            };
            let images = tokio::select! {
                images = resolve_images(&inputs) => images,
                () = ending.cancelled() => return given_up(),
            };
            let images = match images {
                Ok(images) => images,
                Err(refusal) => return Done::Started(vec![refused(&name, attempt, refusal)]),
            };
            let reference = container.spec.image.as_deref().unwrap_or_default();
            let resolved = Report::Resolved {
                container: name.clone(),
                image: image_ref(&images.own, reference),
                volumes: images.volume_refs(),
            };
            let report = match create_and_start(&inputs, &images).await {
                Ok(started) => Report::Started {
                    container: name.clone(),
                    attempt,
                    id: started.id.to_string(),
                    at: started.at,
                    user: started.user,
                },
                Err(refusal) => refused(&name, attempt, refusal),
            };
            prune(&inputs).await;
            Done::Started(vec![resolved, report])
        });
    }

    fn begin_post_start(&mut self, name: ContainerName) {
        let Some((container, target)) = self.target(&name) else { return };
        let (shared, pod, ip) = (self.shared.clone(), self.pod.clone(), self.ip());
        self.tasks.spawn(async move {
            let ok = hooks::post_start(&shared, &pod, &container, &target, ip).await;
            Done::Report(Report::PostStart { container: name, ok })
        });
    }

    fn announce_stop(&mut self, name: &ContainerName, cause: &StopCause) {
        let message = match cause {
            StopCause::PodEnds => format!("Stopping container {name}"),
            StopCause::LivenessFailed => format!("Container {name} failed liveness probe, will be restarted"),
            StopCause::StartupFailed => format!("Container {name} failed startup probe, will be restarted"),
            StopCause::PostStartFailed => "FailedPostStartHook".into(),
            StopCause::DefinitionChanged => format!("Container {name} definition changed, will be restarted"),
            StopCause::AllRestart => {
                format!("Container {name} will be restarted with all containers of the pod")
            }
            StopCause::Resized => format!("Container {name} resize requires restart"),
        };
        self.container_event(name, Normal, "Killing", message);
    }

    fn begin_pre_stop(&mut self, name: ContainerName, deadline: Timestamp) {
        let Some((container, target)) = self.target(&name) else { return };
        let (shared, pod, ip) = (self.shared.clone(), self.pod.clone(), self.ip());
        self.tasks.spawn(async move {
            let limit = until(Timestamp::now(), deadline);
            hooks::pre_stop(&shared, &pod, &container, &target, ip, limit).await;
            Done::Report(Report::PreStopDone { container: name })
        });
    }

    fn begin_signal(&mut self, name: &ContainerName, kill: bool) {
        let Some((_, Target { handle, container })) = self.target(name) else { return };
        let pod = self.pod.clone();
        self.tasks.spawn(async move {
            let signal = if kill {
                "SIGKILL".to_owned()
            } else {
                let state = handle.state().await;
                let own = state.container(&container).and_then(|c| c.labels.get(STOP_SIGNAL_LABEL));
                own.filter(|signal| !signal.is_empty()).cloned().unwrap_or_else(|| "SIGTERM".into())
            };
            if let Err(error) = handle.signal(&container, &signal).await {
                tracing::warn!(pod = %pod.full_name(), %container, signal, %error, "signalling a container");
            }
            Done::Nothing
        });
    }

    fn begin_stop_sandbox(&mut self) {
        let (shared, pod, handle) = (self.shared.clone(), self.pod.clone(), self.handle.take());
        self.runtime_state_ended();
        self.tasks.spawn(async move {
            retry_until_done(|| {
                let (shared, pod, handle) = (shared.clone(), pod.clone(), handle.clone());
                async move { sandbox::stop(&shared, &pod, handle).await }
            })
            .await;
            Done::Report(Report::SandboxGone)
        });
    }

    fn begin_unmount(&mut self) {
        self.sources.follow(Default::default());
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.tasks.spawn(async move {
            retry_until_done(|| {
                let paths = shared.paths(&pod.uid);
                let volumes = shared.volumes.clone();
                async move { blocking(move || setup::tear_down(&paths, &volumes)).await }
            })
            .await;
            Done::Report(Report::VolumesGone)
        });
    }

    fn begin_delete(&mut self) {
        let (client, pod) = (self.shared.client.clone(), self.pod.clone());
        self.tasks.spawn(async move {
            let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, &pod.namespace);
            let preconditions = Preconditions { uid: Some(pod.uid.to_string()), ..Preconditions::default() };
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            let deleted = match api.delete(&pod.name, &params).await {
                Ok(_) => true,
                // Gone already, or another pod has the name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
                Err(error) => {
                    tracing::warn!(pod = %pod.full_name(), %error, "deleting a finished pod");
                    false
                }
            };
            Done::Report(Report::ObjectDeleted(deleted))
        });
    }

    fn begin_remove_files(&mut self) {
        let (shared, uid) = (self.shared.clone(), self.pod.uid.clone());
        self.tasks.spawn(async move {
            retry_until_done(|| {
                let paths = shared.paths(&uid);
                let volumes = shared.volumes.clone();
                async move { blocking(move || setup::remove_pod_files(&paths, &volumes)).await }
            })
            .await;
            shared.users.release(&uid);
            Done::Report(Report::FilesRemoved)
        });
    }

    /// Clears away what a lost sandbox left in the kernel, so that it can be made anew. The pod keeps its address.
    pub(super) fn begin_clear_lost(&mut self, handle: PodHandle) {
        let pod = self.pod.clone();
        self.tasks.spawn(async move {
            tracing::warn!(pod = %pod.full_name(), "the pod's sandbox is lost");
            retry_until_done(|| {
                let handle = handle.clone();
                async move { handle.stop().await.map_err(|error| error.to_string()) }
            })
            .await;
            Done::Report(Report::SandboxLost)
        });
    }
}

/// What the pod's claims are. When they are not as they have to be, `changed` is told of their changes.
async fn claims(shared: &Shared, pod: &LocalPod, changed: &Arc<Notify>) -> Result<Claims, String> {
    // Before they are looked at, so that no change is missed.
    for claim in claims_of(pod) {
        shared.claims.tell(claim, changed);
    }
    resolve(shared, pod).await.map_err(|error| error.to_string())
}

fn refused(name: &ContainerName, attempt: u32, refusal: StartRefusal) -> Report {
    let container = name.clone();
    match refusal {
        StartRefusal::NotMade { reason, message, image } => {
            Report::StartFailed { container, reason, message, image }
        }
        StartRefusal::NotRun { message } => Report::RunFailed { container, attempt, message },
    }
}

/// Removes all but the newest ended attempt of a container that was just started again, and their logs.
async fn prune(inputs: &StartInputs<'_>) {
    let StartInputs { shared, pod, container, attempt, handle, .. } = inputs;
    let state = handle.state().await;
    let old = |run: &&skiff_runtime::ContainerState| {
        run.name == container.name.as_str() && run.attempt + 1 < *attempt
    };
    for run in state.containers.iter().filter(old) {
        if let Err(error) = handle.remove_container(&run.id).await {
            tracing::warn!(pod = %pod.full_name(), container = %run.id, %error, "removing an old container");
        }
        let (paths, name, attempt) = (shared.paths(&pod.uid), container.name.clone(), run.attempt);
        if let Err(error) = blocking(move || directory::remove_attempt(&paths, &name, attempt)).await {
            tracing::warn!(pod = %pod.full_name(), container = %run.id, error, "removing files of an old container");
        }
    }
}

/// Does cleaning work again and again, with growing pauses, until it succeeds: nothing may stay behind.
pub(super) async fn retry_until_done<F: Future<Output = Result<(), String>>>(mut work: impl FnMut() -> F) {
    let mut pause = Duration::from_secs(1);
    while let Err(error) = work().await {
        tracing::warn!(error, "cleaning up, will try again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

pub(super) async fn blocking<E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<(), String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
