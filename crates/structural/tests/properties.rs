//! What holds for every schema and every value.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use skiff_schema::Schema;
use skiff_structural::{
    Definition, KindName, ObjectMeta, Structural, check, check_lists, check_metadata, default, drop_nulls,
    openapi, prune, schema, validate, validate_update,
};

static KUBERNETES: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::kubernetes()));

/// Few names, so that schemas and values meet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[abc]", Just("metadata".to_owned()), Just("kind".to_owned()), Just("spec".to_owned())]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        any::<f64>()
            .prop_filter_map("JSON has no other", |n| serde_json::Number::from_f64(n).map(Value::from)),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A schema with some of what schemas may have, well-formed or not.
fn schema_json() -> impl Strategy<Value = Value> {
    let ty = prop_oneof!["object", "array", "string", "integer", "number", "boolean", "null"];
    let fact = prop_oneof![
        ty.prop_map(|ty| ("type", json!(ty))),
        any::<bool>().prop_map(|is| ("nullable", json!(is))),
        (0..3_i64).prop_map(|n| ("maxLength", json!(n))),
        (-2..3_i64).prop_map(|n| ("minimum", json!(n))),
        (-2..3_i64).prop_map(|n| ("multipleOf", json!(n))),
        "[ab(*\\[\\]^$.|?{}0-9\\\\]{0,6}".prop_map(|pattern| ("pattern", json!(pattern))),
        value().prop_map(|value| ("default", value)),
        prop::collection::vec(value(), 0..3).prop_map(|values| ("enum", json!(values))),
        prop::collection::vec(name(), 0..3).prop_map(|names| ("required", json!(names))),
        prop_oneof!["set", "map", "atomic"].prop_map(|ty| ("x-kubernetes-list-type", json!(ty))),
        prop::collection::vec(name(), 0..3).prop_map(|names| ("x-kubernetes-list-map-keys", json!(names))),
        Just(("x-kubernetes-preserve-unknown-fields", json!(true))),
        Just(("x-kubernetes-embedded-resource", json!(true))),
        Just(("x-kubernetes-int-or-string", json!(true))),
        prop_oneof!["date", "email", "uri", "int32", "duration"].prop_map(|format| ("format", json!(format))),
    ];
    let leaf = prop::collection::vec(fact, 0..4).prop_map(|facts| {
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()
    });
    leaf.prop_map(Value::Object).prop_recursive(4, 32, 4, |inner| {
        let below = prop_oneof![
            prop::collection::btree_map(name(), inner.clone(), 0..4)
                .prop_map(|all| ("properties", json!(all))),
            inner.clone().prop_map(|one| ("items", one)),
            inner.clone().prop_map(|one| ("additionalProperties", one)),
            inner.clone().prop_map(|one| ("not", one)),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| ("anyOf", json!(all))),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| ("oneOf", json!(all))),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| ("allOf", json!(all))),
        ];
        (inner, prop::collection::vec(below, 1..3)).prop_map(|(mut outer, facts)| {
            facts.into_iter().for_each(|(name, value)| outer[name] = value);
            outer
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_schema_treats_every_value(of in schema_json(), value in value(), old in value()) {
        let structural = Structural::parse(&of).unwrap();
        let meta = ObjectMeta::of(&KUBERNETES).unwrap();
        let errors = check(&structural, "s", Definition { has_status: false, ..Definition::default() }, &meta);
        if errors.is_empty() {
            let read = Structural::parse(&openapi::document(&structural));
            prop_assert_eq!(read.as_ref(), Ok(&structural));
        }
        let kind = KindName { group: "g", version: "v1", kind: "K" };
        prop_assert!(schema(&structural, kind, &KUBERNETES).is_some());
        let mut value = value;
        prune(&mut value, &structural, true);
        prop_assert_eq!(prune(&mut value, &structural, true), Vec::<String>::new());
        drop_nulls(&mut value, &structural);
        default(&mut value, &structural);
        let created = validate(&value, &structural);
        let updated = validate_update(&value, &old, &structural);
        prop_assert!(updated.len() <= created.len(), "{:?} and {:?}", created, updated);
        check_metadata(&value, &structural, true);
        check_lists(&value, &structural);
    }
}
