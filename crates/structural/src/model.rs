//! A schema of custom resources as a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::re2::Pattern;

/// A schema of a value, as `openAPIV3Schema` of a CustomResourceDefinition states it.
///
/// One type serves for schemas proper and for what is nested below `allOf`, `anyOf`, `oneOf` and `not`; what is
/// forbidden in either place is found by [`crate::rules`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structural {
    /// `type`.
    pub ty: Type,
    /// `title`; empty if none.
    pub title: String,
    /// `description`; empty if none.
    pub description: String,
    /// `default`; never null.
    pub default: Option<Value>,
    /// `nullable`.
    pub nullable: bool,
    /// `items`: the schema of a list's items.
    pub items: Option<Arc<Structural>>,
    /// `properties`: the schemas of an object's fields.
    pub properties: BTreeMap<String, Arc<Structural>>,
    /// `additionalProperties`.
    pub additional: Additional,
    /// `x-kubernetes-preserve-unknown-fields: true`.
    pub preserve_unknown_fields: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded_resource: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-list-map-keys`.
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type`.
    pub map_type: Option<MapType>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// What values must satisfy; see [`Structural::checks`].
    pub(crate) checks: Option<Box<Checks>>,
    /// What is seldom there.
    pub(crate) extras: Option<Box<Extras>>,
}

/// The type of a JSON value, as a schema names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// Nothing is said.
    #[default]
    Any,
    /// `object`
    Object,
    /// `array`
    Array,
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
    /// A name that is no type; refused by the rules.
    Other(String),
}

impl Type {
    /// The name in a schema; empty for [`Type::Any`].
    pub fn name(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Other(name) => name,
        }
    }

    /// The type of a name.
    pub fn named(name: &str) -> Self {
        match name {
            "" => Self::Any,
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What an object's fields without a schema of their own may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    Unstated,
    /// `true`: anything; `false`: there may be none.
    Allowed(bool),
    /// Values of this schema.
    Schema(Arc<Structural>),
}

impl Additional {
    /// The schema, where there is one.
    pub fn schema(&self) -> Option<&Arc<Structural>> {
        match self {
            Self::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// Whether the schema says anything.
    pub fn is_stated(&self) -> bool {
        *self != Self::Unstated
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, each known by its keys.
    Map,
    /// A name that is none; refused by the rules.
    Other(String),
}

impl ListType {
    /// The name in a schema.
    pub fn name(&self) -> &str {
        match self {
            Self::Atomic => "atomic",
            Self::Set => "set",
            Self::Map => "map",
            Self::Other(name) => name,
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "atomic" => Self::Atomic,
            "set" => Self::Set,
            "map" => Self::Map,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapType {
    /// Replaced as a whole.
    Atomic,
    /// Entry by entry.
    Granular,
    /// A name that is none; refused by the rules.
    Other(String),
}

impl MapType {
    /// The name in a schema.
    pub fn name(&self) -> &str {
        match self {
            Self::Atomic => "atomic",
            Self::Granular => "granular",
            Self::Other(name) => name,
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "atomic" => Self::Atomic,
            "granular" => Self::Granular,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One of `x-kubernetes-validations`. Texts that are not given are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression in CEL that must be true.
    pub rule: String,
    /// What is said when it is not.
    pub message: String,
    /// An expression in CEL for that.
    pub message_expression: String,
    /// The machine-readable cause, e.g. `FieldValueInvalid`.
    pub reason: Option<String>,
    /// The field that is blamed, relative to the schema's value.
    pub field_path: String,
    /// Whether `oldSelf` is an optional, and the rule is evaluated for new values, too.
    pub optional_old_self: Option<bool>,
}

/// What values must satisfy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// `format`; empty if none.
    pub format: String,
    /// `maximum`.
    pub maximum: Option<f64>,
    /// Whether the maximum itself is refused.
    pub exclusive_maximum: bool,
    /// `minimum`.
    pub minimum: Option<f64>,
    /// Whether the minimum itself is refused.
    pub exclusive_minimum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// In characters.
    pub max_length: Option<i64>,
    /// In characters.
    pub min_length: Option<i64>,
    /// `pattern`, found anywhere in the text.
    pub pattern: Option<Pattern>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `uniqueItems`; refused by the rules.
    pub unique_items: bool,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `required`.
    pub required: Vec<String>,
    /// `enum`.
    pub allowed: Vec<Value>,
    /// `allOf`.
    pub all_of: Vec<Arc<Structural>>,
    /// `anyOf`.
    pub any_of: Vec<Arc<Structural>>,
    /// `oneOf`.
    pub one_of: Vec<Arc<Structural>>,
    /// `not`.
    pub not: Option<Arc<Structural>>,
}

impl Checks {
    pub(crate) const NONE: Self = Self {
        format: String::new(),
        maximum: None,
        exclusive_maximum: false,
        minimum: None,
        exclusive_minimum: false,
        multiple_of: None,
        max_length: None,
        min_length: None,
        pattern: None,
        max_items: None,
        min_items: None,
        unique_items: false,
        max_properties: None,
        min_properties: None,
        required: Vec::new(),
        allowed: Vec::new(),
        all_of: Vec::new(),
        any_of: Vec::new(),
        one_of: Vec::new(),
        not: None,
    };
}

/// What schemas seldom have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extras {
    pub(crate) example: Option<Value>,
    pub(crate) external_docs: Option<Value>,
    pub(crate) unsupported: Unsupported,
}

/// Schemas that hold if a field is there; none where only names of fields are given.
pub(crate) type Dependencies = BTreeMap<String, Option<Arc<Structural>>>;

/// What JSON Schema has and schemas of custom resources must not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unsupported {
    pub(crate) id: bool,
    pub(crate) schema: bool,
    /// The text of `$ref`.
    pub(crate) reference: Option<String>,
    pub(crate) preserve_false: bool,
    pub(crate) additional_items: bool,
    pub(crate) pattern_properties: bool,
    pub(crate) definitions: BTreeMap<String, Arc<Structural>>,
    pub(crate) dependencies: Option<Dependencies>,
    /// `items` as a list.
    pub(crate) items: Vec<Arc<Structural>>,
}

static NO_CHECKS: Checks = Checks::NONE;

impl Structural {
    /// What values must satisfy.
    pub fn checks(&self) -> &Checks {
        self.checks.as_deref().unwrap_or(&NO_CHECKS)
    }

    /// The schema of a field: its own, or that of all fields without one.
    pub fn field(&self, name: &str) -> Option<&Arc<Self>> {
        self.properties.get(name).or_else(|| self.additional.schema())
    }

    /// Whether this is `anyOf: [{type: integer}, {type: string}]`, alone or first below `allOf`, the two ways in
    /// which a schema with `x-kubernetes-int-or-string` may name types in a nested place.
    pub(crate) fn is_int_or_string_pattern(any_of: &[Arc<Self>]) -> bool {
        let only = |schema: &Self, ty: Type| *schema == Self { ty, ..Self::default() };
        matches!(any_of, [a, b] if only(a, Type::Integer) && only(b, Type::String))
    }
}
