//! Watches the metadata of every kind and feeds the graph.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::runtime::watcher::{self, Event};
use parking_lot::Mutex;
use skiff_informer::{Queue, Tolerant, watch_metadata};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::graph::{Graph, GroupKind, Uid, Work};
use super::linked::Linked;
use crate::discovery::{ResourceKind, discover};
use crate::removals::{Removals, Removed};

/// Kinds that own nothing and are owned by nothing, and change all the time.
const IGNORED: [(&str, &str); 2] = [("", "Event"), ("events.k8s.io", "Event")];
/// Kinds whose objects say that there are new kinds.
const DEFINE_KINDS: [(&str, &str); 2] =
    [("apiextensions.k8s.io", "CustomResourceDefinition"), ("apiregistration.k8s.io", "APIService")];

/// The kinds under watch and what they told.
pub(super) struct Monitors {
    client: Client,
    pub(super) graph: Arc<Mutex<Graph>>,
    queue: Queue<Work>,
    /// Told of every object that is gone.
    removals: Removals,
    kinds: Mutex<HashMap<GroupKind, Monitored>>,
    /// New kinds may exist.
    changed: Arc<Notify>,
}

struct Monitored {
    kind: ResourceKind,
    stop: CancellationToken,
    synced: watch::Receiver<bool>,
}

impl Monitors {
    pub(super) fn new(client: Client, queue: Queue<Work>, removals: Removals) -> Self {
        let (graph, kinds) = (Arc::default(), Mutex::default());
        Self { client, graph, queue, removals, kinds, changed: Arc::new(Notify::new()) }
    }

    /// The kind of that group and name, if the server has it.
    pub(super) fn kind(&self, kind: &GroupKind) -> Option<ResourceKind> {
        self.kinds.lock().get(kind).map(|monitored| monitored.kind.clone())
    }

    /// Follows the set of kinds until `shutdown`.
    pub(super) async fn follow_kinds(&self, shutdown: &CancellationToken) {
        let following = async {
            loop {
                self.changed.notified().await;
                if let Err(error) = self.discover(shutdown).await {
                    warn!(%error, "kinds not discovered; trying again when they change");
                }
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// Watches the kinds that the server has now, and no others. Of what it cannot tell at present, what was known stays.
    pub(super) async fn discover(&self, shutdown: &CancellationToken) -> kube::Result<()> {
        let found = discover(&self.client).await?;
        if let Some(failure) = found.failure() {
            info!(failure, "not all kinds are known");
        }
        let needed = ["list", "watch", "delete"];
        let watchable = found.kinds.iter().filter(|kind| needed.iter().all(|verb| kind.supports(verb)));
        let mut present = HashSet::new();
        let mut kinds = self.kinds.lock();
        for kind in watchable {
            let name = GroupKind::new(&kind.api.group, &kind.api.kind);
            if IGNORED.contains(&(kind.api.group.as_str(), kind.api.kind.as_str())) {
                continue;
            }
            if present.insert(name.clone()) && !kinds.contains_key(&name) {
                kinds.insert(name.clone(), self.start(&name, kind.clone(), shutdown));
            }
        }
        kinds.retain(|name, monitored| {
            let keep = present.contains(name) || found.is_incomplete(&monitored.kind.api.group);
            if !keep {
                info!(kind = %name, "kind is gone");
                monitored.stop.cancel();
            }
            keep
        });
        Ok(())
    }

    /// Waits until every kind was listed once.
    pub(super) async fn synced(&self) {
        let waiting: Vec<_> = self.kinds.lock().values().map(|monitored| monitored.synced.clone()).collect();
        for mut synced in waiting {
            // An error means the kind is gone again: nothing to wait for.
            if synced.wait_for(|done| *done).await.is_err() {
                debug!("a kind disappeared before it was listed");
            }
        }
    }

    fn start(&self, name: &GroupKind, kind: ResourceKind, shutdown: &CancellationToken) -> Monitored {
        let stop = shutdown.child_token();
        let (done, synced) = watch::channel(false);
        let defines = DEFINE_KINDS.contains(&(kind.api.group.as_str(), kind.api.kind.as_str()));
        let monitor = Monitor {
            name: name.clone(),
            graph: self.graph.clone(),
            queue: self.queue.clone(),
            removals: self.removals.clone(),
            resource: kind.api.plural.clone(),
            group: kind.api.group.clone(),
            changed: defines.then(|| self.changed.clone()),
            done,
        };
        let objects = watch_metadata(self.client.clone(), &kind.api).boxed();
        let token = stop.clone();
        tokio::spawn(async move { token.run_until_cancelled(monitor.follow(objects)).await });
        Monitored { kind, stop, synced }
    }
}

struct Monitor {
    name: GroupKind,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Work>,
    removals: Removals,
    /// The kind's plural name.
    resource: String,
    group: String,
    /// Told of every change, if the objects of this kind define kinds.
    changed: Option<Arc<Notify>>,
    done: watch::Sender<bool>,
}

impl Monitor {
    async fn follow(self, mut events: BoxStream<'static, watcher::Result<Event<Tolerant<Linked>>>>) {
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.extend(uid(meta(&object)));
                    self.put(object);
                }
                Ok(Event::InitDone) => self.finish_list(&std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => self.put(object),
                Ok(Event::Delete(object)) => {
                    let meta = meta(&object);
                    self.remove(uid(meta), meta.namespace.as_deref().unwrap_or_default());
                }
                Err(error) => debug!(kind = %self.name, %error, "watch interrupted"),
            }
        }
    }

    /// Of an object that cannot be read, what was known stays.
    fn put(&self, object: Tolerant<Linked>) {
        let Some(object) = object.readable() else { return };
        let work = self.graph.lock().put(&self.name, &object.metadata);
        self.add(work);
    }

    fn remove(&self, uid: Option<Uid>, namespace: &str) {
        let work = uid.map(|uid| self.graph.lock().remove(&uid)).unwrap_or_default();
        self.add(work);
        self.removals.tell(Removed { group: &self.group, resource: &self.resource, namespace });
    }

    fn finish_list(&self, listed: &HashSet<Uid>) {
        let gone: Vec<(Uid, String)> = {
            let graph = self.graph.lock();
            let gone = graph.of_kind(&self.name).into_iter().filter(|uid| !listed.contains(uid));
            let place = |uid: Uid| {
                let namespace = graph.get(&uid).map(|node| node.target.key.namespace().to_owned());
                (uid, namespace.unwrap_or_default())
            };
            gone.map(place).collect()
        };
        gone.into_iter().for_each(|(uid, namespace)| self.remove(Some(uid), &namespace));
        self.done.send_replace(true);
    }

    fn add(&self, work: Vec<Work>) {
        work.into_iter().for_each(|work| self.queue.add(work));
        if let Some(changed) = &self.changed
            && *self.done.borrow()
        {
            changed.notify_one();
        }
    }
}

fn uid(meta: &ObjectMeta) -> Option<Uid> {
    meta.uid.as_deref().map(Uid::new)
}

/// As far as it is known of an object that cannot be read.
fn meta(object: &Tolerant<Linked>) -> &ObjectMeta {
    match object {
        Tolerant::Readable(object) => &object.metadata,
        Tolerant::Unreadable(object) => &object.meta,
    }
}
