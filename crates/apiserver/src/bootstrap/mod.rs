//! What every cluster has from its first moment: namespaces, the Service range, default roles and bindings, priority classes,
//! FlowSchemas and priority levels.
//!
//! Written straight to the store by the API server itself, in one transaction, before it serves anything.
//! Later starts add what is missing: objects, and the rules and subjects of default roles and bindings
//! whose annotation `rbac.authorization.kubernetes.io/autoupdate` is `"true"`, and what extension API servers verify this
//! one by; and they make the specs of FlowSchemas and priority levels current that nobody has taken over. Nothing is ever taken
//! away, but the APIServices of versions that are no longer served. What is mandatory of FlowSchemas and levels is restored
//! while the server runs, too.

mod api_services;
mod change;
mod cluster;
mod flow_control;
mod maker;
mod objects;
mod reconcile;

use jiff::Timestamp;
use skiff_machinery::{GroupVersion, Object};
use skiff_store::{CommitError, Expect, Key, Op, Store, Txn};

pub use cluster::{Bootstrap, BootstrapError};

use change::Change;
use skiff_registry::codec;

/// How often to start again because someone else wrote one of the objects meanwhile.
const ATTEMPTS: usize = 10;

/// Writes what is missing.
///
/// # Errors
/// See [`BootstrapError`]; nothing was written then.
pub async fn run(store: &dyn Store, cluster: &Bootstrap) -> Result<(), BootstrapError> {
    write(store, &objects::all(cluster, Timestamp::now()), Some(&cluster.versions)).await
}

/// Writes what is missing of the mandatory FlowSchemas and priority levels.
///
/// # Errors
/// See [`BootstrapError`]; nothing was written then.
pub(crate) async fn restore(store: &dyn Store) -> Result<(), BootstrapError> {
    write(store, &flow_control::mandatory(Timestamp::now()), None).await
}

/// Writes what is missing of these objects, and of the APIServices of these versions.
async fn write(
    store: &dyn Store,
    wanted: &[(Key, Object)],
    versions: Option<&[GroupVersion]>,
) -> Result<(), BootstrapError> {
    let mut attempt = 1;
    loop {
        let mut txn = plan(store, wanted).await?;
        if let Some(versions) = versions {
            api_services::plan(store, versions, Timestamp::now(), &mut txn).await?;
        }
        if txn.ops.is_empty() {
            return Ok(());
        }
        match store.commit(txn).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The transaction that adds what the store lacks.
async fn plan(store: &dyn Store, wanted: &[(Key, Object)]) -> Result<Txn, BootstrapError> {
    let mut txn = Txn::default();
    for (key, object) in wanted {
        let entry = store.get(key).await?;
        let stored = match &entry {
            None => None,
            Some(entry) => {
                let decoded = serde_json::from_slice(&entry.value.bytes()).map(Object::from_value);
                let damaged = |source| BootstrapError::Damaged { key: key.clone(), source };
                Some(decoded.map_err(damaged)?.unwrap_or_default())
            }
        };
        let value = match reconcile::change(object, stored.as_ref()) {
            Change::None => continue,
            Change::Create => codec::encode(object),
            Change::Replace(object) => codec::encode(&object),
        };
        txn.expect.push(match entry {
            None => Expect::Absent(key.clone()),
            Some(entry) => Expect::At(key.clone(), entry.modified),
        });
        txn.ops.push(Op::Put { key: key.clone(), value });
    }
    Ok(txn)
}

#[cfg(test)]
mod tests;
