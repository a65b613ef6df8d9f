//! Version 2: one document for everything, in protobuf because clients before 1.27 read nothing else.

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::{Value, json};

use super::definitions::{self, Dialect};
use super::gnostic as wire;
use super::operations::{self, Action, Method, Operation};
use crate::Catalogue;

/// The encoded document.
pub(super) fn document(catalogue: &Catalogue) -> Vec<u8> {
    let operations: Vec<Operation> = catalogue.iter().flat_map(|kind| operations::of(kind)).collect();
    let mut paths: BTreeMap<String, wire::PathItem> = BTreeMap::new();
    for operation in &operations {
        let item = paths.entry(operation.path.clone()).or_default();
        let slot = match operation.method {
            Method::Delete => &mut item.delete,
            Method::Get => &mut item.get,
            Method::Head => &mut item.head,
            Method::Options => &mut item.options,
            Method::Patch => &mut item.patch,
            Method::Post => &mut item.post,
            Method::Put => &mut item.put,
        };
        *slot = Some(describe(operation));
    }
    let path = |(name, item)| wire::NamedPathItem { name, value: Some(item) };
    let roots = operations::definitions(catalogue.iter().map(AsRef::as_ref), &operations);
    let definitions = definitions::of(catalogue, Dialect::V2, roots.iter().map(String::as_str));
    let document = wire::Document {
        swagger: "2.0".to_owned(),
        info: Some(wire::Info { title: "Kubernetes".to_owned(), version: super::version() }),
        paths: Some(wire::Paths { path: paths.into_iter().map(path).collect() }),
        definitions: Some(schemas(&definitions)),
    };
    document.encode_to_vec()
}

fn describe(operation: &Operation) -> wire::Operation {
    let (group, version, kind) = &operation.gvk;
    let in_path = operation.path_parameters().map(|(name, ty, _)| wire::NonBodyParameter {
        path: Some(wire::PathParameter {
            required: true,
            location: "path".to_owned(),
            name: (*name).to_owned(),
            ty: (*ty).to_owned(),
        }),
        query: None,
    });
    let pretty = Some(&operations::PRETTY).filter(|_| operation.action != Action::Connect);
    let query = operation.parameters().chain(pretty);
    let in_query = query.map(|(name, ty, description)| wire::NonBodyParameter {
        path: None,
        query: Some(wire::QueryParameter {
            location: "query".to_owned(),
            description: (*description).to_owned(),
            name: (*name).to_owned(),
            ty: (*ty).to_owned(),
        }),
    });
    let parameter =
        |non_body| wire::ParametersItem { parameter: Some(wire::Parameter { non_body: Some(non_body) }) };
    let ok = wire::NamedResponse {
        name: "200".to_owned(),
        value: Some(wire::ResponseValue { response: Some(wire::Response { description: "OK".to_owned() }) }),
    };
    wire::Operation {
        operation_id: operation.id.clone(),
        parameters: in_path.chain(in_query).map(parameter).collect(),
        responses: Some(wire::Responses { response_code: vec![ok] }),
        vendor_extension: vec![
            extension("x-kubernetes-action", &operation.action.as_str().into()),
            extension(
                "x-kubernetes-group-version-kind",
                &json!({"group": group, "version": version, "kind": kind}),
            ),
        ],
    }
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
    let text = |name: &str| value[name].as_str().unwrap_or("").to_owned();
    let map = value.as_object();
    let extensions = map.into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
    let required = value["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let inner = |name: &str| value.get(name).filter(|inner| inner.is_object()).map(schema);
    wire::Schema {
        reference: text("$ref"),
        format: text("format"),
        description: text("description"),
        required: required.map(str::to_owned).collect(),
        additional_properties: inner("additionalProperties")
            .map(|schema| Box::new(wire::AdditionalProperties { schema: Some(Box::new(schema)) })),
        ty: value["type"].as_str().map(|ty| wire::TypeItem { value: vec![ty.to_owned()] }),
        items: inner("items").map(|schema| wire::Items { schema: vec![schema] }),
        properties: value["properties"].as_object().map(schemas),
        vendor_extension: extensions.map(|(name, value)| extension(name, value)).collect(),
    }
}
