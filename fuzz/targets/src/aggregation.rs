//! What extension API servers say of their API.

use serde_json::Value;
use skiff_machinery::GroupVersion;
use skiff_machinery::discovery::{
    Elsewhere, Priority, Registered, Registry, aggregated_resources, legacy_resources,
};
use skiff_machinery::openapi::{Encoding, Guest, v2_document};

pub(crate) fn run(data: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(data) else { return };
    let gv = GroupVersion::fixed("example.com", "v1");
    for resource in aggregated_resources(&document, &gv).into_iter().flatten() {
        assert!(resource["resource"].is_string());
    }
    for resource in legacy_resources(&document, &gv) {
        assert!(resource["resource"].is_string() && resource["verbs"].is_array());
    }
    let Some(guest) = Guest::of(document, &gv) else { return };
    let elsewhere = Elsewhere { v2: Some(guest.into()), ..Elsewhere::default() };
    let registered = Registered { priority: Priority::default(), elsewhere: Some(elsewhere) };
    let registry: Registry = [(gv, registered)].into_iter().collect();
    let merged = v2_document(&Default::default(), &registry, Encoding::Json);
    serde_json::from_slice::<Value>(&merged).expect("what is merged is JSON");
    v2_document(&Default::default(), &registry, Encoding::Protobuf);
}
