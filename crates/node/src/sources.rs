//! Copies of the ConfigMaps and Secrets that pods of this node refer to, each kept current by a watch of that
//! one object. Pods that refer to the same object share its watch; it ends with its last user.

use crate::container::references::{SourceKind, SourceRef, Sources};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::Mutex;
use skiff_informer::watch_objects;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// All watches of single objects.
#[derive(Clone)]
pub(crate) struct SourceWatches {
    client: Client,
    watched: Arc<Mutex<Index>>,
}

/// Watches in use, by namespace and object.
type Index = HashMap<(String, SourceRef), Weak<Watched>>;

/// One watched object; its watch ends with it.
struct Watched {
    seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

/// What a watch has seen, and whom it tells.
struct Seen {
    held: watch::Sender<Held>,
    users: Mutex<Vec<Weak<Notify>>>,
}

/// What is known of an object.
#[derive(Clone)]
enum Held {
    Unknown,
    Absent,
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

/// The objects of one pod.
pub(crate) struct PodSources {
    watches: SourceWatches,
    namespace: String,
    watched: BTreeMap<SourceRef, Arc<Watched>>,
    changed: Arc<Notify>,
}

impl SourceWatches {
    /// No watches yet; they will use `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, watched: Arc::default() }
    }

    /// The objects of a pod of `namespace`; none until [`PodSources::follow`].
    pub(crate) fn for_pod(&self, namespace: &str) -> PodSources {
        PodSources {
            watches: self.clone(),
            namespace: namespace.to_owned(),
            watched: BTreeMap::new(),
            changed: Arc::default(),
        }
    }

    /// The watch of one object, started when it is the first use; `user` is told of changes.
    fn watch(&self, namespace: &str, source: &SourceRef, user: &Arc<Notify>) -> Arc<Watched> {
        let key = (namespace.to_owned(), source.clone());
        let mut watched = self.watched.lock();
        let shared = watched.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            watched.retain(|_, weak| weak.strong_count() > 0);
            let shared = self.start(namespace, source);
            watched.insert(key, Arc::downgrade(&shared));
            shared
        });
        let mut users = shared.seen.users.lock();
        users.retain(|user| user.strong_count() > 0);
        users.push(Arc::downgrade(user));
        drop(users);
        shared
    }

    fn start(&self, namespace: &str, source: &SourceRef) -> Arc<Watched> {
        let (client, name) = (self.client.clone(), source.name.clone());
        let seen = Arc::new(Seen { held: watch::Sender::new(Held::Unknown), users: Mutex::default() });
        let task = match source.kind {
            SourceKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, namespace);
                tokio::spawn(follow(seen.clone(), watch_one(api, &name), hold_config_map))
            }
            SourceKind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, namespace);
                tokio::spawn(follow(seen.clone(), watch_one(api, &name), hold_secret))
            }
        };
        Arc::new(Watched { seen, _task: AbortOnDropHandle::new(task) })
    }
}

/// The object called `name` now and after each change; `None` while it does not exist.
fn watch_one<K>(api: Api<K>, name: &str) -> impl Stream<Item = Option<K>> + Send + use<K>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut listed = false;
    watch_objects(api, config).filter_map(move |event| {
        let seen = match event {
            Ok(watcher::Event::Init) => {
                listed = false;
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = true;
                // Of one that cannot be read the last copy stays.
                object.readable().map(Some)
            }
            Ok(watcher::Event::InitDone) if listed => None,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => Some(None),
            Ok(watcher::Event::Apply(object)) => object.readable().map(Some),
            Err(error) => {
                tracing::debug!(%error, "watch of a single object failed, retrying");
                None
            }
        };
        std::future::ready(seen)
    })
}

fn hold_config_map(mut map: ConfigMap) -> Held {
    map.metadata.managed_fields = None;
    Held::ConfigMap(Arc::new(map))
}

fn hold_secret(mut secret: Secret) -> Held {
    secret.metadata.managed_fields = None;
    Held::Secret(Arc::new(secret))
}

/// Takes in what the watch says.
async fn follow<K>(seen: Arc<Seen>, objects: impl Stream<Item = Option<K>>, hold: impl Fn(K) -> Held) {
    let mut objects = std::pin::pin!(objects);
    while let Some(object) = objects.next().await {
        seen.held.send_replace(object.map_or(Held::Absent, &hold));
        for user in seen.users.lock().iter().filter_map(Weak::upgrade) {
            user.notify_one();
        }
    }
}

impl PodSources {
    /// Makes `wanted` the objects of the pod.
    pub(crate) fn follow(&mut self, wanted: BTreeSet<SourceRef>) {
        self.watched.retain(|source, _| wanted.contains(source));
        for source in wanted {
            if !self.watched.contains_key(&source) {
                let watched = self.watches.watch(&self.namespace, &source, &self.changed);
                self.watched.insert(source, watched);
            }
        }
    }

    /// Told after each change of an object.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// The copies held now, once the API has answered for each object.
    pub(crate) fn snapshot(&self) -> impl Future<Output = Sources> + Send + use<> {
        let receivers: Vec<_> = self
            .watched
            .iter()
            .map(|(source, watched)| (source.name.clone(), watched.seen.held.subscribe()))
            .collect();
        async move {
            let mut sources = Sources::default();
            for (name, mut receiver) in receivers {
                let Ok(held) = receiver.wait_for(|held| !matches!(held, Held::Unknown)).await else {
                    continue;
                };
                match &*held {
                    Held::ConfigMap(map) => drop(sources.config_maps.insert(name, map.clone())),
                    Held::Secret(secret) => drop(sources.secrets.insert(name, secret.clone())),
                    Held::Unknown | Held::Absent => {}
                }
            }
            sources
        }
    }
}
