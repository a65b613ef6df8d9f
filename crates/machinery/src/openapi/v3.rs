//! Version 3: one document for each group and version.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_ordered::Ordered as _;

use super::common::{Dialect, Encoding};
use super::definitions;
use super::gnostic::Form;
use super::gnostic::v3::{self as message, document as number};
use super::operations::{self, Action, DELETE_OPTIONS, Method, Operation, STATUS};
use super::text::{Entries, version};
use crate::protobuf::write::{bytes, nested};
use crate::{Catalogue, Kind};

const PATCH_TYPES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The version of OpenAPI.
const OPENAPI: &str = "3.0.0";

/// The document of the kinds of one version.
pub(super) fn document(catalogue: &Catalogue, kinds: &[&Kind], encoding: Encoding) -> Vec<u8> {
    let operations: Vec<Operation> = kinds.iter().flat_map(|kind| operations::of(kind)).collect();
    let roots = operations::definitions(kinds.iter().copied(), &operations);
    let mut schemas = Entries::new(encoding, (1, Form::Choice(&message::SCHEMA_OR_REFERENCE)));
    definitions::each(catalogue, Dialect::V3, roots.iter().map(String::as_str), |name, definition| {
        schemas.push(&name, &definition);
    });
    let mut by_path: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &operations {
        by_path.entry(&operation.path).or_default().push(operation);
    }
    let mut paths = Entries::new(encoding, (1, Form::Message(&message::PATH_ITEM)));
    for (path, operations) in by_path {
        let mut item = path_item(operations[0]);
        for operation in operations {
            item[operation.method.as_str()] = describe(operation);
        }
        paths.push(path, &item);
    }
    assemble(encoding, &schemas.out, &paths.out)
}

/// A document of its schemas and paths.
fn assemble(encoding: Encoding, schemas: &[u8], paths: &[u8]) -> Vec<u8> {
    let security = json!({
        "BearerToken": {
            "description": "Bearer Token authentication",
            "type": "apiKey",
            "name": "authorization",
            "in": "header",
        },
    });
    let info = json!({"title": "Kubernetes", "version": version()});
    let mut out = Vec::with_capacity(schemas.len() + paths.len() + 512);
    match encoding {
        Encoding::Json => {
            out.extend_from_slice(br#"{"components":{"schemas":{"#);
            out.extend_from_slice(schemas);
            let between = format!(
                r#"}},"securitySchemes":{security}}},"info":{info},"openapi":"{OPENAPI}","paths":{{"#
            );
            out.extend_from_slice(between.as_bytes());
            out.extend_from_slice(paths);
            out.extend_from_slice(b"}}");
        }
        Encoding::Protobuf => {
            bytes(&mut out, number::OPENAPI, OPENAPI.as_bytes());
            Form::Message(&message::INFO).write(&mut out, number::INFO, &info);
            bytes(&mut out, number::PATHS, paths);
            nested(&mut out, number::COMPONENTS, |out| {
                bytes(out, number::SCHEMAS, schemas);
                Form::Message(&message::SECURITY_SCHEMES).write(out, number::SECURITY_SCHEMES, &security);
            });
        }
    }
    out
}

/// What the operations of a path share.
fn path_item(operation: &Operation) -> Value {
    let pretty = Some(&operations::PRETTY).filter(|_| operation.action != Action::Connect);
    let in_path = operation.path_parameters().map(|parameter| describe_parameter(parameter, "path"));
    let in_query = pretty.into_iter().map(|parameter| describe_parameter(parameter, "query"));
    json!({"parameters": in_path.chain(in_query).collect::<Vec<_>>()})
}

fn describe_parameter((name, ty, description): &operations::Parameter, location: &str) -> Value {
    let mut parameter = json!({
        "name": name,
        "in": location,
        "description": description,
        "schema": {"type": ty, "uniqueItems": true},
    });
    if location == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn describe(operation: &Operation) -> Value {
    let (group, version, kind) = &operation.gvk;
    let definition = answer(operation).map(|name| Dialect::V3.reference(&name));
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, description) in operation.codes() {
        responses[code] = json!({"description": description});
        if let Some(schema) = &definition {
            responses[code]["content"] = json!({"application/json": {"schema": schema}});
        }
    }
    let mut out = json!({
        "tags": [operation.tag()],
        "operationId": operation.id,
        "responses": responses,
        "x-kubernetes-action": operation.action.as_str(),
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    let parameters: Vec<Value> =
        operation.parameters().map(|parameter| describe_parameter(parameter, "query")).collect();
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    if let Some((types, schema)) = body(operation) {
        let content: Map<String, Value> =
            types.iter().map(|ty| ((*ty).to_owned(), json!({"schema": schema}))).one_by_one();
        let mut request = json!({"content": content});
        // Options of deletions may be left out; what is written may not.
        if operation.method != Method::Delete {
            request["required"] = true.into();
        }
        out["requestBody"] = request;
    }
    out
}

fn answer(operation: &Operation) -> Option<String> {
    let definition = operation.definition.as_deref()?;
    Some(match operation.action {
        Action::List => format!("{definition}List"),
        Action::Delete | Action::DeleteCollection => STATUS.to_owned(),
        _ => definition.to_owned(),
    })
}

fn body(operation: &Operation) -> Option<(&'static [&'static str], Value)> {
    let definition = operation.definition.as_deref()?;
    match operation.method {
        Method::Get | Method::Head | Method::Options => None,
        Method::Delete => Some((&["*/*"], Dialect::V3.reference(DELETE_OPTIONS))),
        Method::Patch if !operation.strategic => Some((&PATCH_TYPES[..3], json!({"type": "object"}))),
        Method::Patch => Some((PATCH_TYPES, json!({"type": "object"}))),
        Method::Post | Method::Put => Some((&["*/*"], Dialect::V3.reference(definition))),
    }
}
