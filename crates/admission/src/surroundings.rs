//! What admission asks of the server that it is part of.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_cel::Authorizer;
use skiff_machinery::Object;
use skiff_schema::Root;

use crate::attributes::{Attributes, GroupVersionKind, GroupVersionResource};

/// A resource that holds the same objects under another group or version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivalent {
    /// Where they are found.
    pub resource: GroupVersionResource,
    /// Their kind there, or that of the subresource; `None` when it is not known.
    pub kind: Option<GroupVersionKind>,
}

/// What becomes of fields that a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are left out.
    Dropped,
    /// They are an error: `strict decoding error: unknown field "spec.x"`.
    Refused,
}

/// The kinds that are served.
pub trait Kinds: Send + Sync {
    /// All resources with the objects of this one, itself included, that have this subresource. Their order is that in which
    /// webhooks and policies with `matchPolicy: Equivalent` try them.
    fn equivalents(&self, resource: &GroupVersionResource, subresource: &str) -> Vec<Equivalent>;

    /// The object in another version of its kind.
    ///
    /// # Errors
    /// When there is no such version, or no way to it.
    fn convert(&self, object: &Object, kind: &GroupVersionKind) -> Result<Object, String>;

    /// Reads a tree as an object of the kind.
    ///
    /// # Errors
    /// When a value does not fit its field, or a field that the kind does not have is to be refused.
    fn decode(&self, kind: &GroupVersionKind, tree: Object, unknown: Unknown) -> Result<Object, String>;

    /// Fills the kind's defaults.
    fn fill(&self, kind: &GroupVersionKind, object: &mut Object);

    /// The schema of the kind, by which configurations are applied and expressions are checked; `None` when it is not known (yet).
    fn root(&self, kind: &GroupVersionKind) -> Option<Root>;

    /// The kinds of a resource, for checks of policies ahead of time.
    fn kinds_of(&self, resource: &GroupVersionResource) -> Vec<GroupVersionKind>;
}

/// The cluster's Namespaces.
#[async_trait]
pub trait Namespaces: Send + Sync {
    /// The Namespace with this name; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read now; the text says why.
    async fn get(&self, name: &str) -> Result<Option<Arc<Object>>, String>;
}

/// Who decides what users may do.
pub trait Authorizers: Send + Sync {
    /// Decides for the user of this request, and for ServiceAccounts whom expressions ask about. Made once for each request and
    /// plugin, so that it may keep its answers.
    fn of<'a>(&'a self, attributes: &'a Attributes) -> Box<dyn Authorizer + 'a>;
}

/// Everything that webhooks and policies ask for.
#[derive(Clone)]
pub struct Surroundings {
    /// The kinds that are served.
    pub kinds: Arc<dyn Kinds>,
    /// The cluster's Namespaces.
    pub namespaces: Arc<dyn Namespaces>,
    /// Who decides what users may do.
    pub authorizers: Arc<dyn Authorizers>,
}

/// The text at a field; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a field; none when there is no list.
pub(crate) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts at a field.
pub(crate) fn texts(value: &Value, field: &str) -> Vec<String> {
    items(value, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
