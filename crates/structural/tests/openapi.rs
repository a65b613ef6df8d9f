//! Definitions as the API server publishes them: `tables/openapi.json` holds its answers.

use serde_json::Value;
use skiff_structural::openapi::{Dialect, Texts, document, published};
use skiff_structural::{KindName, Structural};

#[test]
fn definitions_are_those_of_kubernetes() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/openapi.json")).unwrap();
    let text = |name: &str| cases[0]["v3"]["properties"][name]["description"].as_str().unwrap().to_owned();
    let (api_version, kind, metadata) = (text("apiVersion"), text("kind"), text("metadata"));
    let texts = Texts { api_version: &api_version, kind: &kind, metadata: &metadata };
    let name = KindName { group: "example.com", version: "v1", kind: "Widget" };
    for case in &cases {
        let schema = Structural::parse(&case["schema"]).unwrap();
        for (dialect, wanted) in [(Dialect::V2, &case["v2"]), (Dialect::V3, &case["v3"])] {
            let mut wanted = wanted.clone();
            // The caller adds it, who knows the fields.
            assert!(wanted.as_object_mut().unwrap().remove("x-kubernetes-selectable-fields").is_some());
            let found = published(&schema, name, dialect, &texts);
            assert_eq!(found, wanted, "{dialect:?} of {}", case["schema"]);
        }
        assert_eq!(Structural::parse(&document(&schema)), Ok(schema), "{}", case["schema"]);
    }
}
