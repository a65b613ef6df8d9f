//! The three kinds of patches: `(object, patch) → object`. Nothing is checked against the kind's fields
//! here; the caller passes the outcome through [`crate::strict::prune`].

mod error;
mod json;
mod merge;
mod restore;
mod strategic;
mod text;

use serde_json::{Map, Value};
use skiff_schema::Root;

use crate::{Object, go, strict};
pub use error::PatchError;
pub use restore::refuse_tree;
use text::parse;

/// Applies a JSON patch (RFC 6902).
pub fn json(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let operations = json::parse(patch)?;
    let mut document = Value::Object(object.as_map().clone());
    json::apply(&mut document, &operations)?;
    Object::from_value(document).map_err(|error| PatchError::Unprocessable(error.to_string()))
}

/// The containers that a JSON patch or a merge patch takes apart, as objects in objects; see [`crate::go::written`].
pub fn touched(patch: &[u8]) -> Value {
    match serde_json::from_slice(patch) {
        Ok(Value::Array(operations)) => json::touched(&operations),
        Ok(other) => other,
        Err(_) => Value::Null,
    }
}

/// What a patch says in vain: fields that it names twice, of a JSON patch also members that operations do not have.
pub fn problems(patch: &[u8]) -> Vec<String> {
    const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];
    let Ok(Value::Array(operations)) = serde_json::from_slice(patch) else {
        return strict::duplicates(patch).iter().map(|path| format!("duplicate field {path:?}")).collect();
    };
    let twice = strict::duplicates(patch);
    let twice = twice.iter().map(|path| format!("json patch duplicate field {path:?}"));
    let unknown = operations.iter().enumerate().flat_map(|(at, operation)| {
        let names = operation.as_object().into_iter().flat_map(Map::keys);
        let unknown = names.filter(|name| !MEMBERS.contains(&name.as_str()));
        unknown.map(move |name| format!("json patch unknown field {:?}", format!("[{at}].{name}")))
    });
    twice.chain(unknown).collect()
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let patch = parse_object(patch).map_err(PatchError::Decode)?;
    let mut document = object.as_map().clone();
    merge::apply(&mut document, patch);
    Ok(document.into())
}

/// Applies a strategic merge patch to an object of a definition.
pub fn strategic(object: &Object, patch: &[u8], root: &Root) -> Result<Object, PatchError> {
    let patch = parse_object(patch).map_err(PatchError::Malformed)?;
    let merged = strategic::apply(root.schema(), root.ty(), object.as_map().clone(), patch)?;
    Ok(merged.into())
}

/// The patch as an object, or why it is none in Go's words.
fn parse_object(patch: &[u8]) -> Result<Map<String, Value>, String> {
    match parse(patch)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => {
            let found = go::json_type(&other);
            Err(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_says_in_vain_is_told() {
        let check = |patch: &str, wanted: &[&str]| assert_eq!(problems(patch.as_bytes()), wanted, "{patch}");
        check(
            r#"{"spec":{"a":1,"a":2},"spec":{}}"#,
            &[r#"duplicate field "spec.a""#, r#"duplicate field "spec""#],
        );
        check(
            r#"[{"op":"add","op":"replace","path":"/a","value":1}]"#,
            &[r#"json patch duplicate field "[0].op""#],
        );
        check(r#"[{"op":"remove","path":"/a","why":1}]"#, &[r#"json patch unknown field "[0].why""#]);
        check(r#"{"a":1}"#, &[]);
    }
}
