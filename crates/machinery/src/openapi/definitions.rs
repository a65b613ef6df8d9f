//! Full definitions, with descriptions and Kubernetes' extensions, made of the schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use skiff_descriptions::Descriptions;
use skiff_ordered::Ordered as _;
use skiff_schema::{Definition, Field, Kinds, ListKind, Raw, Schema, Type, Union};

use super::common::{Common, Dialect, Publication};
use super::operations::PATCH_BODY;
use crate::{Catalogue, GroupVersion, Kind};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const FIELDS_V1: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const SCHEMA_OR_SCHEMAS: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray";
const SCHEMA_OR_BOOL: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
const SCHEMA_OR_STRINGS: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray";

/// Gives the definitions with these names and all that they refer to, one after the other, for a document of some versions.
pub(super) fn each<'n>(
    catalogue: &Catalogue,
    dialect: Dialect,
    versions: &[GroupVersion],
    roots: impl IntoIterator<Item = &'n str>,
    mut take: impl FnMut(String, Value),
) {
    let Some(kind) = catalogue.iter().next() else { return };
    let writer = Writer { schema: kind.root.schema(), dialect, texts: &Descriptions::unpack() };
    let others = Others::of(catalogue, writer.schema);
    let mut pending: BTreeSet<String> = roots.into_iter().map(str::to_owned).to_set();
    let mut given = BTreeSet::new();
    while let Some(name) = pending.pop_first() {
        let mut document = match writer.schema.definition(&name) {
            Some(definition) => {
                let types = definition.fields().iter().map(|field| writer.schema.innermost(field.ty));
                let names = types.filter_map(|ty| writer.name(ty));
                let new = names.filter(|other| *other != name && !given.contains(*other));
                pending.extend(new.map(str::to_owned));
                writer.definition(definition, versions)
            }
            None => match others.definition(&name, &writer) {
                Some((definition, referred)) => {
                    pending.extend(referred.into_iter().filter(|other| !given.contains(other)));
                    definition
                }
                None => writer.special(&name),
            },
        };
        writer.describe(&mut document, &name, "");
        given.insert(name.clone());
        take(name, document);
    }
}

/// The kinds that have schemas of their own, by the names of their definitions.
struct Others<'c>(BTreeMap<&'c str, &'c Kind>);

impl<'c> Others<'c> {
    fn of(catalogue: &'c Catalogue, common: &Schema) -> Self {
        let has_own = |kind: &&Kind| !std::ptr::eq(kind.root.schema(), common);
        Self(
            catalogue
                .iter()
                .map(AsRef::as_ref)
                .filter(has_own)
                .map(|kind| (kind.root.name(), kind))
                .one_by_one(),
        )
    }

    /// The definition of one of the kinds or of its list, and to which others it refers.
    fn definition(&self, name: &str, writer: &Writer<'_>) -> Option<(Value, Vec<String>)> {
        if let Some(kind) = self.0.get(name) {
            let publication = Publication {
                gv: &kind.gv,
                kind: &kind.names.kind,
                selectable: &kind.selectable,
                dialect: writer.dialect,
                common: Common(writer.texts),
            };
            let published = kind.strategy.publish(&publication)?;
            return Some((published, vec![OBJECT_META.to_owned()]));
        }
        let kind = self.0.get(name.strip_suffix("List")?)?;
        let referred = vec![kind.root.name().to_owned(), LIST_META.to_owned()];
        Some((list_of(kind, writer.dialect, &Common(writer.texts)), referred))
    }
}

/// The definition of a list of objects with a schema of their own.
fn list_of(kind: &Kind, dialect: Dialect, common: &Common<'_>) -> Value {
    const CONVENTIONS: &str =
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    let (list, name, plural) = (kind.names.list_kind(), &kind.names.kind, &kind.names.plural);
    let mut meta = match dialect {
        Dialect::V2 => dialect.reference(LIST_META),
        Dialect::V3 => json!({"allOf": [dialect.reference(LIST_META)]}),
    };
    meta["description"] = format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds").into();
    json!({
        "description": format!("{list} is a list of {name}"),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": common.text("apiVersion")},
            "kind": {"type": "string", "description": common.text("kind")},
            "metadata": meta,
            "items": {
                "type": "array",
                "description": format!("List of {plural}. More info: {CONVENTIONS}"),
                "items": dialect.reference(kind.root.name()),
            },
        },
        "x-kubernetes-group-version-kind":
            [{"group": kind.gv.group, "version": kind.gv.version, "kind": list}],
    })
}

struct Writer<'a> {
    schema: &'a Schema,
    dialect: Dialect,
    texts: &'a Descriptions,
}

