//! The OpenAPI documents of the built-in kinds.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod messages;
mod swagger;

use std::sync::Arc;

use prost::Message as _;
use serde_json::{Value, json};
use skiff_kinds::{builtin, builtin_of, custom};
use skiff_machinery::discovery::Registry;
use skiff_machinery::openapi::{Encoding, hash, v2_document, v3_document, v3_index};
use skiff_machinery::{Catalogue, Convert, ConvertError, Converting, GroupVersion, Kind, Object, discovery};
use skiff_schema::Schema;
use swagger as wire;

const CORE: GroupVersion = GroupVersion::fixed("", "v1");

fn document(gv: &GroupVersion) -> Value {
    document_of(&builtin(), gv)
}

fn document_of(catalogue: &Catalogue, gv: &GroupVersion) -> Value {
    serde_json::from_slice(&v3_document(catalogue, gv, Encoding::Json).unwrap()).unwrap()
}

fn v2_json() -> Vec<u8> {
    v2_document(&builtin(), &Registry::default(), Encoding::Json)
}

fn v2_protobuf() -> Vec<u8> {
    v2_document(&builtin(), &Registry::default(), Encoding::Protobuf)
}

#[test]
fn the_index_names_every_version() {
    let catalogue = builtin();
    let index = v3_index(&catalogue, &Registry::default());
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/api/v1?hash={}", hash(&catalogue, &CORE)));
    assert!(index["paths"]["apis/discovery.k8s.io/v1"].is_object());
    assert!(v3_document(&catalogue, &GroupVersion::fixed("", "v2"), Encoding::Json).is_none());
}

/// What kubectl looks for before it sends a manifest.
#[test]
fn every_patchable_kind_knows_field_validation() {
    let catalogue = builtin();
    for gv in discovery::group_versions(&catalogue) {
        let document = document(&gv);
        let patches: Vec<&Value> =
            document["paths"].as_object().unwrap().values().map(|item| &item["patch"]).collect();
        for kind in catalogue.iter().filter(|kind| kind.gv == gv && kind.offers(skiff_machinery::Verb::Patch))
        {
            let gvk = json!({"group": gv.group, "version": gv.version, "kind": kind.names.kind});
            let patch = patches.iter().find(|patch| patch["x-kubernetes-group-version-kind"] == gvk);
            let parameters = patch.unwrap_or_else(|| panic!("{gvk}"))["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"), "{gvk}");
        }
    }
}

#[test]
fn definitions_carry_merge_keys_and_references() {
    let document = document(&CORE);
    let schemas = &document["components"]["schemas"];
    let ports = &schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "port");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
    let service = &schemas["io.k8s.api.core.v1.Service"];
    assert_eq!(
        service["x-kubernetes-group-version-kind"],
        json!([{"group": "", "kind": "Service", "version": "v1"}])
    );
    let spec = &service["properties"]["spec"];
    assert_eq!(spec["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.ServiceSpec"}]));
    assert!(spec["description"].is_string());
    assert!(schemas["io.k8s.api.core.v1.ServiceList"].is_object());
    assert!(schemas["io.k8s.api.autoscaling.v1.Scale"].is_object());
    assert!(schemas["io.k8s.api.rbac.v1.Role"].is_null());
}

/// The fields that Kubernetes itself does not describe.
const BARE: [(&str, &str); 2] = [(".CertificateSigningRequest", "metadata"), (".IngressRule", "http")];

#[test]
fn every_field_is_described_and_has_its_default() {
    for gv in discovery::group_versions(&builtin()) {
        let document = document(&gv);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        // `k8s-openapi` has one type for all lists, and Kubernetes itself does not describe JSON schemas.
        let undescribed = |name: &str| name.ends_with("List") || name.contains(".apiextensions.");
        for (name, schema) in schemas.iter().filter(|(name, _)| !undescribed(name)) {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                let is_bare = BARE.iter().any(|(kind, bare)| name.ends_with(kind) && field == bare);
                assert!(property["description"].is_string() || is_bare, "{name}.{field}");
            }
        }
    }
    let port = &document(&CORE)["components"]["schemas"]["io.k8s.api.core.v1.ServicePort"];
    let default = |field: &str| &port["properties"][field]["default"];
    assert_eq!(
        (default("protocol"), default("port"), default("name")),
        (&json!("TCP"), &json!(0), &Value::Null)
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(value: &Value, schemas: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    let name = reference.strip_prefix("#/components/schemas/").unwrap();
                    assert!(schemas[name].is_object(), "{reference}");
                }
                map.values().for_each(|value| check(value, schemas));
            }
            Value::Array(list) => list.iter().for_each(|value| check(value, schemas)),
            _ => {}
        }
    }
    for gv in discovery::group_versions(&builtin()) {
        let document = document(&gv);
        check(&document, &document["components"]["schemas"]);
    }
}

