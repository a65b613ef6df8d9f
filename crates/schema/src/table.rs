//! From the table's text to a [`Schema`].
//!
//! A line is one of these; words are separated by single spaces:
//! - `# …`: a remark.
//! - `@PACKAGE`: the definitions that follow belong to it, e.g. `io.k8s.api.core.v1`.
//! - `NAME FACT…`: a definition, with the facts `kind=GROUP/VERSION/KIND` (`kind=*`: one in every group), `atomic`,
//!   `union=DISCRIMINATOR:FIELD,…`.
//! - ` NAME TYPE [NUMBERS] FACT…`: a field of it; they are in the order in which Go declares them.
//!
//! A `!` after a field's name says that it must be there. Before its type, `*` says that its zero is a value other
//! than none, `?` that none is besides written as null, `+` that the zero is written; else it is left out. A type is a word of [`scalar`], the name of a
//! definition (without the package, if that is the same), or one of them after `[]` (a list) or `{}` (a map).
//! NUMBERS lead to the field in protobuf: `2.7` is field 7 of the message in field 2, which JSON shows without the
//! level between; an `m` behind them says that a list is a message of its own. The facts of a field are `atomic`,
//! `granular`, `set` and `list=KEY,…` (how server-side apply owns it), `patch=STRATEGY[:KEY]` and, last, `default=JSON`.

use std::collections::HashMap;

use super::{
    Definition, DefinitionId, Field, Kinds, ListKind, Numbers, PatchRule, Raw, Schema, Text, Type, TypeId,
    Union, Zero,
};

/// The release that a table names in its first line.
pub(super) fn release(text: &'static str) -> &'static str {
    let words = text.lines().next().unwrap_or_default().split(' ');
    let number = words.map(|word| word.trim_end_matches('.'));
    number.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default()
}

/// Reads a table.
///
/// # Panics
/// If the text does not read as described: it is part of the program, and a test reads it.
pub(super) fn read(text: &'static str) -> Schema {
    let mut reader =
        Reader { ids: names(text), types: HashMap::new(), schema: Schema::default(), package: "" };
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        if let Some(package) = line.strip_prefix('@') {
            reader.package = package;
            continue;
        }
        let mut fields = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            fields.push(reader.field(&line[1..], fields.len()));
        }
        skiff_ordered::sort_by(&mut fields, |(a, _), (b, _)| a.name.cmp(&b.name));
        let definition = reader.definition(line, fields);
        reader.schema.definitions.push(definition);
    }
    reader.schema.definitions.shrink_to_fit();
    reader.schema.types.shrink_to_fit();
    reader.schema
}

/// The place of each definition, by package and name.
fn names(text: &'static str) -> HashMap<(&'static str, &'static str), DefinitionId> {
    let (mut ids, mut package, mut next) = (HashMap::with_capacity(1024), "", 0);
    for line in text.lines().filter(|line| !line.starts_with([' ', '#'])) {
        match line.strip_prefix('@') {
            Some(name) => package = name,
            None => {
                let name = line.split(' ').next().unwrap_or_default();
                ids.insert((package, name), DefinitionId(next));
                next += 1;
            }
        }
    }
    ids
}

struct Reader {
    ids: HashMap<(&'static str, &'static str), DefinitionId>,
    /// Where each type of an item or map value is in the arena, by package (of names without one) and text.
    types: HashMap<(&'static str, &'static str), TypeId>,
    schema: Schema,
    package: &'static str,
}

