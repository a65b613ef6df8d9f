//! The APIServices of what is built in: made at every start, and left to users until the next (Kubernetes' "onstart").

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_kinds::api_service::{self, Availability, Management};
use skiff_machinery::{GroupVersion, Object, keys};
use skiff_ordered::Ordered as _;
use skiff_registry::codec;
use skiff_store::{Entry, Expect, Key, Op, Page, Store, Txn};

use super::cluster::BootstrapError;

/// Adds to a transaction what makes the stored APIServices those of the versions.
pub(super) async fn plan(
    store: &dyn Store,
    versions: &[GroupVersion],
    now: Timestamp,
    txn: &mut Txn,
) -> Result<(), BootstrapError> {
    let listing = store.list(keys::API_SERVICES.into(), Page::default()).await?;
    let mut stored: BTreeMap<Key, Entry> =
        listing.entries.into_iter().map(|entry| (entry.key.clone(), entry)).to_map();
    for wanted in versions.iter().filter_map(|gv| api_service::local(gv, Management::OnStart)) {
        let key = Key::from(format!("{}{}", keys::API_SERVICES, wanted.name()));
        let entry = stored.remove(&key);
        let (expect, present) = match &entry {
            None => (Expect::Absent(key.clone()), None),
            Some(entry) => (Expect::At(key.clone(), entry.modified), Some(decode(entry)?)),
        };
        if let Some(object) = change(wanted, present, now) {
            txn.expect.push(expect);
            txn.ops.push(Op::Put { key, value: codec::encode(&object) });
        }
    }
    for (key, entry) in stored {
        if Management::of(&decode(&entry)?) == Some(Management::OnStart) {
            txn.expect.push(Expect::At(key.clone(), entry.modified));
            txn.ops.push(Op::Delete { key });
        }
    }
    Ok(())
}

fn decode(entry: &Entry) -> Result<Object, BootstrapError> {
    let damaged = |source| BootstrapError::Damaged { key: entry.key.clone(), source };
    let tree: Value = serde_json::from_slice(&entry.value.bytes()).map_err(damaged)?;
    Ok(Object::from_value(tree).unwrap_or_default())
}

/// The object to write, if one has to be. Whatever does not say that it is kept at the start is a user's.
fn change(wanted: Object, present: Option<Object>, now: Timestamp) -> Option<Object> {
    let mut object = match present {
        None => {
            let mut made = wanted.clone();
            made.set(&["metadata", "uid"], skiff_registry::made_id().to_string());
            made.set(&["metadata", "creationTimestamp"], format!("{now:.0}"));
            made
        }
        Some(present) if Management::of(&present) != Some(Management::OnStart) => return None,
        Some(present) if is_as_wanted(&present, &wanted) => return None,
        Some(mut present) => {
            present.set(&["spec"], wanted.get(&["spec"]).cloned().unwrap_or_default());
            present
        }
    };
    let conditions = Availability::local().among(&object, now);
    object.set(&["status"], json!({"conditions": conditions}));
    Some(object)
}

fn is_as_wanted(present: &Object, wanted: &Object) -> bool {
    let is_local = !present.get(&["spec", "service"]).is_some_and(Value::is_object);
    is_local && api_service::priority(present) == api_service::priority(wanted)
}
