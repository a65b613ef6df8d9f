//! Values of definitions, made by chance: none of them the zero of its type, each as it is written in the end.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value, json};
use skiff_schema::{Definition, Field, Level, ListKind, Raw, Root, Schema, Slot, Type};

/// Deeper than this nothing is made: some definitions contain themselves.
const DEPTH: usize = 9;

/// Which fields there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// All of the definition.
    ByJson,
    /// Those that protobuf has as well.
    ByProtobuf,
}

/// Makes values.
pub(crate) struct Maker<'a> {
    schema: &'a Schema,
    state: u64,
    known: Known,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(schema: &'a Schema, seed: u64, known: Known) -> Self {
        Self { schema, state: seed, known }
    }

    /// A number below `most` (SplitMix64).
    fn below(&mut self, most: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % most as u64).unwrap()
    }

    /// An object of a definition.
    pub(crate) fn object(&mut self, root: &Root) -> Value {
        Value::Object(self.members(root.definition(), 0, &[]))
    }

    /// A whole object, which says what it is.
    pub(crate) fn whole(&mut self, root: &Root) -> Value {
        let mut members = self.members(root.definition(), 0, &[]);
        members.insert("apiVersion".to_owned(), "example.com/v1".into());
        members.insert("kind".to_owned(), "Any".into());
        Value::Object(members)
    }

    fn members(&mut self, definition: &Definition, depth: usize, keys: &[&str]) -> Map<String, Value> {
        let known = self.known_fields(definition);
        let mut members = Map::new();
        for (index, field) in definition.fields().iter().enumerate() {
            let is_key = keys.contains(&&*field.name);
            let wanted = is_key || self.below(2 + depth) == 0;
            // Who owns what is made by those who write.
            if !wanted || !known.contains(&index) || field.name == "managedFields" {
                continue;
            }
            if let Some(value) = self.field(field, depth + 1) {
                members.insert(field.name.to_string(), value);
            }
        }
        members
    }

    /// By their places.
    fn known_fields(&self, definition: &Definition) -> BTreeSet<usize> {
        fn add(definition: &Definition, level: Level, known: &mut BTreeSet<usize>) {
            for (_, slot) in definition.slots(level) {
                match slot {
                    Slot::Field(index) => {
                        known.insert(index);
                    }
                    Slot::Inline(level) => add(definition, level, known),
                }
            }
        }
        let mut known = BTreeSet::new();
        match self.known {
            Known::ByJson => known.extend(0..definition.fields().len()),
            Known::ByProtobuf => add(definition, Level::default(), &mut known),
        }
        known
    }

    fn field(&mut self, field: &Field, depth: usize) -> Option<Value> {
        let Type::List(inner) = field.ty else { return self.value(field.ty, depth) };
        let mut keys: Vec<&str> = field.patch.key.iter().map(|key| &**key).collect();
        if let ListKind::Map(by) = &field.list {
            keys.extend(by.iter().map(|key| &**key));
        }
        let (count, inner) = (1 + self.below(3), self.schema.inner(inner));
        let items: Vec<Value> = (0..count).filter_map(|_| self.item(inner, depth, &keys)).collect();
        // By the fewest fields by which anybody tells items apart.
        let identity = if field.patch.key.is_some() { &keys[..1] } else { &keys[..] };
        let items = distinct(items, identity);
        (!items.is_empty()).then_some(Value::Array(items))
    }

    fn item(&mut self, ty: Type, depth: usize, keys: &[&str]) -> Option<Value> {
        match ty {
            Type::Object(_) if depth > DEPTH => None,
            Type::Object(id) => {
                let schema = self.schema;
                Some(Value::Object(self.members(schema.get(id), depth + 1, keys)))
            }
            ty => self.value(ty, depth + 1),
        }
    }

    fn value(&mut self, ty: Type, depth: usize) -> Option<Value> {
        let number = self.below(1000) + 1;
        Some(match ty {
            Type::Object(_) if depth > DEPTH => return None,
            Type::Object(id) => {
                let schema = self.schema;
                let members = self.members(schema.get(id), depth, &[]);
                return (!members.is_empty()).then_some(Value::Object(members));
            }
            Type::String => format!("text-{number} \u{e4}\"").into(),
            Type::Int32 => number.into(),
            Type::Int64 => json!(number as u64 * 0x1_0000_0000),
            Type::Float => Value::Number(Number::from_f64(number as f64 + 0.25).unwrap()),
            Type::Bool => true.into(),
            Type::IntOrString if number.is_multiple_of(2) => number.into(),
            Type::IntOrString => format!("{number}%").into(),
            Type::Quantity => ["100m", "5", "1Gi", "12345678Ki"][number % 4].into(),
            Type::Time => format!("2024-01-02T03:04:{:02}Z", number % 60).into(),
            Type::MicroTime => format!("2024-01-02T03:04:05.{number:06}Z").into(),
            Type::Bytes => ["AQ==", "AQI=", "AQID"][number % 3].into(),
            Type::Raw(raw) => self.raw(raw, depth)?,
            Type::Map(inner) => {
                let inner = self.schema.inner(inner);
                let name = |number| format!("key-{number}");
                let entries =
                    (0..=number % 3).filter_map(|at| Some((name(at), self.value(inner, depth + 1)?)));
                let entries: Map<String, Value> = entries.collect();
                return (!entries.is_empty()).then_some(Value::Object(entries));
            }
            Type::List(inner) => {
                let inner = self.schema.inner(inner);
                let items: Vec<Value> =
                    (0..=number % 2).filter_map(|_| self.item(inner, depth, &[])).collect();
                return (!items.is_empty()).then_some(Value::Array(items));
            }
        })
    }

    fn raw(&mut self, raw: Raw, depth: usize) -> Option<Value> {
        let schema = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let of_schema = |maker: &mut Self| {
            let id = maker.schema.find(schema)?;
            maker.value(Type::Object(id), depth + 2)
        };
        Some(match raw {
            Raw::Json => json!({"any": ["thing", 1.5, true]}),
            Raw::Extension => json!({"apiVersion": "v1", "kind": "Any", "a": {"b": [1]}}),
            Raw::FieldsV1 => json!({"f:a": {".": {}}}),
            Raw::SchemaOrSchemas | Raw::SchemaOrStrings => of_schema(self)?,
            Raw::SchemaOrBool => true.into(),
        })
    }

    /// The object with a field that no definition has, and the field's path.
    pub(crate) fn with_unknown(&mut self, root: &Root, mut value: Value) -> (Value, String) {
        let mut places = Vec::new();
        structs(self.schema, root.ty(), &value, String::new(), &mut places);
        let (pointer, path) = places[self.below(places.len())].clone();
        let place = value.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
        place.insert("zzUnknown".to_owned(), json!({"a": 1}));
        (value, if path.is_empty() { "zzUnknown".to_owned() } else { format!("{path}.zzUnknown") })
    }

    /// The object with another value somewhere.
    pub(crate) fn with_another(&mut self, mut value: Value, other: Value) -> Value {
        let mut place = &mut value;
        loop {
            let count = match &*place {
                Value::Object(members) => members.len(),
                Value::Array(items) => items.len(),
                _ => 0,
            };
            if count == 0 {
                *place = other;
                return value;
            }
            let at = self.below(count);
            place = match place {
                Value::Object(members) => members.values_mut().nth(at).unwrap(),
                Value::Array(items) => &mut items[at],
                _ => unreachable!("it has parts"),
            };
            if self.below(4) == 0 {
                *place = other;
                return value;
            }
        }
    }
}