#[test]
fn every_reference_of_the_old_document_leads_somewhere() {
    fn check(schema: &wire::Schema, names: &[&str]) {
        let reference = schema.reference.strip_prefix("#/definitions/");
        assert!(schema.reference.is_empty() || reference.is_some_and(|r| names.contains(&r)), "{schema:?}");
        let fields = schema.properties.iter().flat_map(|p| &p.entries).filter_map(|e| e.value.as_ref());
        let values = schema.additional_properties.iter().filter_map(|a| a.schema.as_deref());
        let items = schema.items.iter().flat_map(|items| &items.schema);
        fields.chain(values).chain(items).for_each(|schema| check(schema, names));
    }
    let document = wire::Document::decode(v2_protobuf().as_slice()).unwrap();
    let entries = document.definitions.unwrap().entries;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    entries.iter().for_each(|entry| check(entry.value.as_ref().unwrap(), &names));
}

#[test]
fn operations_are_published_as_kubernetes_does() {
    let core = document(&CORE);
    let names = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.map(|parameter| {
            format!("{} {}", parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap())
        })
        .collect()
    };
    let check = |path: &str, method: &str, id: &str, action: &str, shared: &[&str], own: &[&str]| {
        let item = &core["paths"][path];
        let operation = &item[method];
        assert_eq!(
            (operation["operationId"].as_str(), operation["x-kubernetes-action"].as_str()),
            (Some(id), Some(action)),
            "{method} {path}"
        );
        assert_eq!(names(&item["parameters"]), shared, "{path}");
        assert_eq!(names(&operation["parameters"]), own, "{method} {path}");
    };
    let pods = "/api/v1/namespaces/{namespace}/pods";
    let pod = format!("{pods}/{{name}}");
    let one = ["path namespace", "path name", "query pretty"];
    let write = ["query dryRun", "query fieldManager", "query fieldValidation"];
    check(pods, "post", "createCoreV1NamespacedPod", "post", &["path namespace", "query pretty"], &write);
    check(&pod, "get", "readCoreV1NamespacedPod", "get", &one, &[]);
    check(&pod, "put", "replaceCoreV1NamespacedPod", "put", &one, &write);
    let patch = [&write[..], &["query force"]].concat();
    check(&pod, "patch", "patchCoreV1NamespacedPod", "patch", &one, &patch);
    check(&format!("{pod}/status"), "patch", "patchCoreV1NamespacedPodStatus", "patch", &one, &patch);
    let exec =
        ["command", "container", "stderr", "stdin", "stdout", "tty"].map(|name| format!("query {name}"));
    let exec: Vec<&str> = exec.iter().map(String::as_str).collect();
    let there = &one[..2];
    check(&format!("{pod}/exec"), "get", "connectCoreV1GetNamespacedPodExec", "connect", there, &exec);
    let proxy = format!("{pod}/proxy/{{path}}");
    let with_path = ["path namespace", "path name", "path path"];
    let id = "connectCoreV1OptionsNamespacedPodProxyWithPath";
    check(&proxy, "options", id, "connect", &with_path, &["query path"]);
    let everywhere = &core["paths"]["/api/v1/pods"]["get"];
    assert_eq!(everywhere["operationId"], "listCoreV1PodForAllNamespaces");
    assert!(names(&everywhere["parameters"]).contains(&"query labelSelector".to_owned()));
    let collection = &core["paths"][pods]["delete"];
    assert_eq!(collection["operationId"], "deleteCoreV1CollectionNamespacedPod");
    let collection = names(&collection["parameters"]);
    assert!(["query dryRun", "query labelSelector"].iter().all(|name| collection.iter().any(|n| n == name)));
    let role = GroupVersion::fixed("rbac.authorization.k8s.io", "v1");
    let role = &document(&role)["paths"]["/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"]["get"];
    assert_eq!(role["operationId"], "readRbacAuthorizationV1ClusterRole");
    assert_eq!(role["tags"], json!(["rbacAuthorization_v1"]));
}

/// The documents are made when somebody asks, and kept: they must not grow without a reason.
#[test]
fn documents_stay_small() {
    let catalogue = builtin();
    let largest = discovery::group_versions(&catalogue)
        .iter()
        .map(|gv| v3_document(&catalogue, gv, Encoding::Json).unwrap().len())
        .max();
    assert!(largest.unwrap() < 1 << 20, "{largest:?}");
    assert!(v2_protobuf().len() < 2 << 20);
    assert!(v2_json().len() < 3 << 20);
}

