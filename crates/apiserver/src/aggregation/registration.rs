//! The APIServices in the store, as a model.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_kinds::api_service;
use skiff_machinery::discovery::Priority;
use skiff_machinery::{GroupVersion, Object, keys};
use skiff_ordered::Ordered as _;
use skiff_store::Model;

use super::inside::Inside;
use crate::offer::{Offers, Server};
use crate::webhooks::trust::Trust;

/// Where an extension server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) trust: Trust,
}

impl Target {
    fn of(service: &Object) -> Option<Self> {
        let reference = service.get(&["spec", "service"]).filter(|reference| reference.is_object())?;
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        let port = reference["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let trust = match service.get(&["spec", "insecureSkipTLSVerify"]) {
            Some(Value::Bool(true)) => Trust::Anybody,
            _ => Trust::Bundle(STANDARD.decode(service.str(&["spec", "caBundle"])).unwrap_or_default()),
        };
        Some(Self { namespace: text("namespace"), name: text("name"), port, trust })
    }

    /// The name that its certificate has to be for.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// An APIService.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) object: Object,
    pub(crate) gv: GroupVersion,
    priority: Priority,
    /// None if this server serves the version, or another part of this program.
    pub(crate) target: Option<Target>,
}

impl Registration {
    pub(super) fn new(object: Object) -> Self {
        Self {
            gv: api_service::group_version(&object),
            priority: api_service::priority(&object),
            target: Target::of(&object),
            object,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.object.name()
    }

    /// Whether its condition says that it can be used.
    pub(crate) fn is_available(&self) -> bool {
        api_service::condition(&self.object).is_some_and(|condition| condition["status"] == "True")
    }

    /// Whether another state of an APIService is of the same one and leads to the same place.
    pub(super) fn leads_where(&self, other: &Self) -> bool {
        self.object.uid() == other.object.uid() && self.target == other.target && self.gv == other.gv
    }
}

/// All APIServices.
pub(crate) struct Registrations {
    offers: Arc<Offers>,
    inside: Inside,
    all: BTreeMap<String, Arc<Registration>>,
    elsewhere: HashMap<GroupVersion, Arc<Registration>>,
}

impl Registrations {
    pub(super) fn new(offers: Arc<Offers>, inside: Inside) -> Self {
        Self { offers, inside, all: BTreeMap::new(), elsewhere: HashMap::new() }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.all.values()
    }

    pub(super) fn all_elsewhere(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.elsewhere.values()
    }

    pub(super) fn elsewhere(&self, gv: &GroupVersion) -> Option<Arc<Registration>> {
        self.elsewhere.get(gv).cloned()
    }

    pub(super) fn is_used(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    fn server(&self, one: &Registration) -> Server {
        match (&one.target, self.inside.told(&one.gv)) {
            (Some(_), _) => Server::Extension,
            (None, Some(told)) => Server::Inside(told),
            (None, None) => Server::This,
        }
    }
}

impl Model for Registrations {
    const PREFIX: &'static str = keys::API_SERVICES;

    fn reset(&mut self) {
        self.all.clear();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        self.all.remove(key);
        match serde_json::from_slice::<Value>(value) {
            Ok(tree) => {
                let registration = Registration::new(Object::from_value(tree).unwrap_or_default());
                self.all.insert(key.to_owned(), Arc::new(registration));
            }
            Err(error) => tracing::error!(key, %error, "a damaged APIService registers nothing"),
        }
    }

    fn remove(&mut self, key: &str) {
        self.all.remove(key);
    }

    fn settle(&mut self) {
        // Who serves the group of APIServices is not a matter of APIServices.
        let others = self.all.values().filter(|one| {
            (one.target.is_some() || self.inside.serves(&one.gv)) && !api_service::is_ours(&one.gv.group)
        });
        self.elsewhere = others.map(|one| (one.gv.clone(), one.clone())).collect();
        let all = self.all.values().filter(|one| !api_service::is_ours(&one.gv.group));
        self.offers.register(all.map(|one| (one.gv.clone(), (one.priority, self.server(one)))).to_map());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_api_service_says_where_and_whom_to_trust() {
        let registration = |spec: Value| {
            let object = json!({"metadata": {"name": "v1.a", "uid": "u"}, "spec": spec});
            Registration::new(Object::from_value(object).unwrap())
        };
        let local = registration(json!({"group": "a", "version": "v1"}));
        assert!(local.target.is_none() && !local.is_available());
        let service = json!({"name": "s", "namespace": "n", "port": 8443});
        let there = registration(json!({
            "group": "a", "version": "v1", "service": service, "caBundle": "Y2E=",
            "groupPriorityMinimum": 5, "versionPriority": 6,
        }));
        let target = there.target.clone().unwrap();
        assert_eq!((target.host(), target.port), ("s.n.svc".to_owned(), 8443));
        assert_eq!(target.trust, Trust::Bundle(b"ca".to_vec()));
        assert_eq!(there.priority, Priority { group: 5, version: 6 });
        let careless = registration(json!({
            "group": "a", "version": "v1", "service": service, "insecureSkipTLSVerify": true,
        }));
        assert_eq!(careless.target.clone().unwrap().trust, Trust::Anybody);
        assert!(!careless.leads_where(&there) && there.leads_where(&there));
    }
}