/// The items of which no two have the same keys, or are the same where there are none.
fn distinct(items: Vec<Value>, keys: &[&str]) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let identity = |item: &Value| {
        let by_key: Vec<String> = keys.iter().map(|key| item[*key].to_string()).collect();
        if item.is_object() && !keys.is_empty() { by_key.join(" ") } else { item.to_string() }
    };
    items.into_iter().filter(|item| seen.insert(identity(item))).collect()
}

/// Where objects with known fields are: as a pointer, and as errors name it.
fn structs(schema: &Schema, ty: Type, value: &Value, path: String, out: &mut Vec<(String, String)>) {
    fn visit(
        schema: &Schema,
        ty: Type,
        value: &Value,
        (pointer, path): (String, String),
        out: &mut Vec<(String, String)>,
    ) {
        let dotted = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (ty, value) {
            (Type::Object(id), Value::Object(members)) => {
                let definition = schema.get(id);
                if !definition.open {
                    out.push((pointer.clone(), path.clone()));
                }
                for (name, member) in members {
                    if let Some(field) = definition.field(name) {
                        visit(schema, field.ty, member, (format!("{pointer}/{name}"), dotted(name)), out);
                    }
                }
            }
            (Type::Map(inner), Value::Object(members)) => {
                for (name, member) in members {
                    let place = (format!("{pointer}/{name}"), dotted(name));
                    visit(schema, schema.inner(inner), member, place, out);
                }
            }
            (Type::List(inner), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    let place = (format!("{pointer}/{at}"), format!("{path}[{at}]"));
                    visit(schema, schema.inner(inner), item, place, out);
                }
            }
            _ => {}
        }
    }
    visit(schema, ty, value, (String::new(), path), out);
}
