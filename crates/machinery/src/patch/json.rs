//! JSON patch: a list of operations on places named by JSON pointers, with the liberties that Kubernetes' implementation takes.

use serde_json::{Map, Value};

use super::PatchError;
use crate::go;

/// Kubernetes refuses patches with more operations.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may add this many bytes to a document; each could double it.
const MAX_COPIED: usize = 3 << 20;

/// One operation, as it was sent.
#[derive(Debug)]
pub(super) struct Operation {
    op: String,
    path: Pointer,
    from: Pointer,
    value: Value,
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pointer {
    text: String,
    /// What stands before the first slash counts for nothing.
    tokens: Vec<String>,
}

impl Pointer {
    fn new(text: &str) -> Self {
        let tokens = text.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
        Self { text: text.to_owned(), tokens }
    }
}

/// Reads the operations.
pub(super) fn parse(patch: &[u8]) -> Result<Vec<Operation>, PatchError> {
    let operations = match super::parse(patch).map_err(PatchError::Decode)? {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => return Err(wrong_type(&other, "value of type []handlers.jsonPatchOp")),
    };
    let operations: Vec<Operation> = operations.into_iter().map(operation).collect::<Result<_, _>>()?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    Ok(operations)
}

fn operation(value: Value) -> Result<Operation, PatchError> {
    let mut members = match value {
        Value::Object(members) => members,
        Value::Null => Map::new(),
        other => return Err(wrong_type(&other, "value of type handlers.jsonPatchOp")),
    };
    let mut text = |field: &str| match members.remove(field).unwrap_or_default() {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(wrong_type(&other, &format!("struct field jsonPatchOp.{field} of type string"))),
    };
    let (op, path, from) = (text("op")?, text("path")?, text("from")?);
    let value = members.remove("value").unwrap_or_default();
    Ok(Operation { op, path: Pointer::new(&path), from: Pointer::new(&from), value })
}

fn wrong_type(found: &Value, place: &str) -> PatchError {
    PatchError::Decode(format!("json: cannot unmarshal {} into Go {place}", go::json_type(found)))
}

/// Carries the operations out in order; on an error the document is left half-changed.
pub(super) fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), PatchError> {
    let mut copied = 0;
    operations.iter().try_for_each(|operation| one(document, operation, &mut copied))
}

/// What the operations take apart, as objects in objects.
pub(super) fn touched(operations: &[Value]) -> Value {
    let mut root = Value::Object(Map::new());
    let places = operations.iter().flat_map(|operation| [&operation["path"], &operation["from"]]);
    for pointer in places.filter_map(Value::as_str).map(Pointer::new) {
        let Some((_, parents)) = pointer.tokens.split_last() else { continue };
        parents.iter().fold(&mut root, |place, token| &mut place[token.as_str()]);
    }
    fill(&mut root);
    root
}

/// Makes an object of what was only passed through.
fn fill(place: &mut Value) {
    match place {
        Value::Object(members) => members.values_mut().for_each(fill),
        other => *other = Value::Object(Map::new()),
    }
}

fn one(document: &mut Value, operation: &Operation, copied: &mut usize) -> Result<(), PatchError> {
    let Operation { op, path, from, value } = operation;
    match op.as_str() {
        "add" => add(document, "add", path, value.clone()),
        "remove" => remove(document, "remove", path).map(drop),
        "replace" => replace(document, path, value.clone()),
        "move" => {
            let value = remove(document, "move", from)?;
            add(document, "move", path, value)
        }
        "copy" => {
            let value = find_mut(document, from).ok_or_else(|| missing("copy", from))?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return Err(PatchError::Unprocessable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
            add(document, "copy", path, value)
        }
        "test" => test(document, path, value),
        other => Err(PatchError::Unprocessable(format!("Unexpected kind: {other}"))),
    }
}

fn missing(operation: &str, path: &Pointer) -> PatchError {
    let text = &path.text;
    PatchError::Unprocessable(format!(
        "{operation} operation does not apply: doc is missing path: {text:?}: missing value"
    ))
}

fn bad_index(operation: &str, path: &Pointer) -> PatchError {
    let text = &path.text;
    PatchError::Unprocessable(format!(
        "{operation} operation does not apply: doc is missing path: {text:?}: invalid index referenced"
    ))
}

fn find_mut<'v>(document: &'v mut Value, path: &Pointer) -> Option<&'v mut Value> {
    walk(document, &path.tokens)
}

