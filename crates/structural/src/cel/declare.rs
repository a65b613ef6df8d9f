//! The types of expressions that schemas declare.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use skiff_cel::{DeclaredType, Field, ListKind};

use crate::model::{Additional, ListType, Structural, Type};

/// Types of schemas, each made once.
///
/// Fields of which nothing is known are left out, and so are lists and maps of such.
#[derive(Default)]
pub(crate) struct Declarations<'s> {
    known: HashMap<*const Structural, Option<DeclaredType>>,
    /// Keeps the schemas in place whose addresses are keys.
    schemas: std::marker::PhantomData<&'s Structural>,
}

impl<'s> Declarations<'s> {
    /// The type of a schema's values; that of a resource if it is the root of one.
    pub(crate) fn of(&mut self, schema: &'s Structural, is_root: bool) -> Option<DeclaredType> {
        if is_root && !schema.embedded_resource {
            // The only schema that is a resource without saying so; it is nobody's part.
            return self.declare(schema, true);
        }
        let key = std::ptr::from_ref(schema);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let declared = self.declare(schema, schema.embedded_resource);
        self.known.insert(key, declared.clone());
        declared
    }

    fn declare(&mut self, schema: &'s Structural, is_resource: bool) -> Option<DeclaredType> {
        let checks = schema.checks();
        let most = |bound: Option<i64>| bound.map(|bound| u64::try_from(bound).unwrap_or(0));
        let length = most(checks.max_length);
        let declared = if schema.int_or_string {
            DeclaredType::int_or_string(length)
        } else {
            match schema.ty {
                Type::Array => {
                    let items = self.of(schema.items.as_deref()?, false)?;
                    DeclaredType::list(items, most(checks.max_items), list_kind(schema))
                }
                Type::Object => match &schema.additional {
                    Additional::Schema(values) => {
                        DeclaredType::map(self.of(values, false)?, most(checks.max_properties))
                    }
                    _ => self.object(schema, is_resource),
                },
                Type::String => match checks.format.as_str() {
                    "byte" => DeclaredType::bytes(length),
                    "duration" => DeclaredType::duration(),
                    "date" => DeclaredType::date(),
                    "date-time" => DeclaredType::date_time(),
                    _ => DeclaredType::string(length, checks.allowed.iter().filter_map(Value::as_str)),
                },
                Type::Boolean => DeclaredType::boolean(),
                Type::Number => DeclaredType::number(),
                Type::Integer => DeclaredType::integer(),
                Type::Any | Type::Other(_) => return None,
            }
        };
        Some(if schema.nullable { declared.nullable() } else { declared })
    }

    fn object(&mut self, schema: &'s Structural, is_resource: bool) -> DeclaredType {
        let mut fields = BTreeMap::new();
        for (name, field) in &schema.properties {
            let Some(declared) = self.of(field, false) else { continue };
            let is_always = schema.checks().required.contains(name) && field.default.is_none();
            let field = if is_always { Field::required(declared) } else { Field::optional(declared) };
            fields.insert(name.clone(), field);
        }
        if is_resource && !tells_of_meta(schema) {
            for (name, declared) in meta() {
                let is_always = schema.checks().required.contains(&name)
                    && schema.properties.get(&name).is_none_or(|field| field.default.is_none());
                let field = if is_always { Field::required(declared) } else { Field::optional(declared) };
                fields.insert(name, field);
            }
        }
        DeclaredType::object(fields)
    }
}

/// What every rule at the root of a resource may read of it.
fn meta() -> [(String, DeclaredType); 3] {
    let text = || DeclaredType::string(None, []);
    let names = ["name", "generateName"].map(|name| (name.to_owned(), Field::optional(text())));
    [
        ("apiVersion".to_owned(), text()),
        ("kind".to_owned(), text()),
        ("metadata".to_owned(), DeclaredType::object(names)),
    ]
}

/// Whether a schema describes all of that itself.
fn tells_of_meta(schema: &Structural) -> bool {
    let is = |of: Option<&Arc<Structural>>, ty: Type| of.is_some_and(|schema| schema.ty == ty);
    let metadata = schema.properties.get("metadata");
    let inner = |name: &str| metadata.and_then(|metadata| metadata.properties.get(name));
    is(schema.properties.get("kind"), Type::String)
        && is(schema.properties.get("apiVersion"), Type::String)
        && is(metadata, Type::Object)
        && is(inner("name"), Type::String)
        && is(inner("generateName"), Type::String)
}

fn list_kind(schema: &Structural) -> ListKind {
    match schema.list_type {
        Some(ListType::Set) => ListKind::Set,
        Some(ListType::Map) => ListKind::Map(schema.list_map_keys.clone()),
        _ => ListKind::Atomic,
    }
}
