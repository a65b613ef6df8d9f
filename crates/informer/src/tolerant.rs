//! Objects are decoded one by one: one that cannot be read does not hide the others.
//!
//! A list is answered whole, so that one object of a shape that `K` does not know would fail all of it, at every retry.
//! A watch of [`Tolerant`] objects gets the others, and of that one its name: consumers keep what they knew of it.

use crate::text::{self, Came, Part};
use crate::unreadable::{self, KindName};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::core::ApiResource;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};

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

impl<K: Resource> Tolerant<K> {
    /// Its metadata; of an object that could not be decoded what identifies it.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(object) => &object.meta,
        }
    }
}

impl<K: DeserializeOwned> Tolerant<K> {
    fn decode(came: &Came) -> Self {
        match serde_json::from_str(came.text()) {
            Ok(object) => Self::Readable(object),
            Err(error) => Self::Unreadable(Unreadable {
                meta: came.meta.clone(),
                why: without_content(&error.to_string()),
            }),
        }
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
    api: Api<K>,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<K>>>> + Send + use<K>
where
    K: Resource + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    watch_objects_of(api, &K::DynamicType::default(), selection)
}

/// The same, of a kind that is known only when the program runs.
pub fn watch_objects_of<K>(
    api: Api<K>,
    kind: &K::DynamicType,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<K>>>> + Send + use<K>
where
    K: Resource + DeserializeOwned + Send + 'static,
{
    let namespace = api.namespace().map(str::to_owned);
    let part = if K::metadata_api() { Part::Metadata } else { Part::Whole };
    watch_decoded(api.into_client(), namespace, ApiResource::erase::<K>(kind), part, selection)
}

/// What `T` reads of the metadata of all objects of a kind, as [`watch_objects`] does.
pub fn watch_metadata<T>(
    client: Client,
    kind: &ApiResource,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<T>>>> + Send + use<T>
where
    T: DeserializeOwned + Send + 'static,
{
    watch_decoded(client, None, kind.clone(), Part::Metadata, watcher::Config::default())
}

fn watch_decoded<T: DeserializeOwned + Send + 'static>(
    client: Client,
    namespace: Option<String>,
    kind: ApiResource,
    part: Part,
    selection: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Tolerant<T>>>> + Send + use<T> {
    let name = KindName::of(&kind);
    let came = text::watch(client.clone(), namespace, kind, part, selection);
    came.map(move |event| {
        let decode = |came: &Came| {
            let object = Tolerant::decode(came);
            if let Tolerant::Unreadable(object) = &object {
                unreadable::tell(&client, &name, object);
            }
            object
        };
        Ok(match event? {
            Event::Init => Event::Init,
            Event::InitApply(came) => Event::InitApply(decode(&came)),
            Event::InitDone => Event::InitDone,
            Event::Apply(came) => Event::Apply(decode(&came)),
            // Who is told that it is gone needs no more than its name.
            Event::Delete(came) => Event::Delete(Tolerant::decode(&came)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ReplicationController, Secret};
    fn read<K: DeserializeOwned>(text: &str) -> Tolerant<K> {
        Tolerant::decode(&serde_json::from_str::<Came>(text).unwrap())
    }

    /// The text of an object is decoded as it came: without it the message could not say where.
    #[test]
    fn objects_are_read_from_their_text() {
        let text = r#"{"metadata": {"name": "b", "uid": "u", "resourceVersion": "2"}, "spec": []}"#;
        let Tolerant::Unreadable(bad) = read::<ReplicationController>(text) else { panic!("readable") };
        assert!(bad.why.ends_with("at line 1 column 74"), "{}", bad.why);
        assert_eq!((bad.meta.uid.as_deref(), bad.meta.resource_version.as_deref()), (Some("u"), Some("2")));
    }

    #[test]
    fn reasons_quote_nothing_of_the_object() {
        let check = |text: &str| {
            let Tolerant::Unreadable(Unreadable { why, .. }) = read::<Secret>(text) else {
                panic!("readable")
            };
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
