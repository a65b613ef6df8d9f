//! A small kind for the tests of the machinery, so that they do not depend on the rows.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    Column, ColumnType, GroupVersion, Kind, Names, Persistence, Row, Scope, Strategy, Subresource, Verb,
};

struct Plain;

impl Strategy for Plain {}

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
        definition: "io.k8s.api.core.v1.Service",
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
