//! Objects as the text that they came as. One program text watches every kind; only decoding knows types.

use std::borrow::Cow;
use std::fmt;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// How much of each object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// Its metadata, as a PartialObjectMetadata.
    Metadata,
}

/// An object as it came.
#[derive(Clone, Debug)]
pub(crate) struct Came<const METADATA: bool = false> {
    /// Name, namespace, UID and resource version, as far as they are there.
    pub(crate) meta: ObjectMeta,
    text: Box<RawValue>,
}

/// The objects of a kind, in one namespace or all, and their changes, for ever.
pub(crate) fn watch(
    client: Client,
    namespace: Option<String>,
    kind: ApiResource,
    part: Part,
    selection: watcher::Config,
) -> BoxStream<'static, watcher::Result<Event<Came>>> {
    match part {
        Part::Whole => objects::<false>(client, namespace, &kind, selection).boxed(),
        Part::Metadata => objects::<true>(client, namespace, &kind, selection).boxed(),
    }
}

fn objects<const METADATA: bool>(
    client: Client,
    namespace: Option<String>,
    kind: &ApiResource,
    selection: watcher::Config,
) -> impl futures::Stream<Item = watcher::Result<Event<Came>>> + Send + use<METADATA> {
    let api = match namespace {
        Some(namespace) => Api::<Came<METADATA>>::namespaced_with(client, &namespace, kind),
        None => Api::all_with(client, kind),
    };
    let plain = |came: Came<METADATA>| Came { meta: came.meta, text: came.text };
    watcher(api, selection).default_backoff().map(move |event| {
        Ok(match event? {
            Event::Init => Event::Init,
            Event::InitApply(came) => Event::InitApply(plain(came)),
            Event::InitDone => Event::InitDone,
            Event::Apply(came) => Event::Apply(plain(came)),
            Event::Delete(came) => Event::Delete(plain(came)),
        })
    })
}

impl<const METADATA: bool> Came<METADATA> {
    pub(crate) fn text(&self) -> &str {
        self.text.get()
    }

    fn new(text: Box<RawValue>) -> Self {
        Self { meta: meta(text.get()), text }
    }
}

/// What identifies an object, whatever else is wrong with it.
fn meta(text: &str) -> ObjectMeta {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Identity {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
    }

    #[derive(Deserialize)]
    struct Identified {
        metadata: Identity,
    }

    let identity = serde_json::from_str(text).map_or_else(
        |_| {
            let object: Value = serde_json::from_str(text).unwrap_or_default();
            let field = |name: &str| object["metadata"][name].as_str().map(str::to_owned);
            Identity {
                name: field("name"),
                namespace: field("namespace"),
                uid: field("uid"),
                resource_version: field("resourceVersion"),
            }
        },
        |Identified { metadata }| metadata,
    );
    let Identity { name, namespace, uid, resource_version } = identity;
    ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
}

impl<const METADATA: bool> Resource for Came<METADATA> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.kind)
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.group)
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.version)
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.plural)
    }

    fn metadata_api() -> bool {
        METADATA
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de, const METADATA: bool> Deserialize<'de> for Came<METADATA> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW, AsItCame)
    }
}

/// The name at which serde_json hands out the text of a value. Were it another, values would be read as trees: slower, with
/// the same outcome.
const RAW: &str = "$serde_json::private::RawValue";

/// Takes an object as the text that it came as; or as a tree where the text is gone, which is so in an event that names its
/// object before its type.
struct AsItCame<const METADATA: bool>;

impl<'de, const METADATA: bool> Visitor<'de> for AsItCame<METADATA> {
    type Value = Came<METADATA>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Came<METADATA>, A::Error> {
        Box::<RawValue>::deserialize(MapAccessDeserializer::new(map)).map(Came::new)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Came<METADATA>, D::Error> {
        let tree = Value::deserialize(deserializer)?;
        to_raw_value(&tree).map(Came::new).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ObjectList, WatchEvent};

    const LIST: &str = r#"{"kind": "ReplicationControllerList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": [
        {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}, "spec": {"replicas": 1}},
        {"metadata": {"name": "b", "namespace": "n", "uid": "u", "resourceVersion": "2"}, "spec": {"replicas": 99999999999}},
        {"spec": {"replicas": 3}, "metadata": {"name": "c", "uid": {}, "resourceVersion": "3"}}]}"#;

    #[test]
    fn a_list_is_a_list_of_texts() {
        let list: ObjectList<Came> = serde_json::from_str(LIST).unwrap();
        let names: Vec<_> = list.items.iter().map(|item| item.meta.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let meta = &list.items[1].meta;
        assert_eq!((meta.uid.as_deref(), meta.resource_version.as_deref()), (Some("u"), Some("2")));
        let meta = &list.items[2].meta;
        assert_eq!((meta.uid.as_deref(), meta.resource_version.as_deref()), (None, Some("3")));
        assert_eq!(
            list.items[0].text(),
            r#"{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}, "spec": {"replicas": 1}}"#
        );
    }

    #[test]
    fn one_bad_change_does_not_end_a_watch() {
        let event = r#"{"type": "MODIFIED", "object": {"metadata": {"name": 5}, "spec": []}}"#;
        let WatchEvent::Modified(came) = serde_json::from_str::<WatchEvent<Came>>(event).unwrap() else {
            panic!("another event")
        };
        assert_eq!(
            (came.meta.name.as_deref(), came.text()),
            (None, r#"{"metadata": {"name": 5}, "spec": []}"#)
        );
    }

    #[test]
    fn an_event_may_name_its_object_first() {
        let event = r#"{"object": {"metadata": {"name": "a", "uid": "u"}, "spec": {"replicas": 99999999999}}, "type": "ADDED"}"#;
        let WatchEvent::Added(came) = serde_json::from_str::<WatchEvent<Came>>(event).unwrap() else {
            panic!("another event")
        };
        assert_eq!((came.meta.name.as_deref(), came.meta.uid.as_deref()), (Some("a"), Some("u")));
        assert!(came.text().contains("99999999999"));
    }
}
