//! What the server offers at present: the kinds, and the documents that describe them. It is replaced as a whole when
//! definitions of kinds and APIServices come and go; a request sees one offer from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use skiff_kinds::api_service::{self, Management};
use skiff_machinery::discovery::{Elsewhere, Priority, Registered, Registry, group_versions};
use skiff_machinery::{Catalogue, GroupVersion, Kind};
use skiff_ordered::Ordered as _;
use skiff_registry::Offer;
use tokio::sync::{Notify, watch};

use crate::build_info::BuildInfo;
use crate::http::documents::Documents;

/// Kinds and documents of one moment.
pub(crate) struct Moment {
    /// What this server serves.
    pub(crate) catalogue: Arc<Catalogue>,
    /// What is told of that, and of what others serve.
    pub(crate) documents: Documents,
}

/// Who serves a version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Server {
    /// This server, from its store.
    This,
    /// Another part of this program, of which all is known.
    Inside(Elsewhere),
    /// Another server, of which is known what was gathered.
    Extension,
}

/// What an offer is made of besides what is built in.
#[derive(Default)]
struct Parts {
    custom: Vec<Arc<Kind>>,
    /// By APIServices: where each version comes, and who serves it.
    registered: BTreeMap<GroupVersion, (Priority, Server)>,
    /// What other servers say of theirs.
    gathered: BTreeMap<GroupVersion, Elsewhere>,
}

/// The present offer, and what is always part of it.
pub(crate) struct Offers {
    built_in: Arc<Catalogue>,
    /// `host:port` as clients reach the server.
    server: String,
    build: BuildInfo,
    parts: Mutex<Parts>,
    current: RwLock<Arc<Moment>>,
    /// The kinds on offer, for those who want to hear when one goes.
    catalogues: watch::Sender<Arc<Catalogue>>,
    changed: Notify,
}

impl Offers {
    /// The built-in kinds alone.
    pub(crate) fn new(built_in: Arc<Catalogue>, server: String, build: BuildInfo) -> Self {
        let registry = registry(&Parts::default(), &built_in);
        let documents = Documents::new(built_in.clone(), registry, server.clone(), build.clone());
        let first = Arc::new(Moment { catalogue: built_in.clone(), documents });
        Self {
            catalogues: watch::Sender::new(built_in.clone()),
            built_in,
            server,
            build,
            parts: Mutex::default(),
            current: RwLock::new(first),
            changed: Notify::new(),
        }
    }

    /// What `/version` tells.
    pub(crate) fn version(&self) -> Value {
        self.build.version()
    }

    pub(crate) fn current(&self) -> Arc<Moment> {
        self.current.read().clone()
    }

    /// The versions of the kinds that are not built in.
    pub(crate) fn custom_versions(&self) -> BTreeSet<GroupVersion> {
        self.parts.lock().custom.iter().map(|kind| kind.gv.clone()).to_set()
    }

    /// Takes over what APIServices say. Whoever follows them is told, also if it is nothing new for the documents.
    pub(crate) fn register(&self, registered: BTreeMap<GroupVersion, (Priority, Server)>) {
        let mut parts = self.parts.lock();
        if parts.registered != registered {
            parts.registered = registered;
            self.make(&parts, self.catalogue());
        }
        self.changed.notify_one();
    }

    /// Changes what is known of a version that another server serves.
    pub(crate) fn update(&self, gv: &GroupVersion, change: impl FnOnce(&mut Elsewhere)) {
        let mut parts = self.parts.lock();
        let before = parts.gathered.get(gv).cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            parts.gathered.insert(gv.clone(), after);
            self.make(&parts, self.catalogue());
        }
    }

    /// Forgets what is known of a version that another server served.
    pub(crate) fn forget(&self, gv: &GroupVersion) {
        let mut parts = self.parts.lock();
        if parts.gathered.remove(gv).is_some() {
            self.make(&parts, self.catalogue());
        }
    }

    /// Returns when kinds or APIServices have changed since the last time. There is one who follows.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn make(&self, parts: &Parts, catalogue: Arc<Catalogue>) {
        let registry = registry(parts, &catalogue);
        let is_ours = |kind: &&Arc<Kind>| registry.elsewhere(&kind.gv).is_none();
        let told = match catalogue.iter().all(|kind| is_ours(&kind)) {
            true => catalogue.clone(),
            false => Arc::new(catalogue.iter().filter(is_ours).cloned().collect()),
        };
        let documents = Documents::new(told, registry, self.server.clone(), self.build.clone());
        *self.current.write() = Arc::new(Moment { catalogue, documents });
    }
}

impl Offer for Offers {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.current.read().catalogue.clone()
    }

    fn catalogues(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogues.subscribe()
    }

    fn replace(&self, custom: &[Arc<Kind>]) {
        let mut parts = self.parts.lock();
        parts.custom = custom.to_vec();
        let catalogue = Arc::new(self.built_in.with(custom));
        self.make(&parts, catalogue.clone());
        self.catalogues.send_replace(catalogue);
        self.changed.notify_one();
    }
}

/// Every version that is served here or elsewhere, but for that of APIServices themselves. Until its APIService is there, a
/// version comes where it will.
fn registry(parts: &Parts, catalogue: &Catalogue) -> Registry {
    let first = group_versions(catalogue).into_iter().filter(|gv| !api_service::is_ours(&gv.group));
    let mut all: BTreeMap<GroupVersion, Registered> = first
        .filter_map(|gv| {
            let service = api_service::local(&gv, Management::OnStart);
            let service = service.or_else(|| api_service::local(&gv, Management::Always))?;
            Some((gv, Registered { priority: api_service::priority(&service), elsewhere: None }))
        })
        .to_map();
    for (gv, (priority, server)) in &parts.registered {
        let priority = *priority;
        let elsewhere = match server {
            Server::Inside(told) => Some(told.clone()),
            Server::Extension => Some(parts.gathered.get(gv).cloned().unwrap_or_default()),
            Server::This => None,
        };
        if elsewhere.is_some() {
            all.insert(gv.clone(), Registered { priority, elsewhere });
        } else if let Some(known) = all.get_mut(gv) {
            known.priority = priority;
        }
    }
    all.into_iter().collect()
}
