//! Webhooks and policies of the cluster's administrators, compiled whenever one changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_admission::{
    Binding, Chain, Configuration, MutatingPolicies, MutatingPolicy, MutatingWebhooks, Plugin,
    ValidatingPolicies, ValidatingPolicy, ValidatingWebhooks,
};
use skiff_machinery::Object;
use skiff_store::{Model, ReadError, Revision, Store, View};

use super::params::Stored;
use super::surroundings;
use crate::plugins::Plugin::{
    MutatingAdmissionPolicy, MutatingAdmissionWebhook, ValidatingAdmissionPolicy, ValidatingAdmissionWebhook,
};
use crate::services::{Authority, Callers, Offer};

/// All plugins that are configured by objects.
pub(crate) struct Configured(View<Configurations>);

impl Configured {
    /// Reads the configurations and follows them.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        offer: Arc<dyn Offer>,
        authority: Arc<dyn Authority>,
        calls: Callers,
        on: &crate::plugins::Plugins,
    ) -> Result<Self, ReadError> {
        let params = Arc::new(Stored::new(store.clone(), offer.clone()));
        let surroundings = surroundings::of(store.clone(), offer, authority);
        let plugins = Plugins {
            mutating_policies: Arc::new(MutatingPolicies::new(surroundings.clone(), params.clone())),
            mutating_webhooks: Arc::new(MutatingWebhooks::new(surroundings.clone(), calls.mutating)),
            validating_policies: Arc::new(ValidatingPolicies::new(surroundings.clone(), params)),
            validating_webhooks: Arc::new(ValidatingWebhooks::new(surroundings, calls.validating)),
            on: on.clone(),
        };
        Ok(Self(View::start(store, Configurations::new(plugins)).await?))
    }

    /// Waits until what was written up to a revision counts.
    pub(crate) async fn catch_up(&self, revision: Revision) {
        self.0.catch_up(revision).await;
    }

    /// The plugins that change objects and have something to do.
    pub(super) fn mutating(&self) -> Chain {
        self.0.read().mutating.clone()
    }

    /// The plugins that only refuse and have something to do.
    pub(super) fn validating(&self) -> Chain {
        self.0.read().validating.clone()
    }
}

struct Plugins {
    mutating_policies: Arc<MutatingPolicies>,
    mutating_webhooks: Arc<MutatingWebhooks>,
    validating_policies: Arc<ValidatingPolicies>,
    validating_webhooks: Arc<ValidatingWebhooks>,
    /// Which of them are on.
    on: crate::plugins::Plugins,
}

/// The objects of one kind.
struct Compiled<T> {
    compile: fn(&Object) -> T,
    /// By their names.
    objects: BTreeMap<String, Arc<T>>,
}

impl<T> Compiled<T> {
    fn new(compile: fn(&Object) -> T) -> Self {
        Self { compile, objects: BTreeMap::new() }
    }

    fn all(&self) -> Vec<Arc<T>> {
        self.objects.values().cloned().collect()
    }

    fn any(&self) -> bool {
        !self.objects.is_empty()
    }
}

/// What is the same for all kinds.
trait Kept {
    fn clear(&mut self);
    fn put(&mut self, name: &str, object: &Object);
    fn remove(&mut self, name: &str);
}

impl<T> Kept for Compiled<T> {
    fn clear(&mut self) {
        self.objects.clear();
    }

    fn put(&mut self, name: &str, object: &Object) {
        self.objects.insert(name.to_owned(), Arc::new((self.compile)(object)));
    }

    fn remove(&mut self, name: &str) {
        self.objects.remove(name);
    }
}

/// Everything in the group `admissionregistration.k8s.io`.
struct Configurations {
    plugins: Plugins,
    mutating_policies: Compiled<MutatingPolicy>,
    mutating_bindings: Compiled<Binding>,
    mutating_webhooks: Compiled<Configuration>,
    validating_policies: Compiled<ValidatingPolicy>,
    validating_bindings: Compiled<Binding>,
    validating_webhooks: Compiled<Configuration>,
    mutating: Chain,
    validating: Chain,
}

impl Configurations {
    fn new(plugins: Plugins) -> Self {
        Self {
            plugins,
            mutating_policies: Compiled::new(MutatingPolicy::compile),
            mutating_bindings: Compiled::new(Binding::compile),
            mutating_webhooks: Compiled::new(Configuration::compile),
            validating_policies: Compiled::new(ValidatingPolicy::compile),
            validating_bindings: Compiled::new(Binding::compile),
            validating_webhooks: Compiled::new(Configuration::compile),
            mutating: Chain::default(),
            validating: Chain::default(),
        }
    }

    /// The kinds by their resources.
    fn kinds(&mut self) -> [(&'static str, &mut dyn Kept); 6] {
        [
            ("mutatingadmissionpolicies", &mut self.mutating_policies),
            ("mutatingadmissionpolicybindings", &mut self.mutating_bindings),
            ("mutatingwebhookconfigurations", &mut self.mutating_webhooks),
            ("validatingadmissionpolicies", &mut self.validating_policies),
            ("validatingadmissionpolicybindings", &mut self.validating_bindings),
            ("validatingwebhookconfigurations", &mut self.validating_webhooks),
        ]
    }

    /// The kind of an object, and its name.
    fn locate<'a>(&mut self, key: &'a str) -> Option<(&mut dyn Kept, &'a str)> {
        let (resource, name) = key.strip_prefix(Self::PREFIX)?.split_once('/')?;
        let kept = self.kinds().into_iter().find(|(known, _)| *known == resource)?.1;
        Some((kept, name))
    }
}

impl Model for Configurations {
    const PREFIX: &'static str = "/registry/admissionregistration.k8s.io/";

    fn reset(&mut self) {
        self.kinds().into_iter().for_each(|(_, kept)| kept.clear());
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let Some((kept, name)) = self.locate(key) else { return };
        match serde_json::from_slice::<Value>(value) {
            Ok(tree) => kept.put(name, &Object::from_value(tree).unwrap_or_default()),
            Err(error) => tracing::error!(key, %error, "a damaged configuration of admission is not used"),
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some((kept, name)) = self.locate(key) {
            kept.remove(name);
        }
    }

    /// The order of plugins is that of Kubernetes.
    fn settle(&mut self) {
        let plugins = &self.plugins;
        plugins.mutating_policies.set(self.mutating_policies.all(), self.mutating_bindings.all());
        plugins.mutating_webhooks.set(self.mutating_webhooks.all());
        plugins.validating_policies.set(self.validating_policies.all(), self.validating_bindings.all());
        plugins.validating_webhooks.set(self.validating_webhooks.all());
        let on = |plugin| plugins.on.has(plugin);
        let mutating_policies = self.mutating_policies.any() && self.mutating_bindings.any();
        let validating_policies = self.validating_policies.any() && self.validating_bindings.any();
        self.mutating = chain([
            (plugins.mutating_policies.clone(), on(MutatingAdmissionPolicy) && mutating_policies),
            (plugins.mutating_webhooks.clone(), on(MutatingAdmissionWebhook) && self.mutating_webhooks.any()),
        ]);
        self.validating = chain([
            (plugins.validating_policies.clone(), on(ValidatingAdmissionPolicy) && validating_policies),
            (
                plugins.validating_webhooks.clone(),
                on(ValidatingAdmissionWebhook) && self.validating_webhooks.any(),
            ),
        ]);
    }
}

/// Those that have something to do.
fn chain(plugins: [(Arc<dyn Plugin>, bool); 2]) -> Chain {
    Chain::new(plugins.into_iter().filter(|(_, active)| *active).map(|(plugin, _)| plugin).collect())
}
