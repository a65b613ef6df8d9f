//! What webhooks and policies ask of the server: its kinds, its namespaces and what users may do.

use std::sync::Arc;

use async_trait::async_trait;
use skiff_admission::{
    Attributes, Authorizers, Equivalent, GroupVersionKind, GroupVersionResource, Kinds, Namespaces,
    Surroundings, Unknown,
};
use skiff_auth as auth;
use skiff_cel::{Action, Authorizer, Decision, Subject};
use skiff_identity::UserInfo;
use skiff_machinery::{
    Catalogue, Conversion, GroupVersion, Kind, Namespace, Object, keys,
    selector::{FieldSelector, LabelSelector},
};
use skiff_schema::Root;
use skiff_store::Store;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::pipeline::codec;
use crate::services::{Authority, Offer};

/// All of them.
pub(super) fn of(
    store: Arc<dyn Store>,
    offer: Arc<dyn Offer>,
    authority: Arc<dyn Authority>,
) -> Surroundings {
    Surroundings {
        kinds: kinds(offer),
        namespaces: Arc::new(Stored(store)),
        authorizers: Arc::new(Rights(authority)),
    }
}

/// The kinds that are served at any time.
pub fn kinds(offer: Arc<dyn Offer>) -> Arc<dyn Kinds> {
    Arc::new(Served(offer))
}

struct Served(Arc<dyn Offer>);

/// The kind that is served in this version.
pub(super) fn find(catalogue: &Catalogue, kind: &GroupVersionKind) -> Option<Arc<Kind>> {
    let gv = GroupVersion { group: kind.group.clone().into(), version: kind.version.clone().into() };
    catalogue.find_kind(&gv, &kind.kind).cloned()
}

/// What a kind's objects are called, or what its subresource exchanges.
pub(super) fn kind_of(kind: &Kind, subresource: &str) -> GroupVersionKind {
    let known = kind.subresources.iter().find(|known| known.as_str() == subresource);
    match known.map(|known| kind.exchange(*known)) {
        Some(exchange) => GroupVersionKind::new(&exchange.gv.group, &exchange.gv.version, &exchange.kind),
        None => GroupVersionKind::new(&kind.gv.group, &kind.gv.version, &kind.names.kind),
    }
}

/// A kind's resource.
pub(super) fn resource_of(kind: &Kind) -> GroupVersionResource {
    GroupVersionResource::new(&kind.gv.group, &kind.gv.version, &kind.names.plural)
}

/// The type of what only subresources exchange.
fn exchanged(catalogue: &Catalogue, wanted: &GroupVersionKind) -> Option<Root> {
    let mut exchanges = catalogue.iter().flat_map(|kind| {
        kind.subresources
            .iter()
            .map(|subresource| (kind_of(kind, subresource.as_str()), kind.exchange(*subresource)))
    });
    exchanges.find(|(known, _)| known == wanted).and_then(|(_, exchange)| exchange.root)
}

impl Kinds for Served {
    fn equivalents(&self, resource: &GroupVersionResource, subresource: &str) -> Vec<Equivalent> {
        let catalogue = self.0.catalogue();
        let stored = catalogue
            .find(&resource.group, &resource.version, &resource.resource)
            .map(|kind| keys::collection(kind, Namespace::NONE));
        let same = catalogue.iter().filter(|kind| {
            let is_same = stored.as_ref() == Some(&keys::collection(kind, Namespace::NONE));
            let mut below = kind.subresources.iter();
            is_same && (subresource.is_empty() || below.any(|known| known.as_str() == subresource))
        });
        same.map(|kind| Equivalent { resource: resource_of(kind), kind: Some(kind_of(kind, subresource)) })
            .collect()
    }

