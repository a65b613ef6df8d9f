//! Which entries a list or watch is about.

use skiff_machinery::{
    Conversion, Kind, Object, Scope, keys,
    selector::{FieldSelector, LabelOperator, LabelRequirement, LabelSelector},
};
use skiff_store::{Entry, Extent, Key, Range, Store, Term};

use super::call::Call;
use super::labels::Labels;
use super::{codec, terms};
use crate::errors::ApiError;
use crate::registry::Registry;

/// The selectors of a request. What the store finds by itself (names, namespaces, the fields that objects are indexed by)
/// is not looked for in objects. It also finds those that have a label, among which the other labels are read without making trees
/// of them.
#[derive(Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
    namespace: Option<String>,
    /// What the keys start with.
    prefix: String,
    indexed: Option<Indexed>,
    /// Of which everything that is selected has one; none if that is not known.
    terms: Vec<Term>,
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
    pub(crate) fn of(call: &Call, store: &dyn Store) -> Result<Self, ApiError> {
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
        // What is stored may have other labels than what is made of it.
        let by_labels = !matches!(call.kind.versions.conversion, Conversion::Asked(_));
        let labelled = labels.requirements().iter().filter(|_| by_labels).filter_map(labelled);
        let of_field = indexed.iter().map(|indexed| vec![indexed.term.clone()]);
        let count = |terms: &Vec<Term>| store.extent(Range { prefix: &prefix, terms }).count;
        let terms = of_field.chain(labelled).min_by_key(count).unwrap_or_default();
        Ok(Self { labels, fields, name, namespace, prefix, indexed, terms, content })
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
        Range { prefix: &self.prefix, terms: &self.terms }
    }

    /// How many bytes of objects are looked into to find what is selected, as far as that is as much work as making trees of
    /// them.
    pub(crate) fn searched(&self, store: &dyn Store) -> usize {
        /// Reading labels takes so many times less.
        const LABELS: usize = 8;
        let Extent { count, average } = store.extent(self.range());
        match self.content {
            Content::Nothing => 0,
            Content::Labels => count * average / LABELS,
            Content::Everything => count * average,
        }
    }

    /// The only key that can match, if there is one.
    pub(crate) fn only_key(&self, call: &Call) -> Option<Key> {
        let name = self.name.as_deref()?;
        let namespace = match call.kind.scope {
            Scope::Cluster => "",
            Scope::Namespaced if call.namespace().is_empty() => self.namespace.as_deref()?,
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
                let fits = self.labels.matches(&Labels::of(&entry.key, &bytes)?.iter().collect());
                Ok(fits && self.indexed.as_ref().is_none_or(|indexed| indexed.is_in(&bytes)))
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
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }

    fn matches_object(&self, call: &Call, object: &Object) -> bool {
        self.labels.matches(&object.labels()) && self.fields.matches(&call.kind, object)
    }
}

/// The terms of which everything has one that fits a requirement; none if there are no such terms.
fn labelled(requirement: &LabelRequirement) -> Option<Vec<Term>> {
    let LabelOperator::In(values) = &requirement.operator else { return None };
    let terms = values.iter().map(|value| terms::label(&requirement.key, value));
    Some(terms.chain([terms::many_labels()]).collect())
}

/// As much of the keys as is known.
fn prefix(call: &Call, name: Option<&str>, namespace: Option<&str>) -> String {
    let namespace = match call.namespace() {
        "" => namespace.unwrap_or_default(),
        namespace => namespace,
    };
    let mut prefix = keys::collection(&call.kind, namespace);
    if call.kind.scope == Scope::Cluster || !namespace.is_empty() {
        prefix.push_str(name.unwrap_or_default());
    }
    prefix
}
