//! JSON patch: a list of operations on places named by JSON pointers, with the liberties that Kubernetes' implementation takes.

use serde_json::{Map, Value};

use super::error::PatchError;
use super::text;
use crate::go;

/// Kubernetes refuses patches with more operations.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may add this many bytes to a document; each could double it.
const MAX_COPIED: usize = 3 << 20;

/// One operation, as it was sent.
#[derive(Debug)]
pub(super) struct Operation {
    op: String,
    /// None where nothing is named: that is an error when its turn comes.
    path: Option<Pointer>,
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
    let operations = match text::parse(patch).map_err(PatchError::Decode)? {
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
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        other => Err(wrong_type(&other, &format!("struct field jsonPatchOp.{field} of type string"))),
    };
    let (op, path, from) = (text("op")?, text("path")?, text("from")?);
    let value = members.remove("value").unwrap_or_default();
    let [path, from] = [path, from].map(|text| text.as_deref().map(Pointer::new));
    Ok(Operation { op: op.unwrap_or_default(), path, from: from.unwrap_or_default(), value })
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
    let path = path.as_ref().ok_or_else(|| {
        PatchError::Unprocessable(format!(
            "{op} operation failed to decode path: operation missing path field"
        ))
    })?;
    match op.as_str() {
        "add" => add(document, path, value.clone()),
        "remove" => remove(document, path),
        "replace" => replace(document, path, value.clone()),
        "move" => shift(document, from, path),
        "copy" => copy(document, from, path, copied),
        "test" => test(document, path, value),
        other => Err(format!("Unexpected kind: {other}")),
    }
    .map_err(PatchError::Unprocessable)
}

/// What went wrong, in the words of `json-patch`.
type Outcome<T = ()> = Result<T, String>;

const MISSING: &str = "missing value";
const INVALID_INDEX: &str = "invalid index referenced";
const FAILED: &str = "test failed";

/// An object or a list.
enum Container<'v> {
    Map(&'v mut Map<String, Value>),
    List(&'v mut Vec<Value>),
}

impl<'v> Container<'v> {
    fn of(value: &'v mut Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self::Map(map)),
            Value::Array(list) => Some(Self::List(list)),
            _ => None,
        }
    }

    /// That of the place that a pointer names, with the last token.
    fn parent<'p>(document: &'v mut Value, path: &'p Pointer) -> Option<(Self, &'p str)> {
        let (last, before) = path.tokens.split_last()?;
        Some((Self::of(walk(document, before)?)?, last))
    }

    /// What is not there in an object is null.
    fn get(&self, key: &str) -> Outcome<Value> {
        match self {
            Self::Map(map) => Ok(map.get(key).cloned().unwrap_or_default()),
            Self::List(list) => Ok(list[index(key, list.len())?].clone()),
        }
    }

    fn add(self, key: &str, value: Value) -> Outcome {
        match self {
            Self::Map(map) => drop(map.insert(key.to_owned(), value)),
            Self::List(list) if key == "-" => list.push(value),
            Self::List(list) => {
                let at = index(key, list.len() + 1).map_err(|why| {
                    let is_text = why.starts_with("strconv");
                    if is_text { format!("value was not a proper array index: '{key}': {why}") } else { why }
                })?;
                list.insert(at, value);
            }
        }
        Ok(())
    }

    /// Replaces what is there in a list, or adds to an object.
    fn set(self, key: &str, value: Value) -> Outcome {
        match self {
            Self::Map(map) => drop(map.insert(key.to_owned(), value)),
            Self::List(list) => {
                let at = index(key, list.len())?;
                list[at] = value;
            }
        }
        Ok(())
    }

    fn remove(self, key: &str) -> Outcome {
        match self {
            Self::Map(map) => map
                .remove(key)
                .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: {MISSING}"))?,
            Self::List(list) => {
                let at = index(key, list.len())?;
                list.remove(at)
            }
        };
        Ok(())
    }
}

fn walk<'v>(document: &'v mut Value, tokens: &[String]) -> Option<&'v mut Value> {
    tokens.iter().try_fold(document, |value, token| match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(list) => {
            let at = index(token, list.len()).ok()?;
            list.get_mut(at)
        }
        _ => None,
    })
}

/// The place that a token means among so many; from the end, if it is negative.
fn index(token: &str, places: usize) -> Outcome<usize> {
    let number: i64 =
        token.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", go::quoted(token)))?;
    let count = i64::try_from(places).unwrap_or(i64::MAX);
    let at = if number < 0 { number + count } else { number };
    usize::try_from(at)
        .ok()
        .filter(|at| *at < places)
        .ok_or_else(|| format!("Unable to access invalid index: {number}: {INVALID_INDEX}"))
}

