//! Webhooks of the cluster's administrators: which are configured, and what they are asked in the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_admission::{
    Attributes, Configuration, GroupVersionKind, MutatingWebhooks, Operation, Plugin, Refusal, User,
    ValidatingWebhooks, Webhooks as Calls,
};
use skiff_machinery::{Object, Subresource, scale};
use skiff_store::{ReadError, Revision, Store};

use super::{Review, Write, surroundings};
use crate::auth::Auth;
use crate::errors::ApiError;
use crate::offer::Offers;
use crate::pipeline::call::Call;
use crate::pipeline::metadata;
use crate::view::{Model, View};

/// A plugin that calls webhooks.
pub(crate) trait Configurable: Plugin + 'static {
    /// What the keys of its configurations start with.
    const PREFIX: &'static str;
    fn configure(&self, configurations: Vec<Arc<Configuration>>);
}

impl Configurable for MutatingWebhooks {
    const PREFIX: &'static str = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";

    fn configure(&self, configurations: Vec<Arc<Configuration>>) {
        self.set(configurations);
    }
}

impl Configurable for ValidatingWebhooks {
    const PREFIX: &'static str = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

    fn configure(&self, configurations: Vec<Arc<Configuration>>) {
        self.set(configurations);
    }
}

/// The configurations of a plugin, each compiled when it changes.
struct Configured<P> {
    plugin: Arc<P>,
    /// By their keys.
    configurations: BTreeMap<String, Arc<Configuration>>,
}

impl<P: Configurable> Configured<P> {
    fn new(plugin: P) -> Self {
        Self { plugin: Arc::new(plugin), configurations: BTreeMap::new() }
    }

    /// The plugin, if it has anything to do.
    fn active(&self) -> Option<Arc<P>> {
        (!self.configurations.is_empty()).then(|| self.plugin.clone())
    }
}

impl<P: Configurable> Model for Configured<P> {
    const PREFIX: &'static str = P::PREFIX;

    fn reset(&mut self) {
        self.configurations.clear();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        match serde_json::from_slice::<Value>(value) {
            Ok(tree) => {
                let object = Object::from_value(tree).unwrap_or_default();
                self.configurations.insert(key.to_owned(), Arc::new(Configuration::compile(&object)));
            }
            Err(error) => tracing::error!(key, %error, "a damaged configuration of webhooks is not used"),
        }
    }

    fn remove(&mut self, key: &str) {
        self.configurations.remove(key);
    }

    fn settle(&mut self) {
        self.plugin.configure(self.configurations.values().cloned().collect());
    }
}

/// All webhooks that are asked about requests.
pub(crate) struct AdmissionWebhooks {
    mutating: View<Configured<MutatingWebhooks>>,
    validating: View<Configured<ValidatingWebhooks>>,
}

impl AdmissionWebhooks {
    /// Reads the configurations and follows them.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        offers: Arc<Offers>,
        auth: Auth,
        calls: Arc<dyn Calls>,
    ) -> Result<Self, ReadError> {
        let surroundings = surroundings::of(store.clone(), offers, auth);
        let mutating = Configured::new(MutatingWebhooks::new(surroundings.clone(), calls.clone()));
        let validating = Configured::new(ValidatingWebhooks::new(surroundings, calls));
        Ok(Self {
            mutating: View::start(store.clone(), mutating).await?,
            validating: View::start(store, validating).await?,
        })
    }

    /// Waits until what was written up to a revision counts.
    pub(crate) async fn catch_up(&self, revision: Revision) {
        self.mutating.catch_up(revision).await;
        self.validating.catch_up(revision).await;
    }
}

/// Lets webhooks change the object, and the built-in plugins see what they changed; tells whether anything did.
pub(super) async fn mutate(review: &mut Review<'_>) -> Result<bool, ApiError> {
    let active = review.call.server.webhooks.mutating.read().active();
    let Some(plugin) = active.filter(|_| concerns(review)) else { return Ok(false) };
    let mut attributes = attributes(review)?;
    if !plugin.handles(&attributes) {
        return Ok(false);
    }
    let call = review.call;
    let outcome = plugin.admit(&mut attributes).await;
    tell(call, &attributes, outcome)?;
    let changed = take(review, &attributes)?;
    if changed && attributes.reinvocation.begin_second() {
        super::built_in(review).await?;
        attributes.object = review.object.as_deref().map(|object| shown(review, object)).transpose()?;
        let outcome = plugin.admit(&mut attributes).await;
        tell(call, &attributes, outcome)?;
        take(review, &attributes)?;
    }
    Ok(changed)
}

/// Lets webhooks refuse the object as it would be written.
pub(super) async fn validate(review: &Review<'_>) -> Result<(), ApiError> {
    let active = review.call.server.webhooks.validating.read().active();
    let Some(plugin) = active.filter(|_| concerns(review)) else { return Ok(()) };
    let attributes = attributes(review)?;
    if !plugin.handles(&attributes) {
        return Ok(());
    }
    let outcome = plugin.validate(&attributes).await;
    tell(review.call, &attributes, outcome)
}

/// Asks about a stream that is to be opened. What webhooks change of its options does not count.
pub(crate) async fn connect(call: &Call, subresource: Subresource) -> Result<(), ApiError> {
    let (mutating, validating) = {
        let webhooks = &call.server.webhooks;
        (webhooks.mutating.read().active(), webhooks.validating.read().active())
    };
    if mutating.is_none() && validating.is_none() {
        return Ok(());
    }
    let kind = surroundings::kind_of(&call.kind, subresource.as_str());
    let mut attributes = Attributes::new(Operation::Connect, surroundings::resource_of(&call.kind), kind);
    subresource.as_str().clone_into(&mut attributes.subresource);
    attributes.object = Some(stream_options(call, subresource, &attributes.kind));
    identify(call, &mut attributes);
    if let Some(plugin) = mutating {
        let outcome = plugin.admit(&mut attributes).await;
        tell(call, &attributes, outcome)?;
    }
    match validating {
        Some(plugin) => {
            let outcome = plugin.validate(&attributes).await;
            tell(call, &attributes, outcome)
        }
        None => Ok(()),
    }
}

