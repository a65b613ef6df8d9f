//! Follows the pods that are bound to this node and keeps one task for each, by UID. Nothing is awaited here on behalf
//! of one pod: a slow one holds up nobody but itself.

use super::kept::Kept;
use super::local::LocalPod;
use super::observed::Rejection;
use super::sandbox;
use super::sizes::Sizes;
use super::steps::blocking;
use super::views::Views;
use super::worker::{Latest, Start, View, Worker};
use crate::directory;
use crate::paths::PodPaths;
use crate::shared::Shared;
use crate::volumes::setup::remove_pod_files;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher;
use skiff_errors::error_text;
use skiff_informer::EventType::Warning;
use skiff_informer::{Pulse, Tolerant, Vitals, watch_objects};
use skiff_runtime::PodUid;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Keeps the pods' tasks.
pub(crate) struct Manager {
    shared: Arc<Shared>,
    views: Arc<Views>,
    /// What the API says of each pod that has a task. A task that is behind sees the newest state only.
    pods: HashMap<PodUid, watch::Sender<Latest>>,
    /// One task for each pod, which ends with its UID when nothing is left of it; and the clearing away of strays.
    tasks: JoinSet<Option<PodUid>>,
    /// What an agent before this one left and no pod has taken over yet.
    left: HashSet<PodUid>,
    /// The pods that had an address then. One without a sandbox was being stopped when that agent ended.
    addresses: HashSet<PodUid>,
    /// The list that is being received.
    listing: Listing,
    pulse: Pulse,
}

/// What there is of a pod when its task begins.
enum Before {
    Nothing,
    Address,
    Sandbox,
}

#[derive(Default)]
struct Listing {
    seen: HashSet<PodUid>,
    /// Pods without a task; they get theirs when the list is complete, those that run already first.
    new: Vec<LocalPod>,
}

impl Manager {
    /// A manager that takes over what runs already.
    pub(crate) fn new(shared: Arc<Shared>, views: Arc<Views>, left: Vec<PodUid>, vitals: &Vitals) -> Self {
        let pulse = Pulse::default();
        let (filled, watched) = (views.clone(), pulse.clone());
        vitals.fill("the node's pods", move || filled.are_listed());
        vitals.watch("the node's pods", move |now| watched.stuck(now));
        let addresses = shared.network.existing();
        let addresses = addresses.keys().filter_map(|uid| PodUid::new(uid.as_str()).ok()).collect();
        Self {
            shared,
            views,
            pods: HashMap::new(),
            tasks: JoinSet::new(),
            left: left.into_iter().collect(),
            addresses,
            listing: Listing::default(),
            pulse,
        }
    }