    fn convert(&self, object: &Object, kind: &GroupVersionKind) -> Result<Object, String> {
        let wanted = kind.api_version();
        if object.api_version() == wanted && object.kind() == kind.kind {
            return Ok(object.clone());
        }
        let none = || format!("no kind {:?} is registered for version {wanted:?}", kind.kind);
        let served = find(&self.0.catalogue(), kind).ok_or_else(none)?;
        match &served.versions.conversion {
            Conversion::Same => {
                let mut object = object.clone();
                object.set(&["apiVersion"], wanted);
                Ok(object)
            }
            Conversion::Native(convert) => Ok(convert(object.clone(), &served.gv)),
            // Only a thread that has others beside it may wait for a webhook here.
            Conversion::Asked(asked) => match Handle::try_current() {
                Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
                    let converting = asked.convert(vec![object.clone()], &served.gv);
                    let converted = tokio::task::block_in_place(|| handle.block_on(converting));
                    converted.map_err(|error| error.to_string())?.pop().ok_or_else(none)
                }
                _ => Err(format!("conversion webhook for {kind} cannot be waited for")),
            },
        }
    }

    fn decode(&self, kind: &GroupVersionKind, tree: Object, unknown: Unknown) -> Result<Object, String> {
        let catalogue = self.0.catalogue();
        let decoded = match find(&catalogue, kind) {
            Some(served) => served.strategy.prune(tree.into_value(), &served.root),
            None => match exchanged(&catalogue, kind) {
                Some(root) => skiff_machinery::strict::prune(tree.into_value(), &root),
                None => return Ok(tree),
            },
        };
        let decoded = decoded.map_err(|failure| failure.to_string())?;
        if unknown == Unknown::Refused && !decoded.problems.is_empty() {
            return Err(format!("strict decoding error: {}", decoded.problems.join(", ")));
        }
        Ok(decoded.object)
    }

    fn fill(&self, kind: &GroupVersionKind, object: &mut Object) {
        if let Some(served) = find(&self.0.catalogue(), kind) {
            served.fill(object);
        }
    }

    fn root(&self, kind: &GroupVersionKind) -> Option<Root> {
        let catalogue = self.0.catalogue();
        find(&catalogue, kind).map(|served| served.root.clone()).or_else(|| exchanged(&catalogue, kind))
    }

    fn kinds_of(&self, resource: &GroupVersionResource) -> Vec<GroupVersionKind> {
        let catalogue = self.0.catalogue();
        let found = catalogue.find(&resource.group, &resource.version, &resource.resource);
        found.map(|kind| kind_of(kind, "")).into_iter().collect()
    }
}

struct Stored(Arc<dyn Store>);

#[async_trait]
impl Namespaces for Stored {
    async fn get(&self, name: &str) -> Result<Option<Arc<Object>>, String> {
        let entry = self
            .0
            .get(&keys::core("namespaces", Namespace::NONE, name))
            .await
            .map_err(|error| error.to_string())?;
        let object = entry.map(|entry| codec::decode(&entry).map(Arc::new)).transpose();
        object.map_err(|error| error.to_string())
    }
}

struct Rights(Arc<dyn Authority>);

impl Authorizers for Rights {
    fn of<'a>(&'a self, attributes: &'a Attributes) -> Box<dyn Authorizer + 'a> {
        let user = &attributes.user;
        let user = UserInfo {
            name: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        };
        Box::new(RightsOf { authority: &*self.0, user })
    }
}

/// Decides by what the server knows now.
struct RightsOf<'a> {
    authority: &'a dyn Authority,
    user: UserInfo,
}

impl Authorizer for RightsOf<'_> {
    fn authorize(&self, subject: &Subject, action: &Action<'_>) -> Decision {
        let account = match subject {
            Subject::Requester => None,
            Subject::ServiceAccount { namespace, name } => Some(UserInfo::service_account(namespace, name)),
        };
        let user = account.as_ref().unwrap_or(&self.user);
        let (narrowed, labelled);
        let attributes = match *action {
            Action::Path { path, verb } => auth::Attributes::non_resource(user, verb, path),
            Action::Resource {
                group,
                resource,
                subresource,
                namespace,
                name,
                verb,
                field_selector,
                label_selector,
            } => {
                narrowed = FieldSelector::parse(field_selector).ok();
                labelled = LabelSelector::parse(label_selector).ok();
                let fields = narrowed.as_ref().filter(|_| !field_selector.is_empty());
                let labels = labelled.as_ref().filter(|_| !label_selector.is_empty());
                let all = auth::Attributes::resource(user, verb, group, resource);
                auth::Attributes { subresource, namespace, name, fields, labels, ..all }
            }
        };
        let decided = self.authority.decide(&attributes);
        Decision {
            allowed: decided.is_allowed(),
            reason: decided.reason().to_owned(),
            error: decided.error().map(str::to_owned),
        }
    }
}
