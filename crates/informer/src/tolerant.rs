//! Objects are decoded one by one: one that cannot be read does not hide the others.
//!
//! A list is answered whole, so that one object of a shape that `K` does not know would fail all of it, at every retry.
//! A watch of [`Tolerant`] objects gets the others, and of that one its name: consumers keep what they knew of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Debug;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::DeserializeOwned;
use k8s_openapi::serde::{Deserialize, Deserializer};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde_json::value::RawValue;
use tracing::warn;

use crate::ObjectKey;

/// An object, or what can be said of one that is no `K`.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every object is readable, and larger than what is said of one that is not"
)]
pub enum Tolerant<K> {
    /// The object.
    Readable(K),
    /// An object that could not be decoded.
    Unreadable(Unreadable),
}

/// An object that could not be decoded.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Name, namespace, UID and resource version, as far as they are there.
    pub meta: ObjectMeta,
    /// Why it could not be decoded, without the object's own content.
    pub why: String,
}

impl<K> Tolerant<K> {
    /// The object, if it can be read.
    pub fn readable(self) -> Option<K> {
        match self {
            Self::Readable(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(object) => &object.meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.meta,
        }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match serde_json::from_str(text.get()) {
            Ok(object) => Self::Readable(object),
            Err(error) => Self::Unreadable(Unreadable {
                meta: meta(text.get()),
                why: without_content(&error.to_string()),
            }),
        })
    }
}

/// What identifies an object, whatever else is wrong with it.
fn meta(text: &str) -> ObjectMeta {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| value["metadata"][name].as_str().map(str::to_owned);
    ObjectMeta {
        name: field("name"),
        namespace: field("namespace"),
        uid: field("uid"),
        resource_version: field("resourceVersion"),
        ..ObjectMeta::default()
    }
}

/// A decoder's message without the text of the object that it quotes, which may be a Secret's. At most 256 characters.
fn without_content(message: &str) -> String {
    const QUOTES: [char; 2] = ['"', '`'];
    let is_quoted = |text: &str| text.starts_with("invalid") || text.starts_with("unknown");
    let message = match (message.find(QUOTES), message.rfind(QUOTES)) {
        (Some(start), Some(end)) if is_quoted(message) && start < end => {
            format!("{}…{}", &message[..=start], &message[end..])
        }
        _ => message.to_owned(),
    };
    message.chars().take(256).collect()
}

/// The objects of `api` and their changes, for ever: failures are retried with back-off. What cannot be decoded is said
/// once for each object.
pub fn watch_objects<K>(
    api: Api<Tolerant<K>>,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<K>>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut said = Said::default();
    let plural = api.resource_url().rsplit('/').next().unwrap_or_default().to_owned();
    watcher(api, selection).default_backoff().inspect(move |event| match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => said.about(&plural, object),
        Ok(Event::Delete(object)) => said.forget(object),
        Ok(Event::Init | Event::InitDone) | Err(_) => {}
    })
}

/// How many unreadable objects are remembered, so that each is said once; more are said at every change.
const REMEMBERED: usize = 1024;

/// The unreadable objects that were mentioned.
#[derive(Default)]
struct Said(HashSet<ObjectKey>);

impl Said {
    fn about<K: Resource>(&mut self, resource: &str, object: &Tolerant<K>) {
        let Tolerant::Unreadable(Unreadable { meta, why }) = object else { return self.forget(object) };
        let key = ObjectKey::of(meta);
        if self.0.contains(&key) {
            return;
        }
        warn!(resource, object = %key, why, "an object is left out: it cannot be decoded");
        if self.0.len() < REMEMBERED {
            self.0.insert(key);
        }
    }

    fn forget<K: Resource>(&mut self, object: &Tolerant<K>) {
        if !self.0.is_empty() {
            self.0.remove(&ObjectKey::of(object.meta()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ReplicationController, Secret};
    use kube::core::{ObjectList, WatchEvent};

    const LIST: &str = r#"{"kind": "ReplicationControllerList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": [
        {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}, "spec": {"replicas": 1}},
        {"metadata": {"name": "b", "namespace": "n", "uid": "u", "resourceVersion": "2"}, "spec": {"replicas": 99999999999}},
        {"metadata": {"name": "c", "namespace": "n", "resourceVersion": "3"}, "spec": {"replicas": 3}}]}"#;

    #[test]
    fn one_bad_object_does_not_hide_the_others() {
        let list: ObjectList<Tolerant<ReplicationController>> = serde_json::from_str(LIST).unwrap();
        let names: Vec<_> = list.items.iter().map(|item| item.meta().name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let Tolerant::Unreadable(bad) = &list.items[1] else { panic!("readable") };
        assert_eq!((bad.meta.uid.as_deref(), bad.meta.resource_version.as_deref()), (Some("u"), Some("2")));
        assert_eq!(list.items.into_iter().filter_map(Tolerant::readable).count(), 2);
    }

    #[test]
    fn one_bad_change_does_not_end_a_watch() {
        let event = r#"{"type": "MODIFIED", "object": {"metadata": {"name": 5}, "spec": []}}"#;
        let event: WatchEvent<Tolerant<ReplicationController>> = serde_json::from_str(event).unwrap();
        assert!(matches!(event, WatchEvent::Modified(Tolerant::Unreadable(_))));
    }

    #[test]
    fn reasons_quote_nothing_of_the_object() {
        let check = |text: &str| {
            let object: Tolerant<Secret> = serde_json::from_str(text).unwrap();
            let Tolerant::Unreadable(Unreadable { why, .. }) = object else { panic!("readable") };
            assert!(!why.contains("hunter2") && why.len() <= 1024, "{why}");
            why
        };
        assert_eq!(
            check(r#"{"metadata": {}, "data": "hunter2"}"#),
            "invalid type: string \"…\", expected a map at line 1 column 34"
        );
        check(r#"{"metadata": {"labels": "hunter2 \" quoted"}}"#);
        check(&format!(r#"{{"metadata": {{}}, "immutable": "{}"}}"#, "hunter2".repeat(5000)));
    }
}