#[test]
fn the_old_document_says_the_same_in_both_formats() {
    let json: Value = serde_json::from_slice(&v2_json()).unwrap();
    let protobuf = wire::Document::decode(v2_protobuf().as_slice()).unwrap();
    assert_eq!((&json["swagger"], &json["info"]["title"]), (&json!("2.0"), &json!("Kubernetes")));
    let names = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let schemas = protobuf.definitions.unwrap().entries;
    let mut schemas: Vec<String> = schemas.iter().map(|schema| schema.name.clone()).collect();
    schemas.sort();
    assert_eq!(names(&json["definitions"]), schemas);
    let paths = protobuf.paths.unwrap().path;
    assert_eq!(names(&json["paths"]), paths.iter().map(|path| path.name.clone()).collect::<Vec<_>>());
    let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
    let item = paths.iter().find(|path| path.name == pod).unwrap().value.clone().unwrap();
    let (patch, described) = (item.patch.unwrap(), &json["paths"][pod]["patch"]);
    assert_eq!(patch.operation_id, described["operationId"].as_str().unwrap());
    assert_eq!(patch.parameters.len(), described["parameters"].as_array().unwrap().len());
    assert_eq!(patch.vendor_extension.len(), 2);
    assert_eq!(patch.responses.unwrap().response_code[0].name, "200");
}

#[test]
fn operation_ids_are_unique() {
    let operations = |gv| {
        let paths = document(&gv)["paths"].as_object().unwrap().clone();
        paths
            .into_iter()
            .flat_map(|(_, item)| item.as_object().unwrap().clone().into_values())
            .collect::<Vec<_>>()
    };
    let all = discovery::group_versions(&builtin()).into_iter().flat_map(operations);
    let mut ids: Vec<String> =
        all.filter_map(|operation| operation["operationId"].as_str().map(str::to_owned)).collect();
    assert!(ids.len() > 200, "{ids:?}");
    let count = ids.len();
    ids.sort();
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(unique.len(), count, "{ids:?}");
}

