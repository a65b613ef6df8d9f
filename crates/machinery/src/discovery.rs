//! What discovery answers: which groups, versions, kinds and subresources there are.

mod convert;
mod order;
mod registry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use convert::{aggregated_resources, legacy_resources};
pub use order::prefer;
pub use registry::{Elsewhere, Priority, Registered, Registry};

use crate::{Catalogue, GroupVersion, Kind, Persistence, Subresource, Verb};

/// The aggregated document of `/api` (`core`) or `/apis` (all other groups).
pub fn aggregated(catalogue: &Catalogue, registry: &Registry, core: bool) -> Value {
    let groups = groups(catalogue, registry).into_iter().filter(|group| group.name.is_empty() == core);
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": groups.map(|group| group.aggregated()).collect::<Vec<_>>(),
    })
}

/// The legacy document of `/api`; `server` is `host:port` as clients reach it.
pub fn api_versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// The legacy document of `/apis`.
pub fn group_list(catalogue: &Catalogue, registry: &Registry) -> Value {
    let groups = groups(catalogue, registry).into_iter().filter(|group| !group.name.is_empty());
    json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": groups.map(|group| Value::Object(group.legacy())).collect::<Vec<_>>(),
    })
}

/// The legacy document of `/apis/GROUP`; `None` if there is no such group.
pub fn group(catalogue: &Catalogue, registry: &Registry, name: &str) -> Option<Value> {
    let group =
        groups(catalogue, registry).into_iter().find(|group| group.name == name && !name.is_empty())?;
    let mut map = group.legacy();
    map.insert("kind".to_owned(), "APIGroup".into());
    map.insert("apiVersion".to_owned(), "v1".into());
    Some(Value::Object(map))
}

/// The legacy document, which for the core group does not say of which version it is, of `/api/v1` or `/apis/GROUP/VERSION`; `None` if there is no such version.
pub fn resource_list(catalogue: &Catalogue, gv: &GroupVersion) -> Option<Value> {
    let kinds: Vec<&Kind> = catalogue.iter().map(AsRef::as_ref).filter(|kind| kind.gv == *gv).collect();
    let resources = kinds.iter().flat_map(|kind| legacy_entries(kind));
    (!kinds.is_empty()).then(|| {
        let mut list = json!({
            "kind": "APIResourceList",
            "groupVersion": gv.to_string(),
            "resources": resources.collect::<Vec<_>>(),
        });
        if !gv.group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        list
    })
}

/// The groups and versions that a catalogue serves, in discovery order.
pub fn group_versions(catalogue: &Catalogue) -> Vec<GroupVersion> {
    let mut out: Vec<GroupVersion> = Vec::new();
    for kind in catalogue.iter() {
        if !out.contains(&kind.gv) {
            out.push(kind.gv.clone());
        }
    }
    out
}

/// A group with its versions, the preferred one first.
struct Group<'c> {
    name: &'c str,
    versions: Vec<(&'c str, Content<'c>)>,
}