impl Writer<'_> {
    fn definition(&self, definition: &Definition, versions: &[GroupVersion]) -> Value {
        let mut out = Map::from_iter([("type".to_owned(), "object".into())]);
        let fields = definition.fields();
        if !fields.is_empty() {
            let properties =
                fields.iter().map(|field| (field.name.to_string(), self.field(definition, field)));
            out.insert("properties".to_owned(), properties.one_by_one::<Map<_, _>>().into());
        }
        let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| &*f.name).collect();
        if !required.is_empty() {
            out.insert("required".to_owned(), json!(required));
        }
        if definition.atomic {
            out.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        let kinds = kinds(definition, versions);
        if !kinds.is_empty() {
            out.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
        let unions: Vec<Value> = definition.unions.iter().map(union).collect();
        if !unions.is_empty() {
            out.insert("x-kubernetes-unions".to_owned(), unions.into());
        }
        out.into()
    }

    fn field(&self, definition: &Definition, field: &Field) -> Value {
        let mut out = match (self.dialect, self.ty(field.ty)) {
            // Version 3 has no room beside a reference.
            (Dialect::V3, reference) if reference.get("$ref").is_some() => json!({"allOf": [reference]}),
            (_, ty) => ty,
        };
        if let (Dialect::V3, Some(default)) = (self.dialect, field.default_value()) {
            out["default"] = default;
        }
        merge_rules(&mut out, field);
        self.describe(&mut out, definition.name(), &field.name);
        match out.as_object().filter(|map| map.len() == 1).and_then(|map| map.get("allOf")) {
            Some(alone) => alone[0].clone(),
            None => out,
        }
    }

    fn ty(&self, ty: Type) -> Value {
        if let Some(name) = self.name(ty) {
            return self.dialect.reference(name);
        }
        match ty {
            Type::Int32 => json!({"type": "integer", "format": "int32"}),
            Type::Int64 => json!({"type": "integer", "format": "int64"}),
            Type::Float => json!({"type": "number", "format": "double"}),
            Type::Bool => json!({"type": "boolean"}),
            Type::Bytes => json!({"type": "string", "format": "byte"}),
            Type::List(inner) => json!({"type": "array", "items": self.inner(self.schema.inner(inner))}),
            Type::Map(inner) => {
                json!({"type": "object", "additionalProperties": self.inner(self.schema.inner(inner))})
            }
            _ => json!({"type": "string"}),
        }
    }

    /// The type of items and values of maps, which are never left out.
    fn inner(&self, ty: Type) -> Value {
        let mut out = self.ty(ty);
        if let (Dialect::V3, Some(zero)) = (self.dialect, ty.plain_zero()) {
            if out.get("$ref").is_some() {
                out = json!({"allOf": [out]});
            }
            out["default"] = zero;
        }
        out
    }

    /// The definition of a type that is referred to.
    fn name(&self, ty: Type) -> Option<&str> {
        Some(match ty {
            Type::Object(id) => self.schema.get(id).name(),
            Type::Time => TIME,
            Type::MicroTime => MICRO_TIME,
            Type::Quantity => QUANTITY,
            Type::IntOrString => INT_OR_STRING,
            Type::Raw(Raw::FieldsV1) => FIELDS_V1,
            Type::Raw(Raw::Extension) => RAW_EXTENSION,
            Type::Raw(Raw::Json) => JSON,
            Type::Raw(Raw::SchemaOrSchemas) => SCHEMA_OR_SCHEMAS,
            Type::Raw(Raw::SchemaOrBool) => SCHEMA_OR_BOOL,
            Type::Raw(Raw::SchemaOrStrings) => SCHEMA_OR_STRINGS,
            _ => return None,
        })
    }

    /// Definitions that are not objects with fields.
    fn special(&self, name: &str) -> Value {
        match (name, self.dialect) {
            (TIME | MICRO_TIME, _) => json!({"type": "string", "format": "date-time"}),
            (QUANTITY, Dialect::V2) => json!({"type": "string"}),
            (QUANTITY, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            (INT_OR_STRING, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
            (INT_OR_STRING, Dialect::V3) => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            (FIELDS_V1 | RAW_EXTENSION | PATCH_BODY, _) => json!({"type": "object"}),
            _ => json!({}),
        }
    }

    fn describe(&self, document: &mut Value, definition: &str, field: &str) {
        if let Some(text) = self.texts.field(definition, field) {
            document["description"] = text.into();
        }
    }
}

/// How lists and maps merge.
fn merge_rules(out: &mut Value, field: &Field) {
    if !field.patch.strategy.is_empty() {
        out["x-kubernetes-patch-strategy"] = json!(field.patch.strategy);
    }
    if let Some(key) = &field.patch.key {
        out["x-kubernetes-patch-merge-key"] = json!(key);
    }
    if !field.list_stated {
        return;
    }
    match (&field.list, field.ty) {
        (ListKind::Map(keys), _) => {
            out["x-kubernetes-list-type"] = "map".into();
            out["x-kubernetes-list-map-keys"] = json!(keys);
        }
        (ListKind::Set, _) => out["x-kubernetes-list-type"] = "set".into(),
        (ListKind::Atomic, Type::List(_) | Type::Bytes) => out["x-kubernetes-list-type"] = "atomic".into(),
        (ListKind::Atomic, _) => out["x-kubernetes-map-type"] = "atomic".into(),
        (ListKind::Granular, _) => out["x-kubernetes-map-type"] = "granular".into(),
    }
}

/// The kinds that a definition describes, as `x-kubernetes-group-version-kind` lists them.
fn kinds(definition: &Definition, versions: &[GroupVersion]) -> Vec<Value> {
    let entry =
        |group: &str, version: &str, kind: &str| json!({"group": group, "kind": kind, "version": version});
    match &definition.kinds {
        Kinds::None => Vec::new(),
        Kinds::Of(kinds) => kinds.iter().map(|[group, version, kind]| entry(group, version, kind)).collect(),
        Kinds::Everywhere => {
            versions.iter().map(|gv| entry(&gv.group, &gv.version, definition.short_name())).collect()
        }
    }
}

fn union(union: &Union) -> Value {
    let fields: Map<String, Value> = union
        .fields
        .iter()
        .map(|field| (field.to_string(), super::operations::capital(field).into()))
        .one_by_one();
    let mut out = json!({"fields-to-discriminateBy": fields});
    if !union.discriminator.is_empty() {
        out["discriminator"] = json!(union.discriminator);
    }
    out
}
