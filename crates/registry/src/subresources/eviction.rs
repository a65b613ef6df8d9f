//! `pods/eviction`: a deletion that a disruption budget may forbid. What is spent of the budget is noted in the same
//! transaction as the deletion.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use skiff_kinds::disruption::{self, Refusal, Verdict};
use skiff_machinery::{Object, Subresource, keys};
use skiff_store::{Entry, Expect, Op, Page, Txn};

use crate::admission;
use crate::errors::{ApiError, Subject};
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::{codec, decode, delete, options};
use crate::registry::Registry;

/// How often an eviction is tried again after losing a race.
const RACES: usize = 100;

/// POST.
pub(super) async fn evict(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut eviction = decode::exchanged(call, Subresource::Eviction, body)?;
    let name = eviction.name();
    if name != call.path.name {
        return Err(ApiError::BadRequest("name in URL does not match name in Eviction object".to_owned()));
    }
    // Of a pod that is not there nothing else is said.
    registry.entry(call).await?;
    admission::review_exchanged(registry, call, "eviction", &mut eviction).await?;
    let options = options::of_eviction(call, &eviction)?;
    let note = |pod: &mut Object| disruption::mark(pod, call.now);
    for _ in 0..RACES {
        let entry = registry.entry(call).await?;
        let pod = registry.decoded(call, &entry)?;
        let together = spend(registry, call, &pod).await?;
        let along = delete::Along { together, note: Some(&note) };
        if delete::delete_entry(registry, call, &entry, &options, &along).await?.is_some() {
            let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            return Ok(Outcome::status(StatusCode::CREATED, success));
        }
    }
    Err(ApiError::modified(call.subject(&call.path.name)))
}

/// What is to be written with the deletion of a pod, if its budget allows that.
async fn spend(registry: &Registry, call: &Call, pod: &Object) -> Result<Txn, ApiError> {
    let budgets = budgets(registry, call).await?;
    let objects: Vec<&Object> = budgets.iter().map(|(_, budget)| budget).collect();
    match disruption::decide(pod, &objects, call.now) {
        Verdict::Free => Ok(Txn::default()),
        Verdict::Spends(at, budget) => {
            let entry = &budgets[at].0;
            Ok(Txn {
                expect: vec![Expect::At(entry.key.clone(), entry.modified)],
                ops: vec![Op::Put { key: entry.key.clone(), value: codec::encode(&budget) }],
            })
        }
        Verdict::Refused(refusal) => Err(refused(refusal)),
    }
}

/// The disruption budgets of the pod's namespace.
async fn budgets(registry: &Registry, call: &Call) -> Result<Vec<(Entry, Object)>, ApiError> {
    let catalogue = registry.offer.catalogue();
    let Some(kind) = catalogue.find("policy", "v1", "poddisruptionbudgets") else { return Ok(Vec::new()) };
    let prefix = keys::collection(kind, call.namespace());
    let listing = registry.store.list(prefix.as_str().into(), Page::default()).await?;
    let read = |entry: Entry| Ok((entry.clone(), codec::decode(&entry)?));
    listing.entries.into_iter().map(read).collect()
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Violated { why, retry } => ApiError::BudgetSpent { why, retry },
        Refusal::Broken { budget, why } => {
            let subject =
                Subject { group: "policy".into(), ..Subject::core("poddisruptionbudget", budget.as_str()) };
            let message = format!("poddisruptionbudget.policy {budget:?} is forbidden: {why}");
            ApiError::Forbidden { subject, message, causes: Vec::new() }
        }
        Refusal::Several => ApiError::Passed(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
            "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        })),
    }
}