/// What there is to tell of a version.
enum Content<'c> {
    Kinds(Vec<&'c Kind>),
    Elsewhere(&'c Elsewhere),
}

/// In the order of the registry; what it does not know comes first, in that of the catalogue.
fn groups<'c>(catalogue: &'c Catalogue, registry: &'c Registry) -> Vec<Group<'c>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let local = catalogue.iter().map(|kind| (&kind.gv, Some(&**kind), None));
    let others = registry.all_elsewhere().map(|(gv, elsewhere)| (gv, None, Some(elsewhere)));
    for (gv, kind, elsewhere) in local.chain(others) {
        let (name, version) = (gv.group.as_ref(), gv.version.as_ref());
        let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            groups.push(Group { name, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match (versions.iter_mut().find(|(other, _)| *other == version), kind, elsewhere) {
            (Some((_, Content::Kinds(kinds))), Some(kind), _) => kinds.push(kind),
            (None, Some(kind), _) => versions.push((version, Content::Kinds(vec![kind]))),
            (None, _, Some(elsewhere)) => versions.push((version, Content::Elsewhere(elsewhere))),
            _ => {}
        }
    }
    groups.iter_mut().for_each(|group| registry.sort_versions(group.name, &mut group.versions));
    registry.sort_groups(&mut groups, |group| group.name);
    groups
}

impl Group<'_> {
    fn aggregated(&self) -> Value {
        let version = |(version, content): &(&str, Content<'_>)| match content {
            Content::Kinds(kinds) => {
                let resources: Vec<Value> = kinds.iter().map(|kind| aggregated_resource(kind)).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            }
            Content::Elsewhere(elsewhere) => {
                let freshness = if elsewhere.fresh { "Current" } else { "Stale" };
                let mut entry = json!({"version": version, "freshness": freshness});
                if !elsewhere.resources.is_empty() {
                    entry["resources"] = json!(*elsewhere.resources);
                }
                entry
            }
        };
        let metadata = if self.name.is_empty() { json!({}) } else { json!({"name": self.name}) };
        json!({
            "metadata": metadata,
            "versions": self.versions.iter().map(version).collect::<Vec<_>>(),
        })
    }

    fn legacy(&self) -> Map<String, Value> {
        let version = |(version, _): &(&str, Content<'_>)| json!({"groupVersion": format!("{}/{version}", self.name), "version": version});
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        let mut map = Map::new();
        map.insert("name".to_owned(), self.name.into());
        map.insert("preferredVersion".to_owned(), versions.first().cloned().unwrap_or_default());
        map.insert("versions".to_owned(), versions.into());
        map
    }
}

/// What is answered below a kind. Of Kubernetes' own, group and version are named only where they differ from those of the list.
fn response_kind(below: &Kind, gv: &GroupVersion, kind: &str) -> Value {
    let is_told = *gv != below.gv || !below.strategy.is_typed();
    let (group, version) = if is_told { (&*gv.group, &*gv.version) } else { ("", "") };
    json!({"group": group, "version": version, "kind": kind})
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

/// Subresources in the order of their path segments.
fn ordered(kind: &Kind) -> Vec<Subresource> {
    let mut list = kind.subresources.to_vec();
    skiff_ordered::sort_by_key(&mut list, |subresource| subresource.as_str());
    list
}

fn aggregated_resource(kind: &Kind) -> Value {
    let subresource = |subresource: Subresource| {
        let exchange = kind.exchange(subresource);
        json!({
            "subresource": subresource.as_str(),
            "responseKind": response_kind(kind, &exchange.gv, &exchange.kind),
            "verbs": verbs(subresource.verbs()),
        })
    };
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
    put("resource", json!(kind.names.plural));
    put("responseKind", response_kind(kind, &kind.gv, &kind.names.kind));
    put("scope", if kind.is_namespaced() { "Namespaced" } else { "Cluster" }.into());
    put("singularResource", json!(kind.names.singular));
    put("verbs", json!(verbs(kind.verbs)));
    if !kind.names.short.is_empty() {
        put("shortNames", json!(kind.names.short));
    }
    if !kind.names.categories.is_empty() {
        put("categories", json!(kind.names.categories));
    }
    if !kind.subresources.is_empty() {
        put("subresources", ordered(kind).into_iter().map(subresource).collect());
    }
    Value::Object(map)
}

/// What tells the version in which objects are stored from others.
fn storage_version_hash(kind: &Kind) -> String {
    let stored = kind.versions.storage.as_ref().unwrap_or(&kind.gv);
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, kind.names.kind));
    STANDARD.encode(&digest[..8])
}

/// The entries of a kind and its subresources in an APIResourceList.
fn legacy_entries(kind: &Kind) -> Vec<Value> {
    let mut entry = json!({
        "name": kind.names.plural,
        "singularName": kind.names.singular,
        "namespaced": kind.is_namespaced(),
        "kind": kind.names.kind,
        "verbs": verbs(kind.verbs),
    });
    if !kind.names.short.is_empty() {
        entry["shortNames"] = json!(kind.names.short);
    }
    if !kind.names.categories.is_empty() {
        entry["categories"] = json!(kind.names.categories);
    }
    if kind.persistence == Persistence::Stored {
        entry["storageVersionHash"] = storage_version_hash(kind).into();
    }
    let below = ordered(kind).into_iter().map(|subresource| {
        let exchange = kind.exchange(subresource);
        let mut entry = json!({
            "name": format!("{}/{}", kind.names.plural, subresource.as_str()),
            "singularName": "",
            "namespaced": kind.is_namespaced(),
            "kind": exchange.kind,
            "verbs": verbs(subresource.verbs()),
        });
        // Named only where they differ from those of the list.
        if exchange.gv != kind.gv {
            entry["group"] = json!(exchange.gv.group);
            entry["version"] = json!(exchange.gv.version);
        }
        entry
    });
    std::iter::once(entry).chain(below).collect()
}
