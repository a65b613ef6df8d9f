//! Follows the pods that are bound to this node and keeps one worker for each, by UID.

use super::admission::{Claims, admit, claims};
use super::local::LocalPod;
use super::sandbox;
use super::worker::{Message, Start, View, Worker};
use crate::paths::{PodPaths, pods_dir};
use crate::shared::Shared;
use crate::volumes::setup::remove_pod_files;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::RwLock;
use skiff_informer::EventType::Warning;
use skiff_runtime::{PodHandle, PodUid};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// All pods of this node as their workers see them.
pub(crate) type Views = Arc<RwLock<HashMap<PodUid, watch::Receiver<View>>>>;

/// Keeps the workers.
pub(crate) struct Manager {
    shared: Arc<Shared>,
    views: Views,
    workers: HashMap<PodUid, mpsc::UnboundedSender<Message>>,
    /// Ends with the UID of a worker that has nothing left to do.
    tasks: JoinSet<PodUid>,
    /// Pods that ran when the agent started and that no worker has taken over yet.
    adopted: HashMap<PodUid, PodHandle>,
    /// Pods seen in the list that is being received.
    listed: Option<HashSet<PodUid>>,
}

impl Manager {
    /// A manager that has taken over `adopted`, the pods that run already.
    pub(crate) fn new(shared: Arc<Shared>, views: Views, adopted: Vec<PodHandle>) -> Self {
        let adopted = adopted.into_iter().map(|handle| (handle.uid().clone(), handle)).collect();
        Self { shared, views, workers: HashMap::new(), tasks: JoinSet::new(), adopted, listed: None }
    }

    /// Follows the pods until `shutdown`; they then go on without the agent.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let api: Api<Pod> = Api::all(self.shared.client.clone());
        let config =
            watcher::Config::default().fields(&format!("spec.nodeName={}", self.shared.config.node_name));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => self.take(event).await,
                    Some(Err(error)) => tracing::warn!(%error, "watching pods, will try again"),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(uid) => self.forget(&uid),
                    Err(error) => tracing::error!(%error, "a pod's worker failed"),
                },
            }
        }
    }

    async fn take(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed = Some(HashSet::new()),
            watcher::Event::InitApply(pod) => {
                if let Some(pod) = LocalPod::new(pod) {
                    self.listed.get_or_insert_default().insert(pod.uid.clone());
                    self.update(pod).await;
                }
            }
            watcher::Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                self.remove_unlisted(&listed).await;
            }
            watcher::Event::Apply(pod) => {
                if let Some(pod) = LocalPod::new(pod) {
                    self.update(pod).await;
                }
            }
            watcher::Event::Delete(pod) => {
                if let Some(pod) = LocalPod::new(pod) {
                    self.send(&pod.uid, Message::Removed);
                }
            }
        }
    }

    fn send(&self, uid: &PodUid, message: Message) {
        if let Some(worker) = self.workers.get(uid)
            && worker.send(message).is_err()
        {
            tracing::debug!(pod = %uid, "the pod's worker has ended");
        }
    }

    /// Hands a pod to its worker, or starts one.
    async fn update(&mut self, pod: LocalPod) {
        if self.workers.contains_key(&pod.uid) {
            let uid = pod.uid.clone();
            return self.send(&uid, Message::Updated(Box::new(pod)));
        }
        let adopted = match self.adopted.remove(&pod.uid) {
            Some(handle) => sandbox::take_over(&self.shared, &pod, handle).await,
            None => None,
        };
        let known =
            adopted.is_some() || pod.status.start_time.is_some() || pod.deleting() || pod.finished_in_api();
        let rejection = if known { None } else { self.admit(&pod) };
        let uid = pod.uid.clone();
        let (view_sender, view) = watch::channel(View::default());
        self.views.write().insert(uid.clone(), view);
        let (sender, messages) = mpsc::unbounded_channel();
        self.workers.insert(uid.clone(), sender);
        let worker = Worker::new(self.shared.clone(), Start { pod, adopted, rejection }, view_sender).await;
        self.tasks.spawn(async move {
            worker.run(messages).await;
            uid
        });
    }

    fn admit(&self, pod: &LocalPod) -> Option<super::observed::Rejection> {
        let views = self.views.read();
        let others: Vec<Claims> = views
            .values()
            .filter_map(|view| {
                let view = view.borrow();
                let other = view.pod.as_ref()?;
                (!view.ended).then(|| claims(other))
            })
            .collect();
        let rejection = admit(pod, &others, &self.shared.allocatable, &self.shared.node_labels).err()?;
        let reason = EVENT_REASONS.iter().find(|reason| **reason == rejection.reason);
        let reason = reason.copied().unwrap_or("UnexpectedAdmissionError");
        let text = rejection.message.trim_start_matches("Pod was rejected: ").to_owned();
        self.shared.pod_event(pod, Warning, reason, text);
        Some(rejection)
    }

    fn forget(&mut self, uid: &PodUid) {
        self.workers.remove(uid);
        self.views.write().remove(uid);
    }

    /// Ends what the API no longer knows: pods with a worker, pods without, and files of neither.
    async fn remove_unlisted(&mut self, listed: &HashSet<PodUid>) {
        for uid in self.workers.keys().filter(|uid| !listed.contains(uid)) {
            self.send(uid, Message::Removed);
        }
        for (uid, handle) in std::mem::take(&mut self.adopted) {
            tracing::info!(pod = %uid, "stopping a pod that the API no longer knows");
            if let Err(error) = handle.stop().await {
                tracing::warn!(pod = %uid, %error, "stopping a pod that the API no longer knows");
            }
        }
        for uid in self.shared.network.existing().keys() {
            let known = PodUid::new(uid.as_str()).is_ok_and(|uid| self.workers.contains_key(&uid));
            if !known && let Err(error) = self.shared.network.detach(uid).await {
                tracing::warn!(pod = uid, %error, "freeing the address of a pod that is gone");
            }
        }
        self.remove_stray_files();
    }

    fn remove_stray_files(&self) {
        let root = pods_dir(&self.shared.config.data_dir);
        let entries = match std::fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                return tracing::warn!(path = %root.display(), %error, "looking for files of pods that are gone");
            }
        };
        let names =
            entries.flatten().filter_map(|entry| PodUid::new(entry.file_name().into_string().ok()?).ok());
        for uid in names.filter(|uid| !self.workers.contains_key(uid)) {
            if let Err(error) = remove_pod_files(&PodPaths::new(&self.shared.config.data_dir, &uid)) {
                tracing::warn!(pod = %uid, %error, "removing the files of a pod that is gone");
            }
        }
    }
}

/// Reasons of refusals that are events of the same name.
const EVENT_REASONS: [&str; 6] =
    ["OutOfcpu", "OutOfmemory", "OutOfpods", "NodeAffinity", "NodePorts", "SysctlForbidden"];
