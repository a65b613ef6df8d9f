//! Expressions of custom resources and policies: read, checked, and evaluated over an object.

use std::sync::LazyLock;

use serde_json::{Value as Json, json};
use skiff_cel::{Activation, DeclaredType, Environment, Field, ListKind, Value, limits};

static DECLARED: LazyLock<DeclaredType> = LazyLock::new(|| {
    let ports = DeclaredType::list(
        DeclaredType::object([
            ("name".to_owned(), Field::required(DeclaredType::string(Some(63), []))),
            ("port".to_owned(), Field::optional(DeclaredType::int_or_string(None))),
        ]),
        Some(10),
        ListKind::Map(vec!["name".to_owned()]),
    );
    let labels = DeclaredType::map(DeclaredType::string(None, []), None);
    DeclaredType::object([
        ("replicas".to_owned(), Field::optional(DeclaredType::integer())),
        ("ports".to_owned(), Field::optional(ports)),
        ("labels".to_owned(), Field::optional(labels)),
        ("since".to_owned(), Field::optional(DeclaredType::date_time())),
    ])
});
static ANY: LazyLock<DeclaredType> = LazyLock::new(DeclaredType::any);
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::builder()
        .variable("self", DECLARED.clone())
        .variable("oldSelf", DECLARED.clone().maybe())
        .variable("object", ANY.clone())
        .mutation()
        .build()
});
static JSON: LazyLock<Json> = LazyLock::new(|| {
    json!({
        "replicas": 3, "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": "dns"}],
        "labels": {"app": "web", "tier": "front"}, "since": "2024-02-29T12:34:56.789Z",
    })
});

pub(crate) fn run(text: &[u8]) {
    let text = crate::text(text);
    let Ok(program) = ENVIRONMENT.compile(text) else { return };
    let activation = Activation::new()
        .with("self", Value::read(&JSON, &DECLARED))
        .with("oldSelf", Value::Optional(None))
        .with("object", Value::read(&JSON, &ANY));
    if let Ok(value) = program.evaluate(&activation, limits::PER_CALL).result {
        drop(value.to_json());
    }
}