fn add(document: &mut Value, path: &Pointer, value: Value) -> Outcome {
    let text = &path.text;
    let (container, key) = Container::parent(document, path)
        .ok_or_else(|| format!("add operation does not apply: doc is missing path: \"{text}\": {MISSING}"))?;
    container.add(key, value).map_err(|why| format!("error in add for path: '{text}': {why}"))
}

fn remove(document: &mut Value, path: &Pointer) -> Outcome {
    let text = &path.text;
    let (container, key) = Container::parent(document, path).ok_or_else(|| {
        format!("remove operation does not apply: doc is missing path: \"{text}\": {MISSING}")
    })?;
    container.remove(key).map_err(|why| format!("error in remove for path: '{text}': {why}"))
}

/// What is not there in an object is added. The document itself is replaced by an object or a list; by anything else nothing is.
fn replace(document: &mut Value, path: &Pointer, value: Value) -> Outcome {
    let text = &path.text;
    if text.is_empty() {
        if value.is_object() || value.is_array() {
            *document = value;
        }
        return Ok(());
    }
    let missing =
        |what: &str| format!("replace operation does not apply: doc is missing {what}: {text}: {MISSING}");
    let (container, key) = Container::parent(document, path).ok_or_else(|| missing("path"))?;
    container.get(key).map_err(|_| missing("key"))?;
    container.set(key, value).map_err(|why| format!("error in remove for path: '{text}': {why}"))
}

fn shift(document: &mut Value, from: &Pointer, path: &Pointer) -> Outcome {
    let missing = |what: &str, at: &Pointer| {
        format!("move operation does not apply: doc is missing {what}: {}: {MISSING}", at.text)
    };
    let (container, key) = Container::parent(document, from).ok_or_else(|| missing("from path", from))?;
    let wrong = |why: String| format!("error in move for path: '{key}': {why}");
    let value = container.get(key).map_err(wrong)?;
    container.remove(key).map_err(wrong)?;
    let (container, key) =
        Container::parent(document, path).ok_or_else(|| missing("destination path", path))?;
    container.add(key, value).map_err(|why| format!("error in move for path: '{}': {why}", path.text))
}

fn copy(document: &mut Value, from: &Pointer, path: &Pointer, copied: &mut usize) -> Outcome {
    let missing = |what: &str, at: &Pointer| {
        format!("copy operation does not apply: doc is missing {what}: {}: {MISSING}", at.text)
    };
    let (container, key) = Container::parent(document, from).ok_or_else(|| missing("from path", from))?;
    let value =
        container.get(key).map_err(|why| format!("error in copy for from: '{}': {why}", from.text))?;
    let (container, key) =
        Container::parent(document, path).ok_or_else(|| missing("destination path", path))?;
    *copied += value.to_string().len();
    if *copied > MAX_COPIED {
        return Err(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
        ));
    }
    container.add(key, value).map_err(|why| format!("error while adding value during copy: {why}"))
}

/// What is not there in an object equals null.
fn test(document: &mut Value, path: &Pointer, value: &Value) -> Outcome {
    let text = &path.text;
    let failed = || format!("testing value {text} failed: {FAILED}");
    if text.is_empty() {
        return if document == value { Ok(()) } else { Err(failed()) };
    }
    let (container, key) = Container::parent(document, path)
        .ok_or_else(|| format!("test operation does not apply: is missing path: {text}: {MISSING}"))?;
    let found = container.get(key).map_err(|why| format!("error in test for path: '{text}': {why}"))?;
    if found == *value { Ok(()) } else { Err(failed()) }
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
        check(json!({"a": 1}), op("test", "", json!({"a": 1})), json!({"a": 1}));
        check(json!({}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"b": null}));
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
        let nonexistent =
            "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value";
        check(json!({}), op("remove", "/a"), false, nonexistent);
        let nowhere = "remove operation failed to decode path: operation missing path field";
        check(json!({}), json!([{"op": "remove", "path": null}]), false, nowhere);
        check(json!({}), op("add", "/a/b"), false, "doc is missing path: \"/a/b\": missing value");
        check(json!({}), op("add", ""), false, "doc is missing path: \"\": missing value");
        check(json!({}), op("replace", "/a/b"), false, "doc is missing path: /a/b: missing value");
        check(json!({"a": []}), op("replace", "/a/0"), false, "doc is missing key: /a/0: missing value");
        let index = "Unable to access invalid index: 1: invalid index referenced";
        check(json!({"a": []}), op("add", "/a/1"), false, &format!("error in add for path: '/a/1': {index}"));
        check(
            json!({"a": []}),
            op("test", "/a/1"),
            false,
            &format!("error in test for path: '/a/1': {index}"),
        );
        let text = "value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax";
        check(json!({"a": []}), op("add", "/a/x"), false, text);
        let moved = json!([{"op": "move", "from": "/a", "path": "/b"}]);
        let why = "error in move for path: 'a': Unable to remove nonexistent key: a: missing value";
        check(json!({}), moved, false, why);
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