impl Reader {
    fn definition(&self, line: &'static str, fields: Vec<(Field, Option<Numbers>)>) -> Definition {
        assert!(fields.len() <= 128, "{line}: readers have one bit of 128 for each field");
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let mut definition = Definition {
            name: format!("{}.{name}", self.package).into(),
            fields: Box::default(),
            numbers: numbers(&fields),
            atomic: false,
            open: false,
            kinds: Kinds::None,
            unions: Box::default(),
        };
        let (mut kinds, mut unions) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=') {
                None if word == "atomic" => definition.atomic = true,
                Some(("kind", "*")) => definition.kinds = Kinds::Everywhere,
                Some(("kind", text)) => kinds.push(kind(text)),
                Some(("union", text)) => unions.push(union(text)),
                _ => panic!("unknown fact {word} of {name}"),
            }
        }
        if !kinds.is_empty() {
            definition.kinds = Kinds::Of(kinds.into());
        }
        definition.unions = unions.into();
        definition.fields = fields.into_iter().map(|(field, _)| field).collect();
        definition
    }

    fn field(&mut self, line: &'static str, rank: usize) -> (Field, Option<Numbers>) {
        let (line, default) = match line.split_once(" default=") {
            Some((line, json)) => (line, Some(json)),
            None => (line, None),
        };
        let mut words = line.split(' ').peekable();
        let name = words.next().unwrap_or_default();
        let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let ty = words.next().unwrap_or_default();
        let (ty, zero) = match ty.split_at_checked(1) {
            Some(("*", ty)) => (ty, Zero::Value),
            Some(("?", ty)) => (ty, Zero::ValueOrNull),
            Some(("+", ty)) => (ty, Zero::Written),
            _ => (ty, Zero::Omitted),
        };
        let ty = self.ty(ty);
        let place = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let wrapped = place.is_some_and(|place| place.ends_with('m'));
        let default = default.map(|json| {
            Box::new(serde_json::from_str(json).unwrap_or_else(|error| panic!("default of {line}: {error}")))
        });
        let mut field = Field {
            name: Text::Borrowed(name),
            ty,
            required,
            zero,
            patch: PatchRule::default(),
            list: if matches!(ty, Type::Map(_)) { ListKind::Granular } else { ListKind::Atomic },
            list_stated: false,
            default,
            wrapped,
            rank,
        };
        words.for_each(|word| merge_fact(&mut field, word));
        (field, place.map(|place| path(place.trim_end_matches('m'))))
    }

    fn ty(&mut self, text: &'static str) -> Type {
        if let Some(item) = text.strip_prefix("[]") {
            return Type::List(self.intern(item));
        }
        if let Some(value) = text.strip_prefix("{}") {
            return Type::Map(self.intern(value));
        }
        scalar(text).unwrap_or_else(|| {
            let place = text.rsplit_once('.').unwrap_or((self.package, text));
            let id =
                self.ids.get(&place).unwrap_or_else(|| panic!("no definition {text} in {}", self.package));
            Type::Object(*id)
        })
    }

    fn intern(&mut self, text: &'static str) -> TypeId {
        let local = !text.contains('.') && scalar(text.trim_start_matches(['[', ']', '{', '}'])).is_none();
        let key = (if local { self.package } else { "" }, text);
        if let Some(id) = self.types.get(&key) {
            return *id;
        }
        let ty = self.ty(text);
        let id = TypeId(u16::try_from(self.schema.types.len()).expect("a few hundred types"));
        self.schema.types.push(ty);
        self.types.insert(key, id);
        id
    }
}

/// The words for types that are not definitions.
fn scalar(word: &str) -> Option<Type> {
    Some(match word {
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
        "json" => Type::Raw(Raw::Json),
        "raw-extension" => Type::Raw(Raw::Extension),
        "fields-v1" => Type::Raw(Raw::FieldsV1),
        "schema-or-schemas" => Type::Raw(Raw::SchemaOrSchemas),
        "schema-or-bool" => Type::Raw(Raw::SchemaOrBool),
        "schema-or-strings" => Type::Raw(Raw::SchemaOrStrings),
        _ => return None,
    })
}

fn merge_fact(field: &mut Field, word: &'static str) {
    let list = match word.split_once('=') {
        None if word == "atomic" => ListKind::Atomic,
        None if word == "granular" => ListKind::Granular,
        None if word == "set" => ListKind::Set,
        Some(("list", keys)) => ListKind::Map(keys.split(',').map(Text::Borrowed).collect()),
        Some(("patch", rule)) => {
            let (strategy, key) = rule.split_once(':').map_or((rule, None), |(rule, key)| (rule, Some(key)));
            field.patch = PatchRule { strategy: Text::Borrowed(strategy), key: key.map(Text::Borrowed) };
            return;
        }
        _ => panic!("unknown fact {word} of field {}", field.name),
    };
    field.list = list;
    field.list_stated = true;
}

fn kind(text: &'static str) -> [Text; 3] {
    let mut parts = text.splitn(3, '/').map(Text::Borrowed);
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

fn union(text: &'static str) -> Union {
    let (discriminator, fields) = text.split_once(':').unwrap_or((text, ""));
    Union { discriminator: discriminator.into(), fields: fields.split(',').map(Text::Borrowed).collect() }
}

fn path(text: &str) -> Numbers {
    let mut numbers = [0; 3];
    for (slot, number) in numbers.iter_mut().zip(text.split('.')) {
        *slot = number.parse().unwrap_or_else(|_| panic!("{text} is no path of numbers"));
    }
    Numbers(numbers)
}

fn numbers(fields: &[(Field, Option<Numbers>)]) -> Box<[(Numbers, u16)]> {
    let mut numbers: Vec<_> =
        fields.iter().zip(0..).filter_map(|((_, numbers), at)| Some(((*numbers)?, at))).collect();
    numbers.sort_unstable();
    numbers.into()
}
