//! A small kind for the tests of the machinery, so that they do not depend on the rows.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use skiff_schema::{Root, Schema};

use crate::{
    Column, ColumnType, GroupVersion, Kind, Names, Persistence, Printer, Row, Scope, Strategy, Subresource,
    Verb,
};

struct Plain;

impl Strategy for Plain {}

/// A definition of Kubernetes; its schema is read once for all tests.
pub(crate) fn root(definition: &str) -> Root {
    static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::kubernetes()));
    SCHEMA.root(definition).unwrap_or_else(|| panic!("no definition {definition}"))
}

/// A namespaced kind of the group `example.com`, with the schema of a Service.
pub(crate) fn kind(plural: &'static str) -> Kind {
    Kind {
        gv: GroupVersion::fixed("example.com", "v1"),
        names: Names {
            kind: "Widget".into(),
            plural: plural.into(),
            singular: "widget".into(),
            short: vec!["w".into()],
            categories: vec!["all".into()],
            list: None,
        },
        scope: Scope::Namespaced,
        verbs: Verb::ALL,
        persistence: Persistence::Stored,
        subresources: vec![Subresource::Status].into(),
        scale: crate::scale::Paths::default(),
        versions: crate::Versions::default(),
        edition: String::new(),
        root: root("io.k8s.api.core.v1.Service"),
        counts_generations: false,
        deprecation: None,
        columns: vec![Column {
            name: "Name".into(),
            kind: ColumnType::String,
            format: "name".into(),
            description: "".into(),
            priority: 0,
        }],
        print: Printer::Fixed(|object, _| Row { cells: vec![Value::from(object.name())], completed: None }),
        selectable: Vec::new().into(),
        strategy: Arc::new(Plain),
    }
}
