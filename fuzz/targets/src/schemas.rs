//! Schemas of custom resources and values of them: schema, zero byte, value, zero byte, the value before.

use std::sync::{Arc, LazyLock};

use crate::halves;
use serde_json::Value;
use skiff_schema::Schema;
use skiff_structural::jsonpath::JsonPath;
use skiff_structural::{
    Definition, KindName, Malformed, ObjectMeta, Structural, check, check_lists, check_metadata, default,
    drop_nulls, openapi, prune, schema, validate, validate_update,
};

static KUBERNETES: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::kubernetes()));
static META: LazyLock<ObjectMeta> =
    LazyLock::new(|| ObjectMeta::of(&KUBERNETES).expect("Kubernetes has ObjectMeta"));

pub(crate) fn run(data: &[u8]) {
    let Some((text, rest)) = halves(data) else { return };
    let (value, old) = halves(rest).unwrap_or((rest, b"null"));
    if let Ok(path) = std::str::from_utf8(text).map(JsonPath::parse) {
        let object = serde_json::from_slice(value).unwrap_or(Value::Null);
        drop(path.map(|path| path.find(&object)));
    }
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return };
    let Ok(structural) = Structural::parse(&json) else { return };
    let errors = check(
        &structural,
        "spec.validation.openAPIV3Schema",
        Definition { has_status: true, ..Definition::default() },
        &META,
    );
    let kind = KindName { group: "example.com", version: "v1", kind: "Widget" };
    schema(&structural, kind, &KUBERNETES).expect("Kubernetes has ObjectMeta");
    if errors.is_empty() {
        let read = Structural::parse(&openapi::document(&structural));
        assert_eq!(read.as_ref(), Ok(&structural), "what was written is read again");
    }
    let (Ok(mut value), Ok(old)) =
        (serde_json::from_slice::<Value>(value), serde_json::from_slice::<Value>(old))
    else {
        return;
    };
    drop(META.coerce(&mut value, &structural, true, Malformed::Refuse));
    prune(&mut value, &structural, true);
    assert_eq!(prune(&mut value, &structural, true), Vec::<String>::new(), "what was pruned stays");
    drop_nulls(&mut value, &structural);
    default(&mut value, &structural);
    let errors = validate(&value, &structural);
    let after = validate_update(&value, &old, &structural);
    assert!(after.len() <= errors.len(), "an update is judged no harder than a create");
    check_metadata(&value, &structural, true);
    check_lists(&value, &structural);
}
