//! Variables that the cases use, and values as text.

#![allow(dead_code, reason = "not every test uses all")]

use serde_json::{Value as Json, json};
use skiff_cel::{
    Action, Activation, Authorization, Authorizer, Decision, DeclaredType, Environment, Field, Kubernetes,
    ListKind, Subject, Value,
};

pub(crate) struct Fixture {
    pub(crate) environment: Environment,
    declared: DeclaredType,
    any: DeclaredType,
    new: Json,
    old: Json,
    dynamic: Json,
}

struct Rules;

impl Authorizer for Rules {
    fn authorize(&self, subject: &Subject, action: &Action<'_>) -> Decision {
        let who = match subject {
            Subject::Requester => "alice".to_owned(),
            Subject::ServiceAccount { namespace, name } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
        };
        let verb = match action {
            Action::Path { verb, .. } | Action::Resource { verb, .. } => *verb,
        };
        let reason = match action {
            Action::Path { path, verb } => format!(
                "{who} false path={path:?} group=\"\" res=\"\" sub=\"\" ns=\"\" name=\"\" verb={verb:?} f=[]/false l=/false"
            ),
            Action::Resource {
                group,
                resource,
                subresource,
                namespace,
                name,
                verb,
                field_selector,
                label_selector,
            } => format!(
                "{who} true path=\"\" group={group:?} res={resource:?} sub={subresource:?} ns={namespace:?} name={name:?} \
                 verb={verb:?} f={}/false l={}/false",
                // As the recorded answers show what was parsed.
                if field_selector.is_empty() { "[]".to_owned() } else { "[{= a b}]".to_owned() },
                label_selector
            ),
        };
        Decision { allowed: verb == "get", reason, error: (verb == "error").then(|| "broken".to_owned()) }
    }
}

fn string(max: Option<u64>) -> DeclaredType {
    DeclaredType::string(max, [])
}

fn object(fields: Vec<(&str, Field)>) -> DeclaredType {
    DeclaredType::object(fields.into_iter().map(|(name, field)| (name.to_owned(), field)))
}

fn schema() -> DeclaredType {
    let integer = DeclaredType::integer;
    let list = |items, kind| DeclaredType::list(items, Some(5), kind);
    let port =
        object(vec![("name", Field::required(string(Some(10)))), ("port", Field::optional(integer()))]);
    let nested = object(vec![("deep", Field::optional(string(Some(4))))]);
    let optional = |fields: Vec<(&'static str, DeclaredType)>| {
        object(fields.into_iter().map(|(name, declared)| (name, Field::optional(declared))).collect())
    };
    optional(vec![
        ("int", integer()),
        ("num", DeclaredType::number()),
        ("str", string(Some(20))),
        ("text", string(None)),
        ("flag", DeclaredType::boolean()),
        ("list", DeclaredType::list(integer(), Some(10), ListKind::Atomic)),
        ("names", list(string(Some(5)), ListKind::Atomic)),
        ("many", DeclaredType::list(string(None), None, ListKind::Atomic)),
        ("set", list(string(Some(5)), ListKind::Set)),
        ("ports", list(port, ListKind::Map(vec!["name".to_owned()]))),
        ("labels", DeclaredType::map(string(Some(10)), Some(5))),
        ("loose", DeclaredType::map(optional(vec![("x", integer())]), None)),
        ("obj", optional(vec![("a", integer()), ("b-c", string(None)), ("nested", nested)])),
        ("when", DeclaredType::date_time()),
        ("day", DeclaredType::date()),
        ("wait", DeclaredType::duration()),
        ("data", DeclaredType::bytes(None)),
        ("ios", DeclaredType::int_or_string(None)),
        ("ios2", DeclaredType::int_or_string(None)),
        ("maybe", string(None).nullable()),
        ("missing", string(Some(7))),
        ("namespace", string(Some(63))),
        ("kind", DeclaredType::string(None, ["one", "three"])),
    ])
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (declared, any) = (schema(), DeclaredType::any());
        let environment = Environment::builder()
            .variable("self", declared.clone())
            .variable("oldSelf", declared.clone())
            .variable("maybeOld", declared.clone().maybe())
            .variable("any", any.clone())
            .variable("authorizer", DeclaredType::kubernetes(Kubernetes::Authorizer))
            .mutation()
            .build();
        let new = json!({
            "int": 5, "num": 2.5, "str": "hello", "text": "some text", "flag": true, "list": [1, 2, 3],
            "names": ["a", "bb", "ccc"], "many": ["x", "y"], "set": ["s", "t"],
            "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
            "labels": {"app": "web", "tier": "front"}, "loose": {"k": {"x": 1}},
            "obj": {"a": 1, "b-c": "bc", "nested": {"deep": "d"}}, "when": "2024-02-29T12:34:56.789Z",
            "day": "2024-02-29", "wait": "1h30m", "data": "aGVsbG8=", "ios": 8080, "ios2": "http", "maybe": null,
            "namespace": "default", "kind": "one",
        });
        let old = json!({
            "int": 4, "num": 2.0, "str": "hell", "text": "other", "flag": false, "list": [1, 2], "names": ["a"],
            "set": ["t", "s"], "ports": [{"name": "https", "port": 443}, {"name": "http", "port": 80}],
            "labels": {"app": "web"}, "obj": {"a": 1, "b-c": "bc", "nested": {"deep": "d"}},
            "when": "2024-02-28T12:34:56.789Z", "ios": 8080,
        });
        let dynamic = json!({
            "i": 1, "f": 1.5, "s": "str", "b": true, "l": [1, "two", 3.5, null], "m": {"k": "v", "n": {"x": 1}},
            "z": null, "dash-ed": 1, "e": [], "ints": [3, 1, 2],
        });
        Self { environment, declared, any, new, old, dynamic }
    }

    pub(crate) fn activation(&self) -> Activation<'_> {
        Activation::new()
            .with("self", Value::read(&self.new, &self.declared))
            .with("oldSelf", Value::read(&self.old, &self.declared))
            .with("maybeOld", Value::Optional(None))
            .with("any", Value::read(&self.dynamic, &self.any))
            .with("authorizer", Value::Authorizer(Authorization::new(&Rules)))
    }
}

