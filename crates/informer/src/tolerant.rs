//! Objects are decoded one by one: one that cannot be read does not hide the others.
//!
//! A list is answered whole, so that one object of a shape that `K` does not know would fail all of it, at every retry.
//! A watch of [`Tolerant`] objects gets the others, and of that one its name: consumers keep what they knew of it.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::marker::PhantomData;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::value::MapAccessDeserializer;
use k8s_openapi::serde::de::{DeserializeOwned, MapAccess, Visitor};
use k8s_openapi::serde::{Deserialize, Deserializer};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::unreadable::{self, KindName};

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
        deserializer.deserialize_newtype_struct(RAW, AsItCame(PhantomData))
    }
}

/// The name at which serde_json hands out the text of a value. Were it another, values would be read as trees: slower, with
/// the same outcome.
const RAW: &str = "$serde_json::private::RawValue";

/// Takes an object as the text that it came as; or as a tree where the text is gone, which is so in an event that names its
/// object before its type.
struct AsItCame<K>(PhantomData<K>);

impl<'de, K: DeserializeOwned> Visitor<'de> for AsItCame<K> {
    type Value = Tolerant<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tolerant<K>, A::Error> {
        let text = Box::<RawValue>::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Tolerant::of(serde_json::from_str(text.get()), || {
            serde_json::from_str(text.get()).unwrap_or_default()
        }))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tolerant<K>, D::Error> {
        let tree = Value::deserialize(deserializer)?;
        Ok(Tolerant::of(K::deserialize(&tree), || tree.clone()))
    }
}

impl<K> Tolerant<K> {
    fn of(decoded: serde_json::Result<K>, tree: impl FnOnce() -> Value) -> Self {
        match decoded {
            Ok(object) => Self::Readable(object),
            Err(error) => {
                Self::Unreadable(Unreadable { meta: meta(&tree()), why: without_content(&error.to_string()) })
            }
        }
    }
}

/// What identifies an object, whatever else is wrong with it.
fn meta(value: &Value) -> ObjectMeta {
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
/// once for each object and revision: in the log, in an Event at the object, and in [`crate::metrics`].
pub fn watch_objects<K>(
    api: Api<Tolerant<K>>,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<K>>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    watch_objects_of(api, &K::DynamicType::default(), selection)
}

/// The same, of a kind that is known only when the program runs.
pub fn watch_objects_of<K>(
    api: Api<Tolerant<K>>,
    kind: &K::DynamicType,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<K>>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = KindName::of::<K>(kind);
    let client = api.clone().into_client();
    watcher(api, selection).default_backoff().inspect(move |event| {
        if let Ok(
            Event::Apply(Tolerant::Unreadable(object)) | Event::InitApply(Tolerant::Unreadable(object)),
        ) = event
        {
            unreadable::tell(&client, &kind, object);
        }
    })
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
    fn an_event_may_name_its_object_first() {
        let check = |replicas: u64| {
            let event = format!(
                r#"{{"object": {{"metadata": {{"name": "a", "uid": "u"}}, "spec": {{"replicas": {replicas}}}}}, "type": "ADDED"}}"#
            );
            let event: WatchEvent<Tolerant<ReplicationController>> = serde_json::from_str(&event).unwrap();
            let WatchEvent::Added(object) = event else { panic!("no object") };
            assert_eq!((object.meta().name.as_deref(), object.meta().uid.as_deref()), (Some("a"), Some("u")));
            object.readable().and_then(|object| object.spec?.replicas)
        };
        assert_eq!(check(3), Some(3));
        assert_eq!(check(99_999_999_999), None);
    }

    /// The text of an object is decoded as it came: without it the message could not say where.
    #[test]
    fn objects_are_read_from_their_text() {
        let object: Tolerant<ReplicationController> =
            serde_json::from_str(r#"{"metadata": {}, "spec": []}"#).unwrap();
        let Tolerant::Unreadable(Unreadable { why, .. }) = object else { panic!("readable") };
        assert!(why.ends_with("at line 1 column 27"), "{why}");
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
