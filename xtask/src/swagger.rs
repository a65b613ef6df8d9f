//! The published OpenAPI documents of a release.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

/// What the documents say.
pub(crate) struct Document {
    /// The definitions of version 2, by name.
    pub(crate) definitions: Map<String, Value>,
    /// The definitions of version 3, which alone tell the defaults.
    v3: Map<String, Value>,
}

impl Document {
    /// The default of a field, if it has one.
    pub(crate) fn default_of(&self, definition: &str, field: &str) -> Option<&Value> {
        self.v3.get(definition)?.get("properties")?.get(field)?.get("default")
    }
}

/// Reads `swagger.json` and the documents in the folder `v3` beside it.
pub(crate) fn read(swagger: &Path) -> anyhow::Result<Document> {
    let definitions = object(json(swagger)?, &["definitions"]);
    let folder = swagger.with_file_name("v3");
    let mut v3 = Map::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            v3.extend(object(json(&file)?, &["components", "schemas"]));
        }
    }
    Ok(Document { definitions, v3 })
}

fn json(file: &Path) -> anyhow::Result<Value> {
    let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))
}

fn object(mut value: Value, path: &[&str]) -> Map<String, Value> {
    for key in path {
        value = value[*key].take();
    }
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