/// The options of a stream as an object: what the query says.
fn stream_options(call: &Call, subresource: Subresource, kind: &GroupVersionKind) -> Object {
    let mut options = Object::default();
    options.set(&["kind"], kind.kind.as_str());
    options.set(&["apiVersion"], kind.api_version());
    match subresource {
        Subresource::Exec | Subresource::Attach => {
            for flag in ["stdin", "stdout", "stderr", "tty"] {
                if call.query.flag(flag) {
                    options.set(&[flag], true);
                }
            }
            let container = call.query.get("container");
            if !container.is_empty() {
                options.set(&["container"], container);
            }
            if subresource == Subresource::Exec {
                options.set(&["command"], call.query.all("command").collect::<Vec<_>>());
            }
        }
        Subresource::PortForward => {
            let ports: Vec<i64> = call.query.all("ports").filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options.set(&["ports"], ports);
            }
        }
        _ if !call.path.tail.is_empty() => options.set(&["path"], call.path.tail.as_str()),
        _ => {}
    }
    options
}

/// Whether webhooks are asked at this place. A Binding and an Eviction are reviewed as themselves, and not once more as
/// what becomes of them.
fn concerns(review: &Review<'_>) -> bool {
    match review.write {
        Write::Create => true,
        Write::Update => review.subresource != Subresource::Binding.as_str(),
        Write::Delete => review.call.path.subresource != Subresource::Eviction.as_str(),
    }
}

fn tell(call: &Call, attributes: &Attributes, outcome: Result<(), Refusal>) -> Result<(), ApiError> {
    attributes.warnings().into_iter().for_each(|text| call.warn(text));
    outcome.map_err(|refusal| ApiError::Passed(refusal.to_json()))
}

fn attributes(review: &Review<'_>) -> Result<Attributes, ApiError> {
    let call = review.call;
    let operation = match review.write {
        Write::Create => Operation::Create,
        Write::Update => Operation::Update,
        Write::Delete => Operation::Delete,
    };
    let kind = surroundings::kind_of(&call.kind, review.subresource);
    let mut attributes = Attributes::new(operation, surroundings::resource_of(&call.kind), kind);
    review.subresource.clone_into(&mut attributes.subresource);
    attributes.object = review.object.as_deref().map(|object| shown(review, object)).transpose()?;
    if let Some(object) = attributes.object.as_mut().filter(|object| object.kind().is_empty()) {
        object.set(&["apiVersion"], attributes.kind.api_version());
        object.set(&["kind"], attributes.kind.kind.as_str());
    }
    attributes.old = review.old.map(|object| shown(review, object)).transpose()?.map(Arc::new);
    attributes.dry_run = call.dry_run;
    attributes.options = Some(match review.deletion {
        Some(deletion) => {
            attributes.dry_run = deletion.dry_run;
            deletion.to_json()
        }
        None => write_options(call, operation),
    });
    identify(call, &mut attributes);
    Ok(attributes)
}

/// Who asks, and for what.
fn identify(call: &Call, attributes: &mut Attributes) {
    let user = &call.user;
    attributes.user = User {
        name: user.name.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
    };
    let named = attributes.object.as_ref().filter(|_| attributes.operation == Operation::Create);
    let name = if call.path.name.is_empty() { named.map_or("", Object::name) } else { &call.path.name };
    attributes.name = name.to_owned();
    let is_namespace = call.kind.gv.group.is_empty() && call.kind.names.kind == "Namespace";
    attributes.namespace = if is_namespace { name.to_owned() } else { call.namespace().to_owned() };
}

/// The options of the write that is made, also where a patch asks for it.
fn write_options(call: &Call, operation: Operation) -> Value {
    let kind = if operation == Operation::Create { "CreateOptions" } else { "UpdateOptions" };
    let mut options = serde_json::json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if call.dry_run {
        options["dryRun"] = serde_json::json!(["All"]);
    }
    for field in ["fieldManager", "fieldValidation"] {
        let value = call.query.get(field);
        if !value.is_empty() {
            options[field] = value.into();
        }
    }
    options
}

/// What webhooks see of an object: through `scale` its Scale.
fn shown(review: &Review<'_>, object: &Object) -> Result<Object, ApiError> {
    if review.subresource != Subresource::Scale.as_str() {
        return Ok(object.clone());
    }
    scale::of(object, &review.call.kind.scale).map_err(|error| ApiError::Internal(error.to_string()))
}

/// Puts what webhooks made into the place of the object; tells whether it is another.
fn take(review: &mut Review<'_>, attributes: &Attributes) -> Result<bool, ApiError> {
    let call = review.call;
    let subject = || call.subject(&attributes.name);
    let is_scale = review.subresource == Subresource::Scale.as_str();
    let (Some(made), Some(object)) = (&attributes.object, review.object.as_deref_mut()) else {
        return Ok(false);
    };
    let before = object.clone();
    if is_scale {
        let replicas =
            scale::replicas(made, true).map_err(|error| ApiError::invalid(subject(), vec![error]))?;
        call.kind.scale.set_replicas(object, replicas);
    } else {
        *object = made.clone();
        if review.subresource.is_empty() && review.write == Write::Create {
            metadata::keep_given(object, &before);
            metadata::locate(call, object)?;
        }
    }
    Ok(*object != before)
}