/// A value as the recorded ones are written.
pub(crate) fn render(value: &Value<'_>) -> String {
    let all = |values: Vec<String>| values.join(", ");
    match value {
        Value::Uint(number) => format!("{number}u"),
        Value::Double(number) if number.is_finite() => format!("d{value}"),
        Value::String(text) => json!(&**text).to_string(),
        Value::Bytes(bytes) => {
            format!("b{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        Value::Duration(duration) => format!("duration {duration}"),
        Value::Timestamp(time) => format!("timestamp {time}"),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("optional({})", render(inner)),
        Value::Type(of) => format!("type {}", type_name(of)),
        Value::List(list) => {
            format!(
                "[{}]",
                all(list
                    .iter()
                    .map(|element| element.map_or_else(|e| format!("ERR {e}"), |e| render(&e)))
                    .collect())
            )
        }
        Value::Map(map) => {
            let entry = |key: &Value<'_>| match map.get(key) {
                Some(Ok(value)) => format!("{}: {}", render(key), render(&value)),
                Some(Err(error)) => format!("{}: ERR {error}", render(key)),
                None => format!("{}: none", render(key)),
            };
            let mut entries: Vec<String> = map.keys().iter().map(entry).collect();
            entries.sort();
            format!("{{{}}}", all(entries))
        }
        Value::Object(object) if &*object.name == "JSONPatch" => {
            let text = |name: &str| match object.fields.get(name) {
                Some(Value::String(text)) => text.to_string(),
                _ => String::new(),
            };
            let unset = "unset".to_owned();
            let of = object.fields.get("value").map_or(unset, render);
            format!("JSONPatch{{{:?} {:?} {:?} {of}}}", text("op"), text("path"), text("from"))
        }
        Value::Object(object) => format!("{}{}", object.name, value.to_json().unwrap_or_default()),
        Value::Ip(address) => format!("ip {address}"),
        Value::Cidr(cidr) => format!("cidr {cidr}"),
        Value::Semver(version) => format!("semver {version}"),
        Value::Url(url) => format!("url {url}"),
        Value::Quantity(quantity) => format!("quantity {}", quantity.nanos()),
        other => match other.to_string() {
            name if name.starts_with("kubernetes.") => format!("opaque {name}"),
            plain => plain,
        },
    }
}

fn type_name(of: &skiff_cel::Type) -> String {
    use skiff_cel::Type;
    match of {
        Type::Null => "null_type".to_owned(),
        Type::Duration => "google.protobuf.Duration".to_owned(),
        Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
        other => other.to_string(),
    }
}

/// Line ends and backslashes, as the cases have them.
pub(crate) fn show(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

pub(crate) fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => plain.push(c),
        }
    }
    plain
}