#[test]
fn the_old_document_can_be_read_back() {
    let bytes = v2_protobuf();
    let document = wire::Document::decode(bytes.as_slice()).unwrap();
    let schemas = document.definitions.unwrap().entries;
    let find = |name: &str| schemas.iter().find(|entry| entry.name == name).unwrap().value.clone().unwrap();
    let extension = |list: &[wire::NamedAny], name: &str| {
        let found = list.iter().find(|entry| entry.name == name);
        found.map(|entry| entry.value.clone().unwrap().yaml)
    };
    let service = find("io.k8s.api.core.v1.Service");
    assert_eq!(
        extension(&service.vendor_extension, "x-kubernetes-group-version-kind").as_deref(),
        Some(r#"[{"group":"","kind":"Service","version":"v1"}]"#)
    );
    let spec = find("io.k8s.api.core.v1.ServiceSpec").properties.unwrap();
    let ports = spec.entries.iter().find(|entry| entry.name == "ports").unwrap().value.clone().unwrap();
    assert_eq!(ports.ty.unwrap().value, ["array"]);
    assert_eq!(ports.items.unwrap().schema[0].reference, "#/definitions/io.k8s.api.core.v1.ServicePort");
    assert_eq!(
        extension(&ports.vendor_extension, "x-kubernetes-patch-merge-key").as_deref(),
        Some("\"port\"")
    );
    let paths = document.paths.unwrap().path;
    let item =
        paths.iter().find(|item| item.name == "/api/v1/namespaces/{namespace}/services/{name}").unwrap();
    let patch = item.value.clone().unwrap().patch.unwrap();
    let dry_run = patch.parameters.iter().any(|item| {
        let query = item.parameter.clone().unwrap().non_body.and_then(|parameter| parameter.query);
        query.is_some_and(|query| query.name == "dryRun")
    });
    assert!(dry_run);
}

/// What generators of clients make functions of.
#[test]
fn operations_say_what_is_exchanged() {
    let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let (service, status) =
        (reference("io.k8s.api.core.v1.Service"), reference("io.k8s.apimachinery.pkg.apis.meta.v1.Status"));
    let v2: Value = serde_json::from_slice(&v2_json()).unwrap();
    let services = &v2["paths"]["/api/v1/namespaces/{namespace}/services"];
    let body = services["post"]["parameters"].as_array().unwrap().iter().find(|p| p["in"] == "body").unwrap();
    assert_eq!(*body, json!({"in": "body", "name": "body", "required": true, "schema": service}));
    assert_eq!(services["post"]["responses"]["201"]["schema"], service);
    assert_eq!(services["delete"]["responses"]["200"]["schema"], status);
    assert_eq!(services["get"]["responses"]["200"]["schema"], reference("io.k8s.api.core.v1.ServiceList"));
    assert_eq!(services["get"]["tags"], json!(["core_v1"]));
    // A deletion answers what was deleted, of some kinds.
    let one = "/api/v1/namespaces/{namespace}/services/{name}";
    assert_eq!(v2["paths"][one]["delete"]["responses"]["200"]["schema"], service);
    let v3 = document(&CORE);
    let patch = json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"});
    let content = &v3["paths"][one]["patch"]["requestBody"]["content"];
    assert_eq!(content["application/apply-patch+yaml"]["schema"], patch);
    let exec = &v3["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["get"];
    assert_eq!(exec["responses"]["200"]["content"], json!({"*/*": {"schema": {"type": "string"}}}));
    let options = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    let apps = document(&GroupVersion::fixed("apps", "v1"));
    let versions =
        apps["components"]["schemas"][options]["x-kubernetes-group-version-kind"].as_array().unwrap();
    assert_eq!(versions.iter().map(|gvk| gvk["group"].as_str().unwrap()).collect::<Vec<_>>(), ["", "apps"]);
}

/// What the messages of a version say, as JSON.
fn read_back(catalogue: &Catalogue, gv: &GroupVersion) -> Value {
    let bytes = v3_document(catalogue, gv, Encoding::Protobuf).unwrap();
    messages::Document::decode(bytes.as_slice()).unwrap().json()
}

/// Of a document, what has a place in its messages: defaults that are lists or objects have none. `names` says whether the
/// members are called as somebody liked.
fn without_deep_defaults(value: &mut Value, names: bool) {
    match value {
        Value::Object(map) => {
            if !names && matches!(map.get("default"), Some(Value::Object(_) | Value::Array(_))) {
                map.remove("default");
            }
            for (name, inner) in map {
                without_deep_defaults(inner, !names && matches!(&**name, "properties" | "schemas" | "paths"));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| without_deep_defaults(inner, false)),
        _ => {}
    }
}

fn check_encodings(catalogue: &Catalogue, gv: &GroupVersion) {
    let mut json = document_of(catalogue, gv);
    without_deep_defaults(&mut json, false);
    let protobuf = read_back(catalogue, gv);
    for part in ["/info", "/components/securitySchemes", "/components/schemas", "/paths"] {
        let (json, protobuf) = (json.pointer(part).unwrap(), protobuf.pointer(part).unwrap());
        for (name, expected) in json.as_object().unwrap() {
            assert_eq!(&protobuf[name], expected, "{gv:?} {name}");
        }
    }
    assert_eq!(json, protobuf, "{gv:?}");
}

#[test]
fn documents_say_the_same_in_both_encodings() {
    let catalogue = builtin();
    discovery::group_versions(&catalogue).iter().for_each(|gv| check_encodings(&catalogue, gv));
}

struct Nobody;

impl Convert for Nobody {
    fn convert(&self, _: Vec<Object>, _: &GroupVersion) -> Converting<'_> {
        Box::pin(async { Err(ConvertError("nobody".to_owned())) })
    }
}

#[test]
fn so_do_the_documents_of_custom_resources() {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "minProperties": 1, "properties": {
            "size": {"type": "integer", "format": "int32", "maximum": 9, "minimum": -3.5, "multipleOf": 2},
            "color": {"type": "string", "default": "red", "maxLength": 20, "pattern": "^[a-z]+$", "title": "Color"},
            "on": {"type": "boolean", "default": false},
            "none": {"type": "integer", "default": 0, "exclusiveMaximum": true, "maximum": 1},
            "mode": {"type": "string", "nullable": true, "enum": ["a", 1, null]},
            "any": {"x-kubernetes-int-or-string": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "default": {"type": "object", "default": {"a": 1}, "properties": {"a": {"type": "integer"}}},
            "parts": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}},
            "oneOf": [{"required": ["color"]}, {"not": {"required": ["mode"]}}],
            "x-kubernetes-validations": [{"rule": "self.size > 1", "message": "too small"}]},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}});
    let names =
        json!({"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"});
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}]},
        "status": {"acceptedNames": names},
    });
    let definition = Object::from_value(definition).unwrap();
    let kubernetes = Arc::new(Schema::kubernetes());
    let kinds = custom::kinds(&definition, &kubernetes, &|_| Arc::new(Nobody)).unwrap();
    let kinds: Vec<Arc<Kind>> = kinds.into_iter().map(Arc::new).collect();
    let catalogue = builtin_of(&kubernetes).with(&kinds);
    let gv = GroupVersion::fixed("example.com", "v1");
    check_encodings(&catalogue, &gv);
    let widget = &read_back(&catalogue, &gv)["components"]["schemas"]["com.example.v1.Widget"];
    let field = |name: &str| &widget["properties"]["spec"]["properties"][name];
    assert_eq!(field("on")["default"], json!(false));
    assert_eq!(field("size")["minimum"], json!(-3.5));
    assert_eq!(field("mode")["enum"], json!(["a", 1, null]));
    assert_eq!(field("parts")["x-kubernetes-list-map-keys"], json!(["name"]));
}
