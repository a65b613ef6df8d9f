//! Messages of `openapi.v3`, the wire format of the version 3 documents, with the numbers of gnostic's `OpenAPIv3.proto`, and the
//! JSON for which they stand.

use serde_json::{Map, Value};

/// A message that stands for an object of these members, as far as they are there.
fn object(
    members: impl IntoIterator<Item = (&'static str, Option<Value>)>,
    extensions: &[NamedAny],
) -> Value {
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    members.chain(extensions.iter().map(NamedAny::entry)).collect::<Map<_, _>>().into()
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

fn flag(flag: bool) -> Option<Value> {
    flag.then_some(true.into())
}

/// A whole number where it is one, as schemas have them.
#[allow(clippy::cast_possible_truncation, reason = "compared afterwards")]
fn number(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number { whole.into() } else { number.into() }
}

fn list<T>(items: &[T], json: impl Fn(&T) -> Value) -> Option<Value> {
    (!items.is_empty()).then(|| items.iter().map(json).collect::<Vec<_>>().into())
}

fn texts(items: &[String]) -> Option<Value> {
    list(items, |item| item.as_str().into())
}

macro_rules! named {
    ($map:ident, $entry:ident, $value:ty) => {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(crate) struct $map {
            #[prost(message, repeated, tag = "1")]
            entries: Vec<$entry>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(crate) struct $entry {
            #[prost(string, tag = "1")]
            name: String,
            #[prost(message, optional, tag = "2")]
            value: Option<$value>,
        }

        impl $map {
            fn json(&self) -> Value {
                let entry = |entry: &$entry| (entry.name.clone(), entry.value.as_ref().unwrap().json());
                self.entries.iter().map(entry).collect::<Map<_, _>>().into()
            }
        }
    };
}

named!(Paths, NamedPathItem, PathItem);
named!(MediaTypes, NamedMediaType, MediaType);
named!(Schemas, NamedSchema, SchemaOrReference);
named!(SecuritySchemes, NamedSecurityScheme, SecuritySchemeOrReference);

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Document {
    #[prost(string, tag = "1")]
    openapi: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "4")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "5")]
    components: Option<Components>,
}

