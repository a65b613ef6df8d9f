//! PodSecurity (KEP-2579): what the namespace's labels ask of pods. The standards themselves are in `skiff_podsecurity`.

use std::time::Instant;

use serde_json::Value;
use skiff_audit::Level;
use skiff_machinery::{Namespace, Object, keys};
use skiff_podsecurity::{
    Decision, Denial, LevelVersion, NamespaceOutcome, Operation, POD_CHECK_TIME, Request, template_path,
};
use skiff_store::Page;

use super::review::{Review, Write, tree};
use crate::errors::ApiError;
use crate::pipeline::codec;

pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    if review.write == Write::Delete {
        return Ok(());
    }
    let Some(object) = review.object.as_deref() else { return Ok(()) };
    let decision = if review.is_core("Namespace") {
        if !review.subresource.is_empty() {
            return Ok(());
        }
        namespace(review, object).await?
    } else {
        let path = template_path(&review.call.kind.gv.group, &review.call.kind.names.plural);
        if !review.is_core("Pod") && path.is_none() {
            return Ok(());
        }
        pods(review, object, path).await?
    };
    decide(review, object, decision)
}

fn decide(review: &Review<'_>, object: &Object, decision: Decision) -> Result<(), ApiError> {
    let call = review.call;
    decision.warnings.into_iter().for_each(|text| call.warn(text));
    for (key, value) in decision.audit_annotations {
        call.record.annotate(Level::Metadata, &key, value);
    }
    match decision.denied {
        None => Ok(()),
        Some(Denial::Forbidden(why)) => Err(ApiError::forbidden(call.subject(object.name()), &why)),
        Some(Denial::Invalid(errors)) => Err(ApiError::invalid(call.subject(object.name()), errors)),
    }
}

fn labels_of(object: &Object) -> Value {
    object.get(&["metadata", "labels"]).cloned().unwrap_or_default()
}

/// A pod, or what makes pods: then `path` is where the template is.
async fn pods(review: &Review<'_>, object: &Object, path: Option<&[&str]>) -> Result<Decision, ApiError> {
    let call = review.call;
    let namespace = call.namespace().as_str();
    // NamespaceLifecycle tells of namespaces that are not there.
    let entry = review.registry.store.get(&keys::core("namespaces", Namespace::NONE, namespace)).await?;
    let Some(entry) = entry else { return Ok(Decision::default()) };
    let labels = labels_of(&*review.registry.decoded(call, &entry)?);
    let plugin = &review.registry.plugins.configuration.pod_security;
    if labels.is_null() && plugin.defaults.is_privileged() {
        return Ok(Decision::default());
    }
    let (new, old) = (tree(object), review.old.map(tree));
    let request = Request {
        user: &call.user.name,
        namespace,
        namespace_labels: &labels,
        subresource: Some(review.subresource).filter(|name| !name.is_empty()),
        operation: old.as_ref().map_or(Operation::Create, |old| Operation::Update { old }),
        object: &new,
    };
    Ok(match path {
        Some(path) => plugin.workload(path, &request),
        None => plugin.pod(&request),
    })
}

async fn namespace(review: &Review<'_>, object: &Object) -> Result<Decision, ApiError> {
    let old = review.old.map(labels_of);
    let operation = old.as_ref().map_or(Operation::Create, |old| Operation::Update { old });
    let plugin = &review.registry.plugins.configuration.pod_security;
    match plugin.namespace(object.name(), operation, &labels_of(object)) {
        NamespaceOutcome::Decided(decision) => Ok(decision),
        NamespaceOutcome::CheckPods(level) => {
            let warnings = existing_pods(review, object.name(), level).await?;
            Ok(Decision { warnings, ..Decision::default() })
        }
    }
}

/// What the pods that are there would be told under a stricter level.
async fn existing_pods(
    review: &Review<'_>,
    namespace: &str,
    level: LevelVersion,
) -> Result<Vec<String>, ApiError> {
    let prefix: String = keys::core("pods", Namespace::new(namespace), "");
    let listing = review.registry.store.list(prefix.as_str().into(), Page::default()).await?;
    let pods = listing.entries.iter().map(codec::decode).collect::<Result<Vec<_>, _>>()?;
    let pods: Vec<Value> = pods.into_iter().map(Object::into_value).collect();
    let started = Instant::now();
    let is_late = || started.elapsed() > POD_CHECK_TIME;
    let plugin = &review.registry.plugins.configuration.pod_security;
    Ok(plugin.existing_pods(namespace, level, pods.iter(), is_late))
}
