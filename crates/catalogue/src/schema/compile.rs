//! From the outline to the arena.

use std::collections::BTreeMap;

use super::{Definition, DefinitionId, Field, Schema, Type, TypeId, merge};

/// Reads an outline: definitions at the start of lines, their fields after a space, both in order. A `!`
/// after the field's name says that it must be there; `[]` and `{}` before a type make it a list or a map.
pub(super) fn compile(outline: &'static str) -> Schema {
    let names = outline.lines().filter(|line| !line.starts_with(' '));
    let by_name = names.zip(0..).map(|(name, at)| (name, DefinitionId(at))).collect();
    let mut compiler = Compiler { schema: Schema { by_name, ..Schema::default() }, types: BTreeMap::new() };
    let mut lines = outline.lines().peekable();
    while let Some(name) = lines.next() {
        let mut fields = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            fields.push(compiler.field(name, line.trim_start()));
        }
        assert!(fields.len() <= 128, "{name}: the strict reader has one bit of 128 for each field");
        let atomic = merge::is_atomic(name);
        compiler.schema.definitions.push(Definition { name, fields: fields.into(), atomic });
    }
    compiler.schema.definitions.shrink_to_fit();
    compiler.schema
}

struct Compiler {
    schema: Schema,
    /// Where each type of an item or map value is in the arena, by its text.
    types: BTreeMap<&'static str, TypeId>,
}

impl Compiler {
    fn field(&mut self, definition: &str, line: &'static str) -> Field {
        let (name, ty) = line.split_once(' ').unwrap_or((line, "any"));
        let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let ty = self.ty(ty);
        Field {
            name,
            ty,
            required,
            patch: merge::patch_rule(definition, name),
            list: merge::list_kind(definition, name, matches!(ty, Type::Map(_))),
        }
    }

    fn ty(&mut self, text: &'static str) -> Type {
        if let Some(item) = text.strip_prefix("[]") {
            return Type::List(self.intern(item));
        }
        if let Some(value) = text.strip_prefix("{}") {
            return Type::Map(self.intern(value));
        }
        match text {
            "string" => Type::String,
            "int32" => Type::Int32,
            "int64" => Type::Int64,
            "float" => Type::Float,
            "bool" => Type::Bool,
            "int-or-string" => Type::IntOrString,
            "quantity" => Type::Quantity,
            "time" => Type::Time,
            "micro-time" => Type::MicroTime,
            "bytes" => Type::Bytes,
            name => self.schema.root(name),
        }
    }

    fn intern(&mut self, text: &'static str) -> TypeId {
        if let Some(id) = self.types.get(text) {
            return *id;
        }
        let ty = self.ty(text);
        let id = TypeId(u16::try_from(self.schema.types.len()).expect("a few hundred types"));
        self.schema.types.push(ty);
        self.types.insert(text, id);
        id
    }
}