impl Document {
    pub(crate) fn json(&self) -> Value {
        let info = self.info.as_ref().unwrap();
        let components = self.components.as_ref().unwrap();
        let members = [
            ("schemas", Some(components.schemas.as_ref().unwrap().json())),
            ("securitySchemes", Some(components.security_schemes.as_ref().unwrap().json())),
        ];
        let components = object(members, &[]);
        let info = object([("title", text(&info.title)), ("version", text(&info.version))], &[]);
        let members = [
            ("openapi", text(&self.openapi)),
            ("info", Some(info)),
            ("paths", Some(self.paths.as_ref().unwrap().json())),
            ("components", Some(components)),
        ];
        object(members, &[])
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "6")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Components {
    #[prost(message, optional, tag = "1")]
    schemas: Option<Schemas>,
    #[prost(message, optional, tag = "7")]
    security_schemes: Option<SecuritySchemes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SecuritySchemeOrReference {
    #[prost(message, optional, tag = "1")]
    scheme: Option<SecurityScheme>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SecurityScheme {
    #[prost(string, tag = "1")]
    ty: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    location: String,
}

impl SecuritySchemeOrReference {
    fn json(&self) -> Value {
        let scheme = self.scheme.as_ref().unwrap();
        let members = [
            ("type", text(&scheme.ty)),
            ("description", text(&scheme.description)),
            ("name", text(&scheme.name)),
            ("in", text(&scheme.location)),
        ];
        object(members, &[])
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PathItem {
    #[prost(message, optional, tag = "4")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "6")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "7")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    options: Option<Operation>,
    #[prost(message, optional, tag = "9")]
    head: Option<Operation>,
    #[prost(message, optional, tag = "10")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "13")]
    parameters: Vec<ParameterOrReference>,
}

impl PathItem {
    fn json(&self) -> Value {
        let operation = |operation: &Option<Operation>| operation.as_ref().map(Operation::json);
        let members = [
            ("get", operation(&self.get)),
            ("put", operation(&self.put)),
            ("post", operation(&self.post)),
            ("delete", operation(&self.delete)),
            ("options", operation(&self.options)),
            ("head", operation(&self.head)),
            ("patch", operation(&self.patch)),
            // Ours has them always, if only as an empty list, which messages cannot tell from none.
            (
                "parameters",
                Some(list(&self.parameters, ParameterOrReference::json).unwrap_or(Value::Array(Vec::new()))),
            ),
        ];
        object(members, &[])
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(message, repeated, tag = "6")]
    parameters: Vec<ParameterOrReference>,
    #[prost(message, optional, tag = "7")]
    request_body: Option<RequestBodyOrReference>,
    #[prost(message, optional, tag = "8")]
    responses: Option<Responses>,
    #[prost(message, repeated, tag = "13")]
    extensions: Vec<NamedAny>,
}

impl Operation {
    fn json(&self) -> Value {
        let members = [
            ("tags", texts(&self.tags)),
            ("operationId", text(&self.operation_id)),
            ("parameters", list(&self.parameters, ParameterOrReference::json)),
            ("requestBody", self.request_body.as_ref().map(RequestBodyOrReference::json)),
            ("responses", self.responses.as_ref().map(Responses::json)),
        ];
        object(members, &self.extensions)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ParameterOrReference {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Parameter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    location: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, tag = "10")]
    schema: Option<SchemaOrReference>,
}

impl ParameterOrReference {
    fn json(&self) -> Value {
        let parameter = self.parameter.as_ref().unwrap();
        let members = [
            ("name", text(&parameter.name)),
            ("in", text(&parameter.location)),
            ("description", text(&parameter.description)),
            ("required", flag(parameter.required)),
            ("schema", parameter.schema.as_ref().map(SchemaOrReference::json)),
        ];
        object(members, &[])
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestBodyOrReference {
    #[prost(message, optional, tag = "1")]
    body: Option<RequestBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestBody {
    #[prost(message, optional, tag = "2")]
    content: Option<MediaTypes>,
    #[prost(bool, tag = "3")]
    required: bool,
}

impl RequestBodyOrReference {
    fn json(&self) -> Value {
        let body = self.body.as_ref().unwrap();
        let content = body.content.as_ref().map(MediaTypes::json);
        object([("content", content), ("required", flag(body.required))], &[])
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MediaType {
    #[prost(message, optional, tag = "1")]
    schema: Option<SchemaOrReference>,
}

impl MediaType {
    fn json(&self) -> Value {
        object([("schema", self.schema.as_ref().map(SchemaOrReference::json))], &[])
    }
}

/// The codes are field 2; field 1 would be the default.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Responses {
    #[prost(message, repeated, tag = "2")]
    codes: Vec<NamedResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NamedResponse {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseOrReference>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResponseOrReference {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "3")]
    content: Option<MediaTypes>,
}

impl Responses {
    fn json(&self) -> Value {
        let entry = |entry: &NamedResponse| {
            let response = entry.value.as_ref().unwrap().response.as_ref().unwrap();
            let content = response.content.as_ref().map(MediaTypes::json);
            let members = [("description", text(&response.description)), ("content", content)];
            (entry.name.clone(), object(members, &[]))
        };
        self.codes.iter().map(entry).collect::<Map<_, _>>().into()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SchemaOrReference {
    #[prost(oneof = "EitherSchema", tags = "1, 2")]
    either: Option<EitherSchema>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum EitherSchema {
    #[prost(message, tag = "1")]
    Schema(Box<Schema>),
    #[prost(message, tag = "2")]
    Reference(Reference),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reference {
    #[prost(string, tag = "1")]
    reference: String,
}

impl SchemaOrReference {
    fn json(&self) -> Value {
        match self.either.as_ref().unwrap() {
            EitherSchema::Schema(schema) => schema.json(),
            EitherSchema::Reference(to) => object([("$ref", text(&to.reference))], &[]),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Schema {
    #[prost(bool, tag = "1")]
    nullable: bool,
    #[prost(string, tag = "9")]
    title: String,
    #[prost(double, optional, tag = "10")]
    multiple_of: Option<f64>,
    #[prost(double, optional, tag = "11")]
    maximum: Option<f64>,
    #[prost(bool, tag = "12")]
    exclusive_maximum: bool,
    #[prost(double, optional, tag = "13")]
    minimum: Option<f64>,
    #[prost(int64, optional, tag = "15")]
    max_length: Option<i64>,
    #[prost(string, tag = "17")]
    pattern: String,
    #[prost(int64, optional, tag = "18")]
    max_items: Option<i64>,
    #[prost(bool, tag = "20")]
    unique_items: bool,
    #[prost(int64, optional, tag = "22")]
    min_properties: Option<i64>,
    #[prost(string, repeated, tag = "23")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "24")]
    values: Vec<Any>,
    #[prost(string, tag = "25")]
    ty: String,
    #[prost(message, repeated, tag = "26")]
    all_of: Vec<SchemaOrReference>,
    #[prost(message, repeated, tag = "27")]
    one_of: Vec<SchemaOrReference>,
    #[prost(message, repeated, tag = "28")]
    any_of: Vec<SchemaOrReference>,
    #[prost(message, optional, boxed, tag = "29")]
    not: Option<Box<Schema>>,
    #[prost(message, optional, tag = "30")]
    items: Option<Items>,
    #[prost(message, optional, tag = "31")]
    properties: Option<Schemas>,
    #[prost(message, optional, tag = "32")]
    additional_properties: Option<AdditionalProperties>,
    #[prost(message, optional, tag = "33")]
    default: Option<Default>,
    #[prost(string, tag = "34")]
    description: String,
    #[prost(string, tag = "35")]
    format: String,
    #[prost(message, repeated, tag = "36")]
    extensions: Vec<NamedAny>,
}

impl Schema {
    fn json(&self) -> Value {
        let schemas = |items: &[SchemaOrReference]| list(items, SchemaOrReference::json);
        let members = [
            ("nullable", flag(self.nullable)),
            ("title", text(&self.title)),
            ("multipleOf", self.multiple_of.map(number)),
            ("maximum", self.maximum.map(number)),
            ("exclusiveMaximum", flag(self.exclusive_maximum)),
            ("minimum", self.minimum.map(number)),
            ("maxLength", self.max_length.map(Into::into)),
            ("pattern", text(&self.pattern)),
            ("maxItems", self.max_items.map(Into::into)),
            ("uniqueItems", flag(self.unique_items)),
            ("minProperties", self.min_properties.map(Into::into)),
            ("required", texts(&self.required)),
            ("enum", list(&self.values, Any::json)),
            ("type", text(&self.ty)),
            ("allOf", schemas(&self.all_of)),
            ("oneOf", schemas(&self.one_of)),
            ("anyOf", schemas(&self.any_of)),
            ("not", self.not.as_ref().map(|schema| schema.json())),
            ("items", self.items.as_ref().map(|items| items.schemas[0].json())),
            ("properties", self.properties.as_ref().map(Schemas::json)),
            ("additionalProperties", self.additional_properties.as_ref().map(AdditionalProperties::json)),
            ("default", self.default.as_ref().and_then(Default::json)),
            ("description", text(&self.description)),
            ("format", text(&self.format)),
        ];
        object(members, &self.extensions)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Items {
    #[prost(message, repeated, tag = "1")]
    schemas: Vec<SchemaOrReference>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AdditionalProperties {
    #[prost(oneof = "SchemaOrFlag", tags = "1, 2")]
    either: Option<SchemaOrFlag>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum SchemaOrFlag {
    #[prost(message, tag = "1")]
    Schema(Box<SchemaOrReference>),
    #[prost(bool, tag = "2")]
    Flag(bool),
}

impl AdditionalProperties {
    fn json(&self) -> Value {
        match self.either.as_ref().unwrap() {
            SchemaOrFlag::Schema(schema) => schema.json(),
            SchemaOrFlag::Flag(flag) => (*flag).into(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Default {
    #[prost(oneof = "Scalar", tags = "1, 2, 3")]
    scalar: Option<Scalar>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Scalar {
    #[prost(double, tag = "1")]
    Number(f64),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(string, tag = "3")]
    Text(String),
}

impl Default {
    fn json(&self) -> Option<Value> {
        Some(match self.scalar.as_ref()? {
            Scalar::Number(value) => number(*value),
            Scalar::Flag(flag) => (*flag).into(),
            Scalar::Text(text) => text.as_str().into(),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

impl NamedAny {
    fn entry(&self) -> (String, Value) {
        (self.name.clone(), self.value.as_ref().unwrap().json())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

impl Any {
    fn json(&self) -> Value {
        serde_json::from_str(&self.yaml).unwrap()
    }
}
