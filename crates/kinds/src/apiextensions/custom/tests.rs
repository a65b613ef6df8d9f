use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use skiff_machinery::{ConvertError, Converting, GroupVersion, Subresource, Verb};

use super::*;
use crate::shared::testing::{object, texts, with_context};

struct Nobody;

impl Convert for Nobody {
    fn convert(&self, _: Vec<Object>, _: &GroupVersion) -> Converting<'_> {
        Box::pin(async { Err(ConvertError("nobody".to_owned())) })
    }
}

fn made(definition: Value) -> Vec<Kind> {
    let kubernetes = Arc::new(Schema::kubernetes());
    kinds(&object(definition), &kubernetes, &|_| Arc::new(Nobody)).unwrap()
}

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "maximum": 9}, "color": {"type": "string", "default": "red"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}});
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": schema},
                {"name": "v1alpha1", "served": false, "storage": false, "schema": schema},
                {"name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
                        {"name": "Since", "type": "date", "jsonPath": ".status.since"},
                        {"name": "Odd", "type": "integer", "jsonPath": ".spec.color"}]}]},
        "status": {"acceptedNames": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]}},
    })
}

#[test]
fn each_served_version_is_a_kind() {
    let kinds = made(definition());
    let versions: Vec<&str> = kinds.iter().map(|kind| &*kind.gv.version).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    assert_eq!(kinds[0].subresources[..], [Subresource::Scale, Subresource::Status]);
    assert!(kinds[1].subresources.is_empty() && kinds[0].offers(Verb::Create));
    assert_eq!(kinds[1].versions.storage.as_ref().map(|storage| &*storage.version), Some("v1"));
    assert_eq!(
        kinds[1].deprecation.as_deref(),
        Some("example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget")
    );
}

#[test]
fn a_kind_that_goes_takes_no_new_objects() {
    let mut definition = definition();
    definition["status"]["conditions"] = json!([{"type": "Terminating", "status": "True"}]);
    let kinds = made(definition);
    assert!(!kinds[0].offers(Verb::Create) && kinds[0].offers(Verb::Delete));
}

#[test]
fn objects_follow_the_schema() {
    let kind = &made(definition())[0];
    let read = |tree: Value| kind.strategy.prune(tree, &kind.root).unwrap();
    let decoded =
        read(json!({"metadata": {"name": "a", "x": 1}, "spec": {"size": 3, "color": null, "y": {}}}));
    assert_eq!(decoded.problems, [r#"unknown field "metadata.x""#, r#"unknown field "spec.y""#]);
    assert_eq!(decoded.object.get(&["spec"]), Some(&json!({"size": 3, "color": "red"})));
    let errors = |tree: Value| texts(with_context(|cx| kind.strategy.validate(cx, &read(tree).object)));
    assert_eq!(errors(json!({"spec": {}})), ["spec.size: Required value"]);
    assert_eq!(
        errors(json!({"spec": {"size": 10}})),
        ["spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"]
    );
}

#[test]
fn columns_and_fields_are_paths() {
    let kind = &made(definition())[0];
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    let widget = object(json!({"metadata": {"name": "a"}, "spec": {"size": 3, "color": "blue"},
        "status": {"since": "2026-01-01T00:00:00Z"}}));
    let row = kind.print.row(&widget, now);
    assert_eq!(row.cells, [json!("a"), json!(3), json!("blue"), json!("60m"), Value::Null]);
    assert_eq!(row.cells.len(), kind.columns.len());
    let fields: BTreeMap<&str, String> =
        kind.selectable.iter().map(|field| (&*field.label, field.value(&widget))).collect();
    assert_eq!(fields, BTreeMap::from([("spec.color", "blue".to_owned())]));
    assert_eq!(kind.scale.spec, ["spec", "size"]);
    let plain = &made(definition())[1];
    let names: Vec<&str> = plain.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn versions_are_ordered_by_stability() {
    let mut versions = [
        "v1alpha1",
        "foo1",
        "v10",
        "v2beta1",
        "v2",
        "v11alpha2",
        "v1",
        "v12alpha1",
        "v3beta1",
        "foo10",
        "v11beta2",
    ];
    versions.sort_by(|a, b| prefer(a, b));
    let wanted = [
        "v10",
        "v2",
        "v1",
        "v11beta2",
        "v3beta1",
        "v2beta1",
        "v12alpha1",
        "v11alpha2",
        "v1alpha1",
        "foo1",
        "foo10",
    ];
    assert_eq!(versions, wanted);
}

#[test]
fn rules_say_at_once_what_is_refused_and_what_is_warned_of() {
    let mut definition = definition();
    let size = &mut definition["spec"]["versions"][2]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["size"];
    size["x-kubernetes-validations"] = json!([{"rule": "self > 1"}]);
    let kind = &made(definition)[0];
    let widget = |size: i64, ready: i64| object(json!({"spec": {"size": size}, "status": {"ready": ready}}));
    let check = |part: Option<Subresource>, old: &Object, new: &Object, errors: usize, warnings: usize| {
        let found = with_context(|cx| kind.strategy.check_change(cx, part, new, old));
        assert_eq!((found.errors.len(), found.warnings.len()), (errors, warnings), "{found:?}");
    };
    for part in [None, Some(Subresource::Status), Some(Subresource::Scale)] {
        check(part, &widget(1, 0), &widget(1, 1), 0, 1);
        check(part, &widget(2, 0), &widget(2, 1), 0, 0);
    }
    check(None, &widget(2, 0), &widget(1, 0), 1, 0);
    check(Some(Subresource::Scale), &widget(2, 0), &widget(1, 0), 1, 0);
}

#[test]
fn a_kind_is_another_one_when_its_definition_says_something_else() {
    let edition = |change: fn(&mut Value)| {
        let mut definition = definition();
        change(&mut definition);
        made(definition)[0].edition.clone()
    };
    let first = edition(|_| ());
    assert_eq!(edition(|definition| definition["metadata"]["generation"] = 2.into()), first);
    assert_eq!(edition(|definition| definition["status"]["conditions"] = json!([])), first);
    assert_ne!(edition(|definition| definition["metadata"]["uid"] = "b".into()), first);
    assert_ne!(edition(|definition| definition["status"]["acceptedNames"]["listKind"] = "Ws".into()), first);
    assert_ne!(edition(|definition| definition["spec"]["versions"][0]["served"] = false.into()), first);
}
