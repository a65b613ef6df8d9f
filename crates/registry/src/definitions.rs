//! Custom kinds: what the CustomResourceDefinitions in the store define is offered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_kinds::custom;
use skiff_machinery::{Kind, Object, keys};
use skiff_schema::Schema;
use skiff_store::Model;

use crate::services::{Converters, Offer};

/// The kinds of each definition that is served.
pub(crate) struct Definitions {
    kubernetes: Arc<Schema>,
    offer: Arc<dyn Offer>,
    converters: Converters,
    /// By the definition's key.
    kinds: BTreeMap<String, Vec<Arc<Kind>>>,
}

impl Definitions {
    /// None as yet. The schema is that of the built-in kinds.
    pub(crate) fn new(kubernetes: Arc<Schema>, offer: Arc<dyn Offer>, converters: Converters) -> Self {
        Self { kubernetes, offer, converters, kinds: BTreeMap::new() }
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
        match custom::kinds(&definition, &self.kubernetes, &*self.converters) {
            Ok(kinds) => drop(self.kinds.insert(key.to_owned(), kinds.into_iter().map(Arc::new).collect())),
            Err(error) => tracing::error!(key, %error, "a definition cannot be served"),
        }
    }

    fn remove(&mut self, key: &str) {
        self.kinds.remove(key);
    }

    fn settle(&mut self) {
        let kinds: Vec<Arc<Kind>> = self.kinds.values().flatten().cloned().collect();
        self.offer.replace(&kinds);
    }
}
