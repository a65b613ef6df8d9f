//! A small kind for the tests of the machinery, so that they do not depend on the rows.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use skiff_schema::{Root, Schema};

use crate::{
    Column, ColumnType, GroupVersion, Kind, Names, Persistence, Row, Scope, Strategy, Subresource, Verb,
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
        },
        scope: Scope::Namespaced,
        verbs: Verb::ALL,
        persistence: Persistence::Stored,
        subresources: &[Subresource::Status],
        root: root("io.k8s.api.core.v1.Service"),
        counts_generations: false,
        deprecation: None,
        columns: vec![Column {
            name: "Name",
            kind: ColumnType::String,
            format: "name",
            description: "",
            priority: 0,
        }],
        print: |object, _| Row { cells: vec![Value::from(object.name())], completed: None },
        selectable: &[],
        strategy: Arc::new(Plain),
    }
}
