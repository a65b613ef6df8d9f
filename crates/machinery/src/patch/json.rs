//! JSON patch: a list of operations on places named by JSON pointers.

use serde::Deserialize;
use serde_json::Value;

use super::PatchError;

/// Kubernetes refuses patches with more operations.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may add this many bytes to a document; each could double it.
const MAX_COPIED: usize = 3 << 20;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Operation {
    Add {
        path: Pointer,
        #[serde(default)]
        value: Value,
    },
    Remove {
        path: Pointer,
    },
    Replace {
        path: Pointer,
        #[serde(default)]
        value: Value,
    },
    Move {
        from: Pointer,
        path: Pointer,
    },
    Copy {
        from: Pointer,
        path: Pointer,
    },
    Test {
        path: Pointer,
        #[serde(default)]
        value: Value,
    },
}

/// A parsed JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!("the JSON pointer {text:?} does not start with '/'"));
        }
        let tokens = text.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Self { text, tokens })
    }
}

/// Reads the operations.
pub(super) fn parse(patch: &[u8]) -> Result<Vec<Operation>, PatchError> {
    let operations: Vec<Operation> = serde_json::from_slice(patch)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::Unprocessable(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    Ok(operations)
}

/// Carries the operations out in order; on an error the document is left half-changed.
pub(super) fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), PatchError> {
    let mut copied = 0;
    operations.iter().try_for_each(|operation| one(document, operation, &mut copied))
}

fn one(document: &mut Value, operation: &Operation, copied: &mut usize) -> Result<(), PatchError> {
    match operation {
        Operation::Add { path, value } => add(document, "add", path, value.clone()),
        Operation::Remove { path } => remove(document, "remove", path).map(drop),
        Operation::Replace { path, value } => {
            let place = find_mut(document, path).ok_or_else(|| missing("replace", path))?;
            *place = value.clone();
            Ok(())
        }
        Operation::Move { from, path } => {
            let value = remove(document, "move", from)?;
            add(document, "move", path, value)
        }
        Operation::Copy { from, path } => {
            let value = find_mut(document, from).ok_or_else(|| missing("copy", from))?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return Err(PatchError::Unprocessable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
            add(document, "copy", path, value)
        }
        Operation::Test { path, value } => match find_mut(document, path) {
            Some(found) if found == value => Ok(()),
            // As in Go's implementation: what is not there equals null.
            None if value.is_null() => Ok(()),
            _ => Err(PatchError::Unprocessable(format!("testing value {} failed: test failed", path.text))),
        },
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
    path.tokens.iter().try_fold(document, |value, token| match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(list) => {
            let at = index(token)?;
            list.get_mut(at)
        }
        _ => None,
    })
}

/// An array index: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| canonical)
}

/// The container of a place and the last token.
fn parent<'v, 'p>(document: &'v mut Value, path: &'p Pointer) -> Option<(&'v mut Value, &'p str)> {
    let (last, before) = path.tokens.split_last()?;
    let before = Pointer { text: String::new(), tokens: before.to_vec() };
    Some((find_mut(document, &before)?, last))
}

fn add(document: &mut Value, operation: &str, path: &Pointer, value: Value) -> Result<(), PatchError> {
    if path.tokens.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path) {
        Some((Value::Object(map), key)) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        Some((Value::Array(list), "-")) => {
            list.push(value);
            Ok(())
        }
        Some((Value::Array(list), token)) => match index(token).filter(|i| *i <= list.len()) {
            Some(at) => {
                list.insert(at, value);
                Ok(())
            }
            None => Err(bad_index(operation, path)),
        },
        _ => Err(missing(operation, path)),
    }
}

fn remove(document: &mut Value, operation: &str, path: &Pointer) -> Result<Value, PatchError> {
    match parent(document, path) {
        Some((Value::Object(map), key)) => map.remove(key).ok_or_else(|| missing(operation, path)),
        Some((Value::Array(list), token)) => match index(token).filter(|i| *i < list.len()) {
            Some(at) => Ok(list.remove(at)),
            None => Err(bad_index(operation, path)),
        },
        _ => Err(missing(operation, path)),
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
    fn refuses() {
        let check = |document: Value, patch: Value, malformed: bool, error: &str| {
            let got = patched(document, patch.clone()).unwrap_err();
            assert!(got.to_string().contains(error), "{patch}: {got}");
            assert_eq!(got.is_malformed(), malformed, "{patch}");
        };
        let op = |op: &str, path: &str| json!([{"op": op, "path": path, "value": 1}]);
        check(json!({}), op("replace", "/a"), false, "doc is missing path: \"/a\": missing value");
        check(json!({}), op("remove", "/a"), false, "remove operation does not apply");
        check(json!({}), op("add", "/a/b"), false, "doc is missing path");
        check(json!({"a": []}), op("add", "/a/1"), false, "invalid index referenced");
        check(json!({"a": [1]}), op("add", "/a/01"), false, "invalid index referenced");
        check(json!({"a": 2}), op("test", "/a"), false, "testing value /a failed: test failed");
        check(json!({}), op("test", "a"), true, "does not start with '/'");
        check(json!({}), op("frob", "/a"), true, "unknown variant");
        check(json!({}), json!({}), true, "error decoding patch");
    }
}
