//! Checks the expressions of ValidatingAdmissionPolicies against the types of what they are about, and tells what would go
//! wrong in their `status`.
//!
//! Sources: the API reference of ValidatingAdmissionPolicy, and Kubernetes' page on validating admission policies.

use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use skiff_admission::{Kinds, check_types};
use skiff_informer::{Next, ObjectKey, is_not_found};
use skiff_machinery::Object;

use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "validatingadmissionpolicy-status-controller";
/// The name under which the status is managed.
const MANAGER: &str = "validatingadmissionpolicy-status";

/// A policy whose status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of the policy {policy}")]
struct Error {
    policy: String,
    source: kube::Error,
}

/// Subscribes to policies and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("policytypes");
    let wake = queue.clone();
    informers.policies.subscribe(move |change| {
        if change.new.is_some_and(|policy| is_unchecked(policy)) {
            wake.add(change.key.clone());
        }
    });
    let (client, kinds) = (environment.client(NAME), environment.kinds.clone());
    environment.reconciler(
        queue,
        &[&informers.policies],
        1,
        (client, informers.clone(), kinds),
        |(client, informers, kinds), key| check(client, informers, kinds, key).boxed(),
    )
}

/// Whether this generation was not looked at yet.
fn is_unchecked(policy: &ValidatingAdmissionPolicy) -> bool {
    let seen = policy.status.as_ref().and_then(|status| status.observed_generation);
    policy.metadata.generation.unwrap_or(0) > seen.unwrap_or(0)
}

async fn check(
    client: &Client,
    informers: &Informers,
    kinds: &Arc<dyn Kinds>,
    key: ObjectKey,
) -> Result<Next, Error> {
    let Some(policy) = informers.policies.get(&key).filter(|policy| is_unchecked(policy)) else {
        return Ok(Next::Done);
    };
    let api = Api::<ValidatingAdmissionPolicy>::all(client.clone());
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(key.name(), &params, &Patch::Apply(report(&policy, &**kinds))).await {
        Err(error) if !is_not_found(&error) => Err(Error { policy: key.name().to_owned(), source: error }),
        _ => Ok(Next::Done),
    }
}

/// The status of a policy, as it is applied.
fn report(policy: &ValidatingAdmissionPolicy, kinds: &dyn Kinds) -> Value {
    let object = Object::from_value(json!(policy)).unwrap_or_default();
    let warnings = check_types(&object, kinds);
    let mut checking = json!({});
    if !warnings.is_empty() {
        checking["expressionWarnings"] = warnings.into();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy.metadata.name},
        "status": {"observedGeneration": policy.metadata.generation, "typeChecking": checking},
    })
}
