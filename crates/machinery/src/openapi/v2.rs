//! Version 2: one document for everything, in JSON, and in protobuf because clients before 1.27 ask for that.

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::{Value, json};

use super::common::Dialect;
use super::definitions;
use super::gnostic as wire;
use super::guests::Merged;
use super::operations::{self, Action, Method, Operation};
use super::text::{Entries, version};
use crate::Catalogue;
use crate::discovery::Registry;

fn merged(registry: &Registry) -> Merged {
    Merged::new(registry.all_elsewhere().filter_map(|(_, elsewhere)| elsewhere.v2.as_deref()))
}

/// The document as JSON text.
pub(super) fn json(catalogue: &Catalogue, registry: &Registry) -> String {
    let operations: Vec<Operation> = catalogue.iter().flat_map(|kind| operations::of(kind)).collect();
    let roots = operations::definitions(catalogue.iter().map(AsRef::as_ref), &operations);
    let mut schemas = Entries(r#"{"definitions":{"#.to_owned());
    let mut merged = merged(registry);
    definitions::each(catalogue, Dialect::V2, roots.iter().map(String::as_str), |name, definition| {
        merged.note(&name, &definition);
        schemas.push(&name, &definition);
    });
    let (guest_paths, guest_definitions) = merged.finish();
    guest_definitions.iter().for_each(|(name, definition)| schemas.push(name, definition));
    let info = json!({"title": "Kubernetes", "version": version()});
    let mut paths = Entries(schemas.0 + &format!(r#"}},"info":{info},"paths":{{"#));
    let mut by_path: BTreeMap<&str, Value> = BTreeMap::new();
    for operation in &operations {
        let item = by_path.entry(&operation.path).or_insert_with(|| json!({}));
        item[operation.method.as_str()] = describe(operation);
    }
    by_path.extend(guest_paths.iter().map(|(path, item)| (path.as_str(), item.clone())));
    for (path, item) in by_path {
        paths.push(path, &item);
    }
    paths.0 + r#"},"swagger":"2.0"}"#
}

/// The document in protobuf.
pub(super) fn protobuf(catalogue: &Catalogue, registry: &Registry) -> Vec<u8> {
    let operations: Vec<Operation> = catalogue.iter().flat_map(|kind| operations::of(kind)).collect();
    let mut paths: BTreeMap<String, wire::PathItem> = BTreeMap::new();
    for operation in &operations {
        let item = paths.entry(operation.path.clone()).or_default();
        *slot(item, operation.method) = Some(encode(&describe(operation)));
    }
    let path = |(name, item)| wire::NamedPathItem { name, value: Some(item) };
    let roots = operations::definitions(catalogue.iter().map(AsRef::as_ref), &operations);
    let mut definitions = definitions::of(catalogue, Dialect::V2, roots.iter().map(String::as_str));
    let mut merged = merged(registry);
    definitions.iter().for_each(|(name, definition)| merged.note(name, definition));
    let (guest_paths, guest_definitions) = merged.finish();
    paths.extend(guest_paths.into_iter().map(|(path, item)| (path, encode_guest(&item))));
    definitions.extend(guest_definitions);
    let document = wire::Document {
        swagger: "2.0".to_owned(),
        info: Some(wire::Info { title: "Kubernetes".to_owned(), version: version() }),
        paths: Some(wire::Paths { path: paths.into_iter().map(path).collect() }),
        definitions: Some(schemas(&definitions)),
    };
    document.encode_to_vec()
}

fn slot(item: &mut wire::PathItem, method: Method) -> &mut Option<wire::Operation> {
    match method {
        Method::Delete => &mut item.delete,
        Method::Get => &mut item.get,
        Method::Head => &mut item.head,
        Method::Options => &mut item.options,
        Method::Patch => &mut item.patch,
        Method::Post => &mut item.post,
        Method::Put => &mut item.put,
    }
}

/// What the messages have of what another server says of a path: all but bodies.
fn encode_guest(item: &Value) -> wire::PathItem {
    const METHODS: [Method; 7] = [
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
    ];
    let mut out = wire::PathItem::default();
    for method in METHODS {
        let Some(operation) = item.get(method.as_str()).filter(|operation| operation.is_object()) else {
            continue;
        };
        let mut operation = operation.clone();
        let lists = [item["parameters"].as_array(), operation["parameters"].as_array()];
        let parameters: Vec<Value> = lists
            .into_iter()
            .flatten()
            .flatten()
            .filter(|parameter| matches!(parameter["in"].as_str(), Some("path" | "query")))
            .cloned()
            .collect();
        operation["parameters"] = parameters.into();
        *slot(&mut out, method) = Some(encode(&operation));
    }
    out
}

fn describe(operation: &Operation) -> Value {
    let (group, version, kind) = &operation.gvk;
    let in_path = operation
        .path_parameters()
        .map(|(name, ty, _)| json!({"in": "path", "name": name, "required": true, "type": ty}));
    let pretty = Some(&operations::PRETTY).filter(|_| operation.action != Action::Connect);
    let in_query = operation.parameters().chain(pretty).map(
        |(name, ty, description)| json!({"in": "query", "name": name, "type": ty, "description": description}),
    );
    json!({
        "operationId": operation.id,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": operation.action.as_str(),
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}

/// An operation's message.
fn encode(operation: &Value) -> wire::Operation {
    let response = |(code, response): (&String, &Value)| wire::NamedResponse {
        name: code.clone(),
        value: Some(wire::ResponseValue {
            response: Some(wire::Response { description: text(response, "description") }),
        }),
    };
    wire::Operation {
        operation_id: text(operation, "operationId"),
        parameters: operation["parameters"].as_array().into_iter().flatten().map(parameter).collect(),
        responses: operation["responses"]
            .as_object()
            .map(|responses| wire::Responses { response_code: responses.iter().map(response).collect() }),
        vendor_extension: extensions(operation),
    }
}

fn parameter(parameter: &Value) -> wire::ParametersItem {
    let (location, name, ty) = (text(parameter, "in"), text(parameter, "name"), text(parameter, "type"));
    let non_body = if location == "path" {
        let required = parameter["required"] == true;
        let path = wire::PathParameter { required, location, name, ty };
        wire::NonBodyParameter { path: Some(path), query: None }
    } else {
        let query = wire::QueryParameter { location, description: text(parameter, "description"), name, ty };
        wire::NonBodyParameter { path: None, query: Some(query) }
    };
    wire::ParametersItem { parameter: Some(wire::Parameter { non_body: Some(non_body) }) }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}

/// The members of an object that OpenAPI does not define.
fn extensions(value: &Value) -> Vec<wire::NamedAny> {
    let members = value.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
    members.map(|(name, value)| extension(name, value)).collect()
}

fn extension(name: &str, value: &Value) -> wire::NamedAny {
    wire::NamedAny { name: name.to_owned(), value: Some(wire::Any { yaml: value.to_string() }) }
}

fn schemas<'v>(entries: impl IntoIterator<Item = (&'v String, &'v Value)>) -> wire::NamedSchemas {
    let named = |(name, value): (&String, &Value)| wire::NamedSchema {
        name: name.clone(),
        value: Some(schema(value)),
    };
    wire::NamedSchemas { entries: entries.into_iter().map(named).collect() }
}

fn schema(value: &Value) -> wire::Schema {
    let required = value["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let inner = |name: &str| value.get(name).filter(|inner| inner.is_object()).map(schema);
    wire::Schema {
        reference: text(value, "$ref"),
        format: text(value, "format"),
        description: text(value, "description"),
        required: required.map(str::to_owned).collect(),
        additional_properties: inner("additionalProperties")
            .map(|schema| Box::new(wire::AdditionalProperties { schema: Some(Box::new(schema)) })),
        ty: value["type"].as_str().map(|ty| wire::TypeItem { value: vec![ty.to_owned()] }),
        items: inner("items").map(|schema| wire::Items { schema: vec![schema] }),
        properties: value["properties"].as_object().map(schemas),
        vendor_extension: extensions(value),
    }
}
