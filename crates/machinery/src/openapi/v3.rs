//! Version 3: one document for each group and version.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_ordered::Ordered as _;

use super::common::{Dialect, Encoding};
use super::definitions;
use super::gnostic::Form;
use super::gnostic::v3::{self as message, document as number};
use super::operations::{self, Action, Answer, Operation};
use super::text::{Entries, version};
use crate::protobuf::write::{bytes, nested};
use crate::{Catalogue, GroupVersion, Kind};

/// The version of OpenAPI.
const OPENAPI: &str = "3.0.0";

/// The document of the kinds of one version.
pub(super) fn document(catalogue: &Catalogue, kinds: &[&Kind], encoding: Encoding) -> Vec<u8> {
    let operations: Vec<Operation> = kinds.iter().flat_map(|kind| operations::of(kind)).collect();
    let roots = operations::definitions(kinds.iter().copied(), &operations);
    let mut schemas = Entries::new(encoding, (1, Form::Choice(&message::SCHEMA_OR_REFERENCE)));
    let versions = versions(&kinds[0].gv);
    definitions::each(
        catalogue,
        Dialect::V3,
        &versions,
        roots.iter().map(String::as_str),
        |name, definition| {
            schemas.push(&name, &definition);
        },
    );
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

/// Those that a document of one version names where a definition is part of all: the core group's besides its own.
fn versions(own: &GroupVersion) -> Vec<GroupVersion> {
    const CORE: GroupVersion = GroupVersion::fixed("", "v1");
    let other = Some(own.clone()).filter(|own| *own != CORE);
    std::iter::once(CORE).chain(other).collect()
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
    let schema = match operation.answer() {
        Answer::Object(name) => Dialect::V3.reference(&name),
        Answer::Text => json!({"type": "string"}),
    };
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, description) in operation.codes() {
        let content = content(operation.produces(), &schema);
        responses[code] = json!({"description": description, "content": content});
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
    if let Some((types, definition)) = operation.body() {
        let mut request = json!({"content": content(types, &Dialect::V3.reference(definition))});
        if operation.needs_body() {
            request["required"] = true.into();
        }
        out["requestBody"] = request;
    }
    out
}

/// The same schema in some media types.
fn content(types: &[&str], schema: &Value) -> Map<String, Value> {
    types.iter().map(|ty| ((*ty).to_owned(), json!({"schema": schema}))).one_by_one()
}
