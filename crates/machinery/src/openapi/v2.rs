//! Version 2: one document for everything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::common::{Dialect, Encoding};
use super::definitions;
use super::gnostic::Form;
use super::gnostic::v2::{self as message, document as number};
use super::guests::Merged;
use super::operations::{self, Action, Answer, Operation};
use super::text::{Entries, version};
use crate::Catalogue;
use crate::discovery::{self, Registry};
use crate::protobuf::write::bytes;

/// The version of OpenAPI.
const SWAGGER: &str = "2.0";

/// The document, with what other servers say of their API.
pub(super) fn document(catalogue: &Catalogue, registry: &Registry, encoding: Encoding) -> Vec<u8> {
    let operations: Vec<Operation> = catalogue.iter().flat_map(|kind| operations::of(kind)).collect();
    let roots = operations::definitions(catalogue.iter().map(AsRef::as_ref), &operations);
    let mut schemas = Entries::new(encoding, (1, Form::Message(&message::SCHEMA)));
    let mut merged =
        Merged::new(registry.all_elsewhere().filter_map(|(_, elsewhere)| elsewhere.v2.as_deref()));
    let versions = discovery::group_versions(catalogue);
    definitions::each(
        catalogue,
        Dialect::V2,
        &versions,
        roots.iter().map(String::as_str),
        |name, definition| {
            merged.note(&name, &definition);
            schemas.push(&name, &definition);
        },
    );
    let (guest_paths, guest_definitions) = merged.finish();
    guest_definitions.iter().for_each(|(name, definition)| schemas.push(name, definition));
    let mut by_path: BTreeMap<&str, Value> = BTreeMap::new();
    for operation in &operations {
        let item = by_path.entry(&operation.path).or_insert_with(|| json!({}));
        item[operation.method.as_str()] = describe(operation);
    }
    by_path.extend(guest_paths.iter().map(|(path, item)| (path.as_str(), item.clone())));
    let mut paths = Entries::new(encoding, (2, Form::Message(&message::PATH_ITEM)));
    for (path, item) in by_path {
        paths.push(path, &item);
    }
    assemble(encoding, &schemas.out, &paths.out)
}

/// A document of its definitions and paths.
fn assemble(encoding: Encoding, definitions: &[u8], paths: &[u8]) -> Vec<u8> {
    let info = json!({"title": "Kubernetes", "version": version()});
    let mut out = Vec::with_capacity(definitions.len() + paths.len() + 256);
    match encoding {
        Encoding::Json => {
            out.extend_from_slice(br#"{"definitions":{"#);
            out.extend_from_slice(definitions);
            out.extend_from_slice(format!(r#"}},"info":{info},"paths":{{"#).as_bytes());
            out.extend_from_slice(paths);
            out.extend_from_slice(format!(r#"}},"swagger":"{SWAGGER}"}}"#).as_bytes());
        }
        Encoding::Protobuf => {
            bytes(&mut out, number::SWAGGER, SWAGGER.as_bytes());
            Form::Message(&message::INFO).write(&mut out, number::INFO, &info);
            bytes(&mut out, number::PATHS, paths);
            bytes(&mut out, number::DEFINITIONS, definitions);
        }
    }
    out
}

fn describe(operation: &Operation) -> Value {
    let (group, version, kind) = &operation.gvk;
    let schema = match operation.answer() {
        Answer::Object(name) => Dialect::V2.reference(&name),
        Answer::Text => json!({"type": "string"}),
    };
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for (code, description) in operation.codes() {
        responses[code] = json!({"description": description, "schema": schema});
    }
    let consumes = operation.body().map_or(&["*/*"][..], |(types, _)| types);
    json!({
        "tags": [operation.tag()],
        "operationId": operation.id,
        "consumes": consumes,
        "produces": operation.produces(),
        "schemes": ["https"],
        "parameters": parameters(operation),
        "responses": responses,
        "x-kubernetes-action": operation.action.as_str(),
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation
        .path_parameters()
        .map(|(name, ty, _)| json!({"in": "path", "name": name, "required": true, "type": ty, "uniqueItems": true}));
    let body = operation.body().map(|(_, definition)| {
        let mut body = json!({"in": "body", "name": "body", "schema": Dialect::V2.reference(definition)});
        if operation.needs_body() {
            body["required"] = true.into();
        }
        body
    });
    let pretty = Some(&operations::PRETTY).filter(|_| operation.action != Action::Connect);
    let in_query = operation.parameters().chain(pretty).map(|(name, ty, description)| {
        json!({"in": "query", "name": name, "type": ty, "description": description, "uniqueItems": true})
    });
    in_path.chain(body).chain(in_query).collect()
}
