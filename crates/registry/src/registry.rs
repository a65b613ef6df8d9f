//! What all calls share: the store, and the services that the steps of the pipeline ask.

use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use skiff_machinery::{ClusterFacts, Context, Object, Persistence, Requester};
use skiff_schema::Schema;
use skiff_store::{Entry, ReadError, Store, View};

use crate::admission::configured::Configured;
use crate::definitions::Definitions;
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::recent::Recent;
use crate::pipeline::{codec, made, versions};
use crate::plugins::Plugins;
use crate::services::{Authority, Callers, Converters, Offer, Parts};

/// What a registry is made of.
pub struct Services {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// The kinds that there are.
    pub offer: Arc<dyn Offer>,
    /// Who may do what.
    pub authority: Arc<dyn Authority>,
    /// Who calls webhooks of admission.
    pub webhooks: Callers,
    /// Makes what calls webhooks of conversion.
    pub converters: Converters,
    /// The admission plugins that are on, and what they are configured with.
    pub plugins: Plugins,
    /// What strategies know of the cluster.
    pub facts: ClusterFacts,
    /// The range of Service addresses until an object says it.
    pub service_cidr: IpNet,
    /// How the parts of the control plane are.
    pub parts: Parts,
    /// That of the built-in kinds.
    pub schema: Arc<Schema>,
}

/// The bytes that kept trees take, about; a tree takes so many times the memory of its text.
const TREES: usize = 4 << 20;
const TREE: usize = 8;

/// Create, read, update, delete, list and watch over a store, for every kind on offer.
pub struct Registry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offer: Arc<dyn Offer>,
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) plugins: Plugins,
    pub(crate) service_cidr: IpNet,
    pub(crate) parts: Parts,
    /// Webhooks and policies.
    pub(crate) configured: Configured,
    facts: ClusterFacts,
    /// What keeps the offer current.
    definitions: View<Definitions>,
    /// Objects of entries.
    decoded: Recent<Arc<Object>>,
}

impl Registry {
    /// Reads what defines kinds and configures admission, and follows it.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn start(services: Services) -> Result<Self, ReadError> {
        let Services {
            store,
            offer,
            authority,
            webhooks,
            converters,
            plugins,
            facts,
            service_cidr,
            parts,
            schema,
        } = services;
        let definitions = Definitions::new(schema, offer.clone(), converters);
        let definitions = View::start(store.clone(), definitions).await?;
        let configured =
            Configured::start(store.clone(), offer.clone(), authority.clone(), webhooks, &plugins).await?;
        let decoded = Recent::holding(TREES);
        Ok(Self {
            store,
            offer,
            authority,
            plugins,
            service_cidr,
            parts,
            configured,
            facts,
            definitions,
            decoded,
        })
    }

    /// Where objects are kept.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Waits until every kind is on offer that has been defined.
    pub async fn catch_up(&self) {
        self.definitions.catch_up(self.store.revision()).await;
    }

    /// Lets go of what is kept only so that it need not be made again, and for those who come late. Who has just listed objects
    /// can still watch from there.
    pub fn forget(&self) {
        self.decoded.clear();
        let young = Instant::now().checked_sub(skiff_heap::YOUNG);
        young.iter().for_each(|from| self.store.forget(*from));
    }

    /// What strategies may know.
    pub(crate) fn context<'a>(&'a self, call: &'a Call) -> Context<'a> {
        let user = &call.user;
        let requester =
            Requester { name: &user.name, uid: &user.uid, groups: &user.groups, extra: &user.extra };
        Context { now: call.now, cluster: &self.facts, requester }
    }

    /// Reads the entry that a call names, as the version of the call has it.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn entry(&self, call: &Call) -> Result<Entry, ApiError> {
        versions::shown_one(call, self.stored_entry(call).await?).await
    }

    /// Reads the entry that a call names, as it is stored.
    pub(crate) async fn stored_entry(&self, call: &Call) -> Result<Entry, ApiError> {
        let key = call.key();
        let found = match call.kind.persistence {
            Persistence::Made => {
                let made = made::entries(call, &self.parts, self.store.revision());
                made.into_iter().find(|entry| entry.key == key)
            }
            Persistence::Stored | Persistence::Transient | Persistence::HandedOn { .. } => {
                self.store.get(&key).await?
            }
        };
        found.ok_or_else(|| ApiError::NotFound(call.subject(&call.path.name)))
    }

    /// The object of an entry, with its `resourceVersion`.
    ///
    /// # Errors
    /// When what is stored is damaged.
    pub fn decoded(&self, call: &Call, entry: &Entry) -> Result<Arc<Object>, ApiError> {
        if call.kind.versions.storage.is_some() {
            // Several versions have the same key and revision.
            return Ok(codec::decode(entry).map(Arc::new)?);
        }
        let size = |_: &Arc<Object>| entry.value.len() * TREE;
        let decoded = self.decoded.get(entry, || codec::decode(entry).map(Arc::new), size);
        Ok(decoded?)
    }
}
