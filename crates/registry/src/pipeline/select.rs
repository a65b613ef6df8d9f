//! Which entries a list or watch is about.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use skiff_machinery::{
    Kind, Namespace, Object, Scope, keys,
    selector::{FieldSelector, LabelSelector},
};
use skiff_store::{Entry, Key, Range, Term};

use super::call::Call;
use super::{codec, terms};
use crate::errors::ApiError;
use crate::registry::Registry;

/// The selectors of a request. What the store finds by itself (names, namespaces, the fields that objects are indexed by)
/// is not looked for in objects, and labels are read without making trees of them.
#[derive(Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
    namespace: Option<String>,
    /// What the keys start with.
    prefix: String,
    indexed: Option<Indexed>,
    /// What the range of the store does not tell.
    content: Content,
}

/// A field by which the store finds objects, and what it has to be.
#[derive(Debug)]
struct Indexed {
    path: String,
    value: String,
    term: Term,
}

impl Indexed {
    fn of(path: &str, fields: &FieldSelector) -> Option<Self> {
        let value = fields.exact(path)?;
        Some(Self { path: path.to_owned(), value: value.to_owned(), term: terms::term(path, value) })
    }

    fn is_in(&self, object: &[u8]) -> bool {
        terms::text_at(object, &self.path).is_some_and(|value| value == self.value)
    }
}

/// What of objects has to be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Labels,
    Everything,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let bad = |error: &dyn std::fmt::Display| ApiError::BadRequest(error.to_string());
        let labels = LabelSelector::parse(call.query.get("labelSelector")).map_err(|error| bad(&error))?;
        let fields = FieldSelector::parse(call.query.get("fieldSelector")).map_err(|error| bad(&error))?;
        fields.check(&call.kind).map_err(|error| bad(&error))?;
        let name = match call.path.name.as_str() {
            "" => fields.exact("metadata.name").map(str::to_owned),
            name => Some(name.to_owned()),
        };
        let namespace = fields.exact("metadata.namespace").map(str::to_owned);
        let mut indexed = call.kind.selectable.iter().filter(|selectable| selectable.indexed);
        let indexed = indexed.find_map(|selectable| Indexed::of(&selectable.label, &fields));
        let told = [fields.exact("metadata.name").is_some(), namespace.is_some(), indexed.is_some()];
        let content = match told.into_iter().filter(|told| *told).count() {
            told if fields.requirements().len() > told => Content::Everything,
            _ if !labels.is_everything() => Content::Labels,
            _ => Content::Nothing,
        };
        let prefix = prefix(call, name.as_deref(), namespace.as_deref());
        Ok(Self { labels, fields, name, namespace, prefix, indexed, content })
    }

    /// Whether there is no selector at all.
    pub(crate) fn is_everything(&self) -> bool {
        self.is_range() && self.indexed.is_none() && self.namespace.is_none()
    }

    /// Whether everything in the range is selected.
    pub(crate) fn is_range(&self) -> bool {
        self.content == Content::Nothing && self.name.is_none() && self.namespace.is_none()
    }

    /// Where everything that is selected lies.
    pub(crate) fn range(&self) -> Range<'_> {
        Range { prefix: &self.prefix, term: self.indexed.as_ref().map(|indexed| &indexed.term) }
    }

    /// The only key that can match, if there is one.
    pub(crate) fn only_key(&self, call: &Call) -> Option<Key> {
        let name = self.name.as_deref()?;
        let namespace = match call.kind.scope {
            Scope::Cluster => Namespace::NONE,
            Scope::Namespaced if call.namespace().is_none() => Namespace::new(self.namespace.as_deref()?),
            Scope::Namespaced => call.namespace(),
        };
        Some(keys::object(&call.kind, namespace, name))
    }

    /// Whether an entry that was just written is selected. Many watches ask the same, so it is decoded once for all.
    pub(crate) fn matches(&self, registry: &Registry, call: &Call, entry: &Entry) -> Result<bool, ApiError> {
        if !self.matches_key(&call.kind, &entry.key) {
            return Ok(false);
        }
        if !self.indexed.as_ref().is_none_or(|indexed| indexed.is_in(&entry.value.bytes())) {
            return Ok(false);
        }
        match self.content {
            Content::Nothing => Ok(true),
            Content::Labels | Content::Everything => {
                Ok(self.matches_object(call, &*registry.decoded(call, entry)?))
            }
        }
    }

    /// Whether an entry of a listing of the range is selected.
    pub(crate) fn matches_listed(&self, call: &Call, entry: &Entry) -> Result<bool, ApiError> {
        if !self.matches_key(&call.kind, &entry.key) {
            return Ok(false);
        }
        match self.content {
            Content::Nothing => Ok(true),
            Content::Labels => {
                let bytes = entry.value.bytes();
                let metadata: Metadata<'_> = codec::metadata(&entry.key, &bytes)?.0;
                let labels = metadata.labels.unwrap_or_default();
                Ok(self.labels.matches(&labels.iter().map(|(key, value)| (&**key, &**value)).collect()))
            }
            Content::Everything => Ok(self.matches_object(call, &codec::decode(entry)?)),
        }
    }

    fn matches_key(&self, kind: &Kind, key: &Key) -> bool {
        if self.name.is_none() && self.namespace.is_none() {
            return true;
        }
        let (namespace, name) = keys::parts(kind, key.as_str());
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace.as_str())
    }

    fn matches_object(&self, call: &Call, object: &Object) -> bool {
        self.labels.matches(&object.labels()) && self.fields.matches(&call.kind, object)
    }
}

/// As much of the keys as is known.
fn prefix(call: &Call, name: Option<&str>, namespace: Option<&str>) -> String {
    let namespace = match call.namespace() {
        Namespace::NONE => Namespace::new(namespace.unwrap_or_default()),
        namespace => namespace,
    };
    let mut prefix = keys::collection(&call.kind, namespace);
    if call.kind.scope == Scope::Cluster || !namespace.is_none() {
        prefix.push_str(name.unwrap_or_default());
    }
    prefix
}

/// What label selectors look at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

/// A text of the stored bytes, copied only if it is escaped there.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