fn walk<'v>(document: &'v mut Value, tokens: &[String]) -> Option<&'v mut Value> {
    tokens.iter().try_fold(document, |value, token| match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(list) => {
            let at = index(token, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

/// The place that a token means among so many; from the end, if it is negative.
fn index(token: &str, places: usize) -> Option<usize> {
    let at: i64 = token.parse().ok()?;
    let places = i64::try_from(places).ok()?;
    let at = if at < 0 { at + places } else { at };
    (0..places).contains(&at).then(|| usize::try_from(at).ok()).flatten()
}

/// The container of a place and the last token.
fn parent<'v, 'p>(document: &'v mut Value, path: &'p Pointer) -> Option<(&'v mut Value, &'p str)> {
    let (last, before) = path.tokens.split_last()?;
    Some((walk(document, before)?, last))
}

fn add(document: &mut Value, operation: &str, path: &Pointer, value: Value) -> Result<(), PatchError> {
    match parent(document, path) {
        Some((Value::Object(map), key)) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        Some((Value::Array(list), "-")) => {
            list.push(value);
            Ok(())
        }
        Some((Value::Array(list), token)) => match index(token, list.len() + 1) {
            Some(at) => {
                list.insert(at, value);
                Ok(())
            }
            None => Err(bad_index(operation, path)),
        },
        _ => Err(missing(operation, path)),
    }
}

/// What is not there in an object is added. The document itself is replaced by an object or a list; by anything else nothing is.
fn replace(document: &mut Value, path: &Pointer, value: Value) -> Result<(), PatchError> {
    if path.text.is_empty() {
        if value.is_object() || value.is_array() {
            *document = value;
        }
        return Ok(());
    }
    match parent(document, path) {
        Some((Value::Object(map), key)) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        Some((Value::Array(list), token)) => {
            let at = index(token, list.len()).ok_or_else(|| missing("replace", path))?;
            list[at] = value;
            Ok(())
        }
        _ => Err(missing("replace", path)),
    }
}

fn remove(document: &mut Value, operation: &str, path: &Pointer) -> Result<Value, PatchError> {
    match parent(document, path) {
        Some((Value::Object(map), key)) => map.remove(key).ok_or_else(|| missing(operation, path)),
        Some((Value::Array(list), token)) => match index(token, list.len()) {
            Some(at) => Ok(list.remove(at)),
            None => Err(bad_index(operation, path)),
        },
        _ => Err(missing(operation, path)),
    }
}

/// What is not there in a container equals null.
fn test(document: &mut Value, path: &Pointer, value: &Value) -> Result<(), PatchError> {
    let failed = || PatchError::Unprocessable(format!("testing value {} failed: test failed", path.text));
    match parent(document, path) {
        Some((Value::Object(map), key)) => {
            if map.get(key).unwrap_or(&Value::Null) == value {
                Ok(())
            } else {
                Err(failed())
            }
        }
        Some((Value::Array(list), token)) => match index(token, list.len()) {
            Some(at) if list[at] == *value => Ok(()),
            Some(_) => Err(failed()),
            None => Err(bad_index("test", path)),
        },
        _ => Err(missing("test", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(mut document: Value, patch: Value) -> Result<Value, PatchError> {
        apply(&mut document, &parse(patch.to_string().as_bytes())?)?;
        Ok(document)
    }

    #[test]
    fn applies() {
        let check = |document: Value, patch: Value, expected: Value| {
            assert_eq!(patched(document, patch.clone()).unwrap(), expected, "{patch}");
        };
        let op = |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
        check(json!({"a": 1}), op("add", "/b", json!(2)), json!({"a": 1, "b": 2}));
        check(json!({"a": [1, 3]}), op("add", "/a/1", json!(2)), json!({"a": [1, 2, 3]}));
        check(json!({"a": [1]}), op("add", "/a/-", json!(2)), json!({"a": [1, 2]}));
        check(json!({"a/b~": 1}), op("replace", "/a~1b~0", json!(2)), json!({"a/b~": 2}));
        check(json!({"a": 1}), op("replace", "", json!({"b": 2})), json!({"b": 2}));
        check(json!({"a": 1}), op("replace", "", json!(2)), json!({"a": 1}));
        check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2]}));
        check(
            json!({"a": {"b": 1}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
            json!({"a": {}, "c": 1}),
        );
        check(json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1}));
        check(json!({"a": 1}), op("test", "/a", json!(1)), json!({"a": 1}));
        check(json!({}), op("test", "/a", Value::Null), json!({}));
    }

    #[test]
    fn bounds_what_copies_add() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let error = patched(json!({"a": ["x"]}), Value::Array(vec![double; 100])).unwrap_err();
        assert!(error.to_string().contains("exceeding the limit 3145728"), "{error}");
    }

    #[test]
    fn takes_liberties() {
        let check = |document: Value, patch: Value, expected: Value| {
            assert_eq!(patched(document, patch.clone()).unwrap(), expected, "{patch}");
        };
        let op = |op: &str, path: &str| json!([{"op": op, "path": path, "value": 9}]);
        check(json!({}), op("replace", "/a"), json!({"a": 9}));
        check(json!({"a": [1, 2]}), op("remove", "/a/-1"), json!({"a": [1]}));
        check(json!({"a": [1, 2]}), op("replace", "/a/-2"), json!({"a": [9, 2]}));
        check(json!({"a": [1, 2]}), op("add", "/a/-1"), json!({"a": [1, 2, 9]}));
        check(json!({"a": [1]}), op("add", "/a/01"), json!({"a": [1, 9]}));
        check(json!({}), op("add", "x/a"), json!({"a": 9}));
    }

    #[test]
    fn what_is_taken_apart_is_told() {
        let patch = json!([{"op": "add", "path": "/a/b/c", "value": 1}, {"op": "remove", "path": "/a/d/0"}, {"op": "test", "path": "/e"}]);
        let Value::Array(operations) = &patch else { panic!() };
        assert_eq!(touched(operations), json!({"a": {"b": {}, "d": {}}}));
    }

    #[test]
    fn refuses() {
        let check = |document: Value, patch: Value, malformed: bool, error: &str| {
            let got = patched(document, patch.clone()).unwrap_err();
            assert!(got.to_string().contains(error), "{patch}: {got}");
            assert_eq!(matches!(got, PatchError::Decode(_)), malformed, "{patch}");
        };
        let op = |op: &str, path: &str| json!([{"op": op, "path": path, "value": 1}]);
        check(json!({}), op("remove", "/a"), false, "remove operation does not apply");
        check(json!({}), op("add", "/a/b"), false, "doc is missing path");
        check(json!({}), op("add", ""), false, "doc is missing path");
        check(json!({"a": []}), op("add", "/a/1"), false, "invalid index referenced");
        check(json!({"a": []}), op("test", "/a/0"), false, "invalid index referenced");
        check(json!({"a": 2}), op("test", "/a"), false, "testing value /a failed: test failed");
        check(json!({}), op("frob", "/a"), false, "Unexpected kind: frob");
        check(json!({}), json!([{"path": "/a"}]), false, "Unexpected kind: ");
        let type_error = "error decoding patch: json: cannot unmarshal";
        check(
            json!({}),
            json!({}),
            true,
            &format!("{type_error} object into Go value of type []handlers.jsonPatchOp"),
        );
        check(
            json!({}),
            json!([1]),
            true,
            &format!("{type_error} number into Go value of type handlers.jsonPatchOp"),
        );
        check(
            json!({}),
            json!([{"op": 1}]),
            true,
            &format!("{type_error} number into Go struct field jsonPatchOp.op of type string"),
        );
    }
}
