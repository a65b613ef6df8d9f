//! Custom kinds: what the CustomResourceDefinitions in the store define is offered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_kinds::custom;
use skiff_machinery::{Convert, ConvertError, Converting, GroupVersion, Kind, Object};
use skiff_schema::Schema;

use crate::offer::Offers;
use crate::pipeline::keys;
use crate::view::Model;

/// The kinds of each definition that is served.
pub(crate) struct Definitions {
    kubernetes: Arc<Schema>,
    offers: Arc<Offers>,
    /// By the definition's key.
    kinds: BTreeMap<String, Vec<Arc<Kind>>>,
}

impl Definitions {
    /// None as yet. The schema is that of the built-in kinds.
    pub(crate) fn new(kubernetes: Arc<Schema>, offers: Arc<Offers>) -> Self {
        Self { kubernetes, offers, kinds: BTreeMap::new() }
    }
}

impl Model for Definitions {
    const PREFIX: &'static str = keys::DEFINITIONS;

    fn reset(&mut self) {
        self.kinds.clear();
    }

    /// A definition that is not established, or cannot be read, offers nothing.
    fn put(&mut self, key: &str, value: &[u8]) {
        self.kinds.remove(key);
        let definition = match serde_json::from_slice::<Value>(value) {
            Ok(tree) => Object::from_value(tree).unwrap_or_default(),
            Err(error) => return tracing::error!(key, %error, "no kind comes of a damaged definition"),
        };
        if !custom::is_established(&definition) {
            return;
        }
        match custom::kinds(&definition, &self.kubernetes, &|_| Arc::new(NoWebhook)) {
            Ok(kinds) => drop(self.kinds.insert(key.to_owned(), kinds.into_iter().map(Arc::new).collect())),
            Err(error) => tracing::error!(key, %error, "a definition cannot be served"),
        }
    }

    fn remove(&mut self, key: &str) {
        self.kinds.remove(key);
    }

    fn settle(&mut self) {
        let kinds: Vec<Arc<Kind>> = self.kinds.values().flatten().cloned().collect();
        self.offers.replace(&kinds);
    }
}

/// What converts objects as long as webhooks are not called.
struct NoWebhook;

impl Convert for NoWebhook {
    fn convert(&self, _: Vec<Object>, to: &GroupVersion) -> Converting<'_> {
        let error = ConvertError(format!("conversion webhook for {to} cannot be called"));
        Box::pin(async { Err(error) })
    }
}
