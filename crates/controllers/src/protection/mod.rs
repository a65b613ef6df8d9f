//! Volumes, claims and classes of attributes that are used are not removed before they are left: each has a finalizer, which is
//! taken away when nobody uses it any more. Admission gives it to new objects, and these controllers to older ones.

pub(crate) mod claims;
pub(crate) mod classes;
pub(crate) mod volumes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

/// A finalizer that could not be written, or users that could not be looked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {key}")]
pub(crate) struct Error {
    action: &'static str,
    key: ObjectKey,
    source: kube::Error,
}

/// What an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// It has to be protected.
    Finalizer,
    /// It goes, if nobody uses it.
    Release,
}

fn need(metadata: &ObjectMeta, finalizer: &str) -> Need {
    let is_protected = metadata.finalizers.iter().flatten().any(|name| name == finalizer);
    match (metadata.deletion_timestamp.is_some(), is_protected) {
        (false, false) => Need::Finalizer,
        (true, true) => Need::Release,
        _ => Need::Nothing,
    }
}

/// Adds or takes away the finalizer of the object that `known` is, if it still needs that. The object is read and written
/// whole: its other fields are none of ours, whatever their version.
async fn settle<K>(client: &Client, known: &K, finalizer: &str, need: Need) -> Result<Next, Error>
where
    K: Resource<DynamicType = ()>,
{
    let (key, resource) = (ObjectKey::of(known.meta()), ApiResource::erase::<K>(&()));
    let api: Api<DynamicObject> = match known.meta().namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let failed = |source| Error { action: "change the finalizers of", key: key.clone(), source };
    let Some(mut object) = api.get_opt(key.name()).await.map_err(failed)? else { return Ok(Next::Done) };
    if object.metadata.uid != known.meta().uid || self::need(&object.metadata, finalizer) != need {
        return Ok(Next::Done);
    }
    match need {
        Need::Nothing => return Ok(Next::Done),
        Need::Finalizer => object.finalizers_mut().push(finalizer.to_owned()),
        Need::Release => object.finalizers_mut().retain(|name| name != finalizer),
    }
    match api.replace(key.name(), &PostParams::default(), &object).await {
        // Whoever changed it wakes the controller again.
        Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(Next::Done),
        Err(source) => Err(failed(source)),
        Ok(_) => Ok(Next::Done),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn objects_are_protected_until_they_go() {
        let check = |is_deleted: bool, finalizers: &[&str], expected: Need| {
            let metadata = ObjectMeta {
                deletion_timestamp: is_deleted.then_some(Time(Timestamp::UNIX_EPOCH)),
                finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
                ..ObjectMeta::default()
            };
            assert_eq!(need(&metadata, "ours"), expected);
        };
        check(false, &[], Need::Finalizer);
        check(false, &["ours"], Need::Nothing);
        check(true, &["ours", "others"], Need::Release);
        check(true, &["others"], Need::Nothing);
    }
}