    /// Follows the pods until `shutdown`; they then go on without the agent.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let api = Api::all(self.shared.client.clone());
        let config =
            watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.config.node_name));
        let mut events = std::pin::pin!(watch_objects::<Pod>(api, config));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => self.take(event),
                    Some(Err(error)) => tracing::warn!(%error, "watching pods, will try again"),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Some(uid)) => self.forget(&uid),
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a pod's task failed"),
                },
            }
        }
    }

    fn take(&mut self, event: watcher::Event<Tolerant<Pod>>) {
        let pulse = self.pulse.clone();
        let _beat = pulse.beat();
        match event {
            watcher::Event::Init => self.listing = Listing::default(),
            watcher::Event::InitApply(pod) => {
                // A pod that cannot be read goes on as it is.
                self.listing.seen.extend(uid(&pod));
                if let Some(pod) = pod.readable().and_then(LocalPod::new)
                    && let Some(pod) = self.update(pod)
                {
                    self.listing.new.push(pod);
                }
            }
            watcher::Event::InitDone => self.list_ended(),
            watcher::Event::Apply(pod) => {
                if let Some(pod) = pod.readable().and_then(LocalPod::new).and_then(|pod| self.update(pod)) {
                    self.begin(pod);
                }
            }
            watcher::Event::Delete(pod) => {
                if let Some(uid) = uid(&pod) {
                    self.removed(&uid);
                }
            }
        }
    }

    /// Hands a pod to its task; gives it back if it has none.
    fn update(&self, pod: LocalPod) -> Option<LocalPod> {
        let Some(sender) = self.pods.get(&pod.uid) else { return Some(pod) };
        sender.send_modify(|latest| latest.pod = Arc::new(pod));
        None
    }

    /// A pod is gone from the API. What it still takes while it ends counts no more, as with the kubelet: whoever did not wait for
    /// its end wants its place at once.
    fn removed(&self, uid: &PodUid) {
        if let Some(sender) = self.pods.get(uid) {
            self.shared.ledger.release(uid, &self.shared.node.current());
            sender.send_modify(|latest| latest.removed = true);
        }
    }

    /// Begins the pods of a complete list and ends what is not in it.
    fn list_ended(&mut self) {
        let Listing { seen, mut new } = std::mem::take(&mut self.listing);
        skiff_ordered::sort_by_key(&mut new, |pod| {
            let created = pod.meta.creation_timestamp.as_ref().map(|time| time.0);
            (!self.is_known(pod), created)
        });
        // What a pod asks for on top of what it has comes after all pods are counted.
        for pod in new.clone() {
            self.begin(pod);
        }
        new.iter().for_each(|pod| self.shared.ledger.want(pod, &self.shared.node.current()));
        self.pods.keys().filter(|uid| !seen.contains(uid)).for_each(|uid| self.removed(uid));
        self.clear_strays();
        self.views.list_ended();
    }

    /// Whether the node has taken the pod before.
    fn is_known(&self, pod: &LocalPod) -> bool {
        let started = pod.status.start_time.is_some() || pod.deleting() || pod.finished_in_api();
        started || self.left.contains(&pod.uid)
    }

    /// Starts the task of a pod.
    fn begin(&mut self, asked: LocalPod) {
        let shared = &self.shared;
        let known = self.is_known(&asked) && !asked.finished_in_api();
        let kept = if known { Kept::load(&shared.paths(&asked.uid)) } else { None };
        let sizes = Sizes::of(&asked);
        let granted = kept.as_ref().map_or(&sizes, |kept| &kept.granted);
        let pod = granted.applied(asked.clone());
        let verdict = if asked.finished_in_api() {
            Ok(())
        } else if known {
            shared.ledger.keep(&pod);
            Ok(())
        } else {
            shared.ledger.admit(&pod, &shared.node.current(), shared.machine.modules)
        };
        let uid = pod.uid.clone();
        let known = Arc::new(asked);
        let (view_sender, view) = watch::channel(View { pod: Some(known.clone()), ..View::default() });
        self.views.insert(uid.clone(), view);
        let (sender, latest) = watch::channel(Latest { pod: known, removed: false });
        self.pods.insert(uid.clone(), sender);
        let (shared, before) = (self.shared.clone(), self.before(&uid));
        self.tasks.spawn(async move {
            let rejection = match verdict {
                Ok(()) => None,
                Err(_) => reconsider(&shared, &pod).await,
            };
            let adopted = match before {
                Before::Sandbox => sandbox::take_over(&shared, &pod).await,
                Before::Address => {
                    sandbox::clear_away(&shared, &pod).await;
                    None
                }
                Before::Nothing => None,
            };
            let start = Start { pod, asked: sizes, kept, adopted, rejection };
            Worker::new(shared, start, view_sender).await.run(latest).await;
            Some(uid)
        });
    }

    /// What an agent before this one left of a pod, which its task takes over.
    fn before(&mut self, uid: &PodUid) -> Before {
        if self.left.remove(uid) {
            Before::Sandbox
        } else if self.addresses.remove(uid) {
            Before::Address
        } else {
            Before::Nothing
        }
    }

    fn forget(&mut self, uid: &PodUid) {
        self.pods.remove(uid);
        self.views.remove(uid);
        self.shared.ledger.release(uid, &self.shared.node.current());
        self.shared.probes.forget(uid);
    }

    /// Clears away what belongs to no pod: processes, addresses, files.
    fn clear_strays(&mut self) {
        let left = std::mem::take(&mut self.left);
        let addresses = self.shared.network.existing();
        let with_address = addresses.keys().filter_map(|uid| PodUid::new(uid.as_str()).ok());
        let with_something = with_address.chain(pods_with_files(&self.shared));
        let without_task = with_something.filter(|uid| !self.pods.contains_key(uid));
        let strays: HashSet<PodUid> = left.iter().cloned().chain(without_task).collect();
        for uid in strays {
            let (shared, runs) = (self.shared.clone(), left.contains(&uid));
            self.tasks.spawn(async move {
                clear(&shared, &uid, runs).await;
                None
            });
        }
    }
}

/// Looks once more, at the Node as it is now, at a pod that did not fit the Node as it was seen last; says so when it
/// is refused for good.
async fn reconsider(shared: &Shared, pod: &LocalPod) -> Option<Rejection> {
    let verdict = shared.ledger.admit(pod, &*shared.node.read().await, shared.machine.modules);
    let rejection = verdict.err()?;
    let text = rejection.message.trim_start_matches("Pod was rejected: ").to_owned();
    shared.pod_event(pod, Warning, rejection.reason, text);
    Some(rejection)
}

/// The pods that have a directory.
fn pods_with_files(shared: &Shared) -> Vec<PodUid> {
    directory::known(&shared.config.data_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "looking for files of pods that are gone");
        Vec::new()
    })
}

/// Ends what is left of a pod that the API no longer knows.
async fn clear(shared: &Shared, uid: &PodUid, runs: bool) {
    let stopped = if runs {
        tracing::info!(pod = %uid, "stopping a pod that the API no longer knows");
        shared.runtime.remove_pod(uid).await
    } else {
        Ok(())
    };
    if let Err(error) = stopped {
        let error = error_text(&error);
        return tracing::warn!(pod = %uid, error, "stopping a pod that the API no longer knows");
    }
    if let Err(error) = shared.network.detach(uid.as_str()).await {
        tracing::warn!(pod = %uid, %error, "freeing the address of a pod that is gone");
    }
    let paths = PodPaths::new(&shared.config.data_dir, uid);
    let volumes = shared.volumes.clone();
    match blocking(move || remove_pod_files(&paths, &volumes)).await {
        Ok(()) => shared.users.release(uid),
        Err(error) => tracing::warn!(pod = %uid, error, "removing the files of a pod that is gone"),
    }
}

fn uid(pod: &Tolerant<Pod>) -> Option<PodUid> {
    PodUid::new(pod.meta().uid.as_deref()?).ok()
}
