//! ResourceQuota: what the objects of a namespace use together. What counts as what is in `skiff_limits`.
//!
//! What a write costs is written in its own transaction, which holds only if every quota is as it was when the cost was
//! found out. So `status.used` is never below what is there, and nothing is charged for a write that did not happen. What becomes free is
//! found out by a controller.

use serde_json::Value;
use skiff_limits::Operation;
use skiff_limits::quota::{self, Charge, Counted, Refused, Request};
use skiff_machinery::Object;
use skiff_machinery::managed::{self, Writer};
use skiff_store::{Entry, Expect, Key, Op, Txn};

use super::review::{Review, Write, tree};
use crate::errors::ApiError;
use crate::pipeline::codec;

/// Quotas with what they will have used, to be written with the object.
#[derive(Default)]
pub(crate) struct Charges(Vec<(Entry, bytes::Bytes)>);

impl Charges {
    /// Adds them to the transaction that writes the object.
    pub(crate) fn join(&self, txn: &mut Txn) {
        for (entry, value) in &self.0 {
            txn.expect.push(Expect::At(entry.key.clone(), entry.modified));
            txn.ops.push(Op::Put { key: entry.key.clone(), value: value.clone() });
        }
    }

    /// Whether one of them is at this key.
    pub(crate) fn concern(&self, key: &Key) -> bool {
        self.0.iter().any(|(entry, _)| entry.key == *key)
    }
}

/// What a write costs; an error when it is more than is left.
pub(crate) async fn charge(review: &Review<'_>) -> Result<Charges, ApiError> {
    let call = review.call;
    let counted = Counted::of(&call.kind.gv.group, &call.kind.names.plural);
    let (Some(counted), Some(object)) = (counted, review.object.as_deref()) else {
        return Ok(Charges::default());
    };
    if call.namespace().is_none() || review.write == Write::Delete {
        return Ok(Charges::default());
    }
    let limited = &review.registry.plugins.configuration.limited;
    let entries = review.all_in_namespace("resourcequotas").await?;
    if entries.is_empty() && limited.is_empty() {
        return Ok(Charges::default());
    }
    let (new, old) = (tree(object), review.old.map(tree));
    let request = Request {
        counted,
        subresource: Some(review.subresource).filter(|name| !name.is_empty()),
        operation: old.as_ref().map_or(Operation::Create, |old| Operation::Update { old }),
        object: &new,
        now: call.now,
    };
    let objects = entries.iter().map(codec::decode).collect::<Result<Vec<_>, _>>()?;
    let trees: Vec<Value> = objects.iter().map(tree).collect();
    let charges = quota::charge(&trees, limited, &request).map_err(|refused| match refused {
        Refused::Forbidden(why) => ApiError::forbidden(call.subject(object.name()), &why),
        Refused::Uncovered(text) => ApiError::Unclassified(text),
    })?;
    let mut all = Charges::default();
    for charge in charges {
        let (Some(entry), Some(quota)) = (entries.get(charge.quota), objects.get(charge.quota)) else {
            continue;
        };
        all.0.push((entry.clone(), codec::encode(&charged(review, quota, &charge))));
    }
    Ok(all)
}

/// A quota as the server writes it: in Kubernetes the plugin is a client of its own server, and that shows in the managed fields.
fn charged(review: &Review<'_>, quota: &Object, charge: &Charge) -> Object {
    let mut charged = quota.clone();
    charged.set(&["status", "used"], charge.used.to_value());
    let catalogue = review.registry.offer.catalogue();
    if let Some(kind) = catalogue.find("", "v1", "resourcequotas") {
        let writer = Writer {
            manager: "kube-apiserver",
            subresource: "status",
            now: review.call.now,
            settled: &[],
            keeps_nulls: false,
        };
        managed::track_update(&mut charged, Some(quota), &kind.root, &writer);
    }
    charged
}
