//! ResourceQuota: what the objects of a namespace use together. What counts as what is in `skiff_limits`.
//!
//! What a write costs is written in its own transaction, which holds only if every quota is as it was when the cost was
//! found out. So `status.used` is never below what is there, and nothing is charged for a write that did not happen. What becomes free is
//! found out by a controller.

use serde_json::Value;
use skiff_limits::Operation;
use skiff_limits::quota::{self, Counted, Request};
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
    let entries = review.all_in_namespace("resourcequotas").await?;
    if entries.is_empty() {
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
    let charges = quota::charge(&trees, &request)
        .map_err(|why| ApiError::forbidden(call.subject(object.name()), &why))?;
    let mut all = Charges::default();
    for charge in charges {
        let (Some(entry), Some(quota)) = (entries.get(charge.quota), objects.get(charge.quota)) else {
            continue;
        };
        let mut quota = quota.clone();
        quota.set(&["status", "used"], charge.used.to_value());
        all.0.push((entry.clone(), codec::encode(&quota)));
    }
    Ok(all)
}
