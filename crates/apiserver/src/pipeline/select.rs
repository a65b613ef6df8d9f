//! Which entries a list or watch is about.

use skiff_machinery::selector::{FieldSelector, LabelSelector};
use skiff_machinery::{Kind, Object};
use skiff_store::{Entry, Key};

use super::call::Call;
use super::keys;
use crate::errors::ApiError;

/// The selectors of a request. Names and namespaces are compared with the key, so that a selection by name
/// decodes nothing.
#[derive(Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
    namespace: Option<String>,
    /// Whether objects have to be looked into.
    by_content: bool,
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
        let by_key = usize::from(fields.exact("metadata.name").is_some()) + usize::from(namespace.is_some());
        let by_content = !labels.is_everything() || fields.requirements().len() > by_key;
        Ok(Self { labels, fields, name, namespace, by_content })
    }

    /// Whether every object is selected.
    pub(crate) fn is_everything(&self) -> bool {
        !self.by_content && self.name.is_none() && self.namespace.is_none()
    }

    /// The only key that can match, if there is one.
    pub(crate) fn only_key(&self, call: &Call) -> Option<Key> {
        let name = self.name.as_deref()?;
        let namespace = match call.kind.scope {
            skiff_machinery::Scope::Cluster => "",
            skiff_machinery::Scope::Namespaced if call.namespace().is_empty() => self.namespace.as_deref()?,
            skiff_machinery::Scope::Namespaced => call.namespace(),
        };
        Some(keys::object(&call.kind, namespace, name))
    }

    /// Whether an entry is selected.
    pub(crate) fn matches(&self, call: &Call, entry: &Entry) -> Result<bool, ApiError> {
        if !self.matches_key(&call.kind, &entry.key) {
            return Ok(false);
        }
        if !self.by_content {
            return Ok(true);
        }
        Ok(self.matches_content(&call.kind, &*call.decoded(entry)?))
    }

    fn matches_key(&self, kind: &Kind, key: &Key) -> bool {
        if self.name.is_none() && self.namespace.is_none() {
            return true;
        }
        let (namespace, name) = keys::parts(kind, key);
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }

    fn matches_content(&self, kind: &Kind, object: &Object) -> bool {
        self.labels.matches(&object.labels()) && self.fields.matches(kind, object)
    }
}
