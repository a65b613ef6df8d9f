//! What other servers say of the API that they serve, as a part of the document of version 2.
//!
//! Of a guest's document only its own paths are taken, and the definitions that these refer to. A definition whose name
//! is taken by another one gets a number, as Kubernetes gives it one (`NAME_v2`); two that are the same are one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;

use crate::{GroupVersion, version_path};

const DEFINITION: &str = "#/definitions/";
const PARAMETER: &str = "#/parameters/";
/// How many bytes of a document's shared parameters are repeated where they are meant; a document of Kubernetes' own size
/// has a tenth of that.
const MOST_INLINED: usize = 16 * 1024 * 1024;
/// Which kinds a definition is of says nothing of what it allows.
const KINDS: &str = "x-kubernetes-group-version-kind";

/// What a guest's document says of a group version. It is kept as text, which takes a part of the memory of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest(Box<str>);

impl Guest {
    /// The part of a document that is about a group version; none if nothing is.
    pub fn of(document: Value, gv: &GroupVersion) -> Option<Self> {
        let Value::Object(mut document) = document else { return None };
        let parameters = document.remove("parameters").unwrap_or_default();
        let Some(Value::Object(paths)) = document.remove("paths") else { return None };
        let Some(Value::Object(mut all)) = document.remove("definitions") else { return None };
        let prefix = format!("{}/", version_path(gv));
        let mut own: Map<String, Value> =
            paths.into_iter().filter(|(path, _)| format!("{path}/").starts_with(&prefix)).one_by_one();
        if own.is_empty() {
            return None;
        }
        let mut room = Room { parameters, left: MOST_INLINED };
        own.values_mut().for_each(|path| resolve(path, &mut room));
        if room.left == 0 {
            return None;
        }
        let mut definitions = Map::new();
        let mut pending: BTreeSet<String> = own.values().flat_map(references).to_set();
        while let Some(name) = pending.pop_first() {
            if let Some(definition) = all.remove(&name) {
                pending.extend(references(&definition));
                definitions.insert(name, definition);
            }
        }
        let part = serde_json::json!({"paths": own, "definitions": definitions});
        Some(Self(part.to_string().into()))
    }

    fn read(&self) -> (Map<String, Value>, Map<String, Value>) {
        let mut tree: Map<String, Value> = serde_json::from_str(&self.0).unwrap_or_default();
        let mut part = |name: &str| match tree.remove(name) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        (part("paths"), part("definitions"))
    }
}

/// Calls with every text of `$ref` in a tree, and lets it be changed.
fn each_reference(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(text) if key == "$ref" => change(text),
                    inner => each_reference(inner, change),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| each_reference(inner, change)),
        _ => {}
    }
}

/// The names of the definitions that a tree refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(DEFINITION));
            own.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The parameters that a document has in one place, and how many bytes of them may still be repeated.
struct Room {
    parameters: Value,
    left: usize,
}

/// Puts parameters where they are meant, as long as there is room.
fn resolve(value: &mut Value, room: &mut Room) {
    match value {
        Value::Object(map) => {
            let named = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(PARAMETER));
            if let Some(parameter) = named.and_then(|name| room.parameters.get(name)) {
                room.left = room.left.saturating_sub(size(parameter));
                if room.left > 0 {
                    *value = parameter.clone();
                }
                return;
            }
            map.values_mut().for_each(|inner| resolve(inner, room));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| resolve(inner, room)),
        _ => {}
    }
}

/// About how many bytes a tree takes as text.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.iter().map(|(key, inner)| key.len() + 4 + size(inner)).sum::<usize>() + 2,
        Value::Array(list) => list.iter().map(|inner| 1 + size(inner)).sum::<usize>() + 2,
        Value::String(text) => text.len() + 2,
        _ => 8,
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let content = |map: &Map<String, Value>| {
        map.iter()
            .filter(|(key, _)| *key != KINDS)
            .map(|(key, value)| (key.clone(), value.clone()))
            .one_by_one()
    };
    let (a, b): (BTreeMap<String, Value>, BTreeMap<String, Value>) = (content(a), content(b));
    a == b
}

/// What all guests add to the document of this server.
pub(super) struct Merged {
    guests: Vec<(Map<String, Value>, Map<String, Value>)>,
    /// Definitions of this server that guests have as well.
    own: BTreeMap<String, Value>,
    /// All names of this server.
    taken: BTreeSet<String>,
}

impl Merged {
    pub(super) fn new<'g>(guests: impl Iterator<Item = &'g Guest>) -> Self {
        Self { guests: guests.map(Guest::read).collect(), own: BTreeMap::new(), taken: BTreeSet::new() }
    }

    /// Notes a definition of this server.
    pub(super) fn note(&mut self, name: &str, definition: &Value) {
        if self.guests.is_empty() {
            return;
        }
        self.taken.insert(name.to_owned());
        if self.guests.iter().any(|(_, definitions)| definitions.contains_key(name)) {
            self.own.insert(name.to_owned(), definition.clone());
        }
    }

    /// Paths and definitions that are added, once all of this server are noted.
    pub(super) fn finish(self) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
        let Self { guests, own, mut taken } = self;
        let (mut all_paths, mut all): (BTreeMap<String, Value>, _) = (BTreeMap::new(), own.clone());
        for (mut paths, mut definitions) in guests {
            let mut names = BTreeMap::new();
            for (name, definition) in &definitions {
                let name_of = |number: usize| match number {
                    1 => name.clone(),
                    more => format!("{name}_v{more}"),
                };
                let free = (1..).map(name_of).find(|new| match all.get(new) {
                    Some(known) => is_same(known, definition),
                    None => !taken.contains(new),
                });
                names.insert(name.clone(), free.expect("there are more numbers than names"));
            }
            let mut rename = |text: &mut String| {
                if let Some(new) = text.strip_prefix(DEFINITION).and_then(|name| names.get(name)) {
                    *text = format!("{DEFINITION}{new}");
                }
            };
            paths.values_mut().for_each(|path| each_reference(path, &mut rename));
            definitions.values_mut().for_each(|definition| each_reference(definition, &mut rename));
            for (name, definition) in definitions {
                let new = &names[&name];
                taken.insert(new.clone());
                all.entry(new.clone()).or_insert(definition);
            }
            // The first that has a path keeps it.
            for (path, item) in paths {
                all_paths.entry(path).or_insert(item);
            }
        }
        all.retain(|name, _| !own.contains_key(name));
        (all_paths, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(meta: &str) -> Value {
        json!({
            "swagger": "2.0",
            "parameters": {"limit-1": {"in": "query", "name": "limit", "type": "integer"}},
            "paths": {
                "/apis/": {"get": {}},
                "/apis/wardle.example.com/v1alpha1/flunders": {
                    "parameters": [{"$ref": "#/parameters/limit-1"}],
                    "get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Flunder"}}}},
                },
                "/apis/wardle.example.com/v1alpha1x/": {"get": {}},
            },
            "definitions": {
                "Flunder": {"properties": {"metadata": {"$ref": "#/definitions/ObjectMeta"}}},
                "ObjectMeta": {"description": meta},
                "Unused": {},
            },
        })
    }

    const GV: GroupVersion = GroupVersion::fixed("wardle.example.com", "v1alpha1");
    const PATH: &str = "/apis/wardle.example.com/v1alpha1/flunders";

    fn merge(guests: &[Guest], own: &Value) -> (Vec<String>, BTreeMap<String, Value>, Value) {
        let mut merged = Merged::new(guests.iter());
        merged.note("ObjectMeta", own);
        let (paths, definitions) = merged.finish();
        (paths.keys().cloned().collect(), definitions, paths[PATH].clone())
    }

    #[test]
    fn only_what_is_about_the_version_is_taken() {
        let guest = Guest::of(document("theirs"), &GV).unwrap();
        let (paths, definitions) = guest.read();
        assert_eq!(paths.keys().collect::<Vec<_>>(), [PATH]);
        assert_eq!(paths[PATH]["parameters"][0]["name"], "limit");
        assert_eq!(definitions.keys().collect::<Vec<_>>(), ["Flunder", "ObjectMeta"]);
        assert_eq!(Guest::of(document(""), &GroupVersion::fixed("other", "v1")), None);
        assert_eq!(Guest::of(json!([1]), &GV), None);
    }

    #[test]
    fn parameters_are_not_repeated_without_end() {
        let mut bomb = document("theirs");
        bomb["parameters"]["limit-1"]["description"] = "x".repeat(MOST_INLINED / 10).into();
        let references = vec![json!({"$ref": "#/parameters/limit-1"}); 1000];
        bomb["paths"][PATH]["parameters"] = references.into();
        assert_eq!(Guest::of(bomb, &GV), None);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let guests =
            [Guest::of(document("theirs"), &GV).unwrap(), Guest::of(document("third"), &GV).unwrap()];
        let (paths, definitions, path) = merge(&guests, &json!({"description": "ours"}));
        assert_eq!(paths, [PATH]);
        let names: Vec<&String> = definitions.keys().collect();
        assert_eq!(names, ["Flunder", "Flunder_v2", "ObjectMeta_v2", "ObjectMeta_v3"]);
        let refers = |name: &str| definitions[name]["properties"]["metadata"]["$ref"].clone();
        assert_eq!(refers("Flunder"), "#/definitions/ObjectMeta_v2");
        assert_eq!(refers("Flunder_v2"), "#/definitions/ObjectMeta_v3");
        assert_eq!(path["get"]["responses"]["200"]["schema"]["$ref"], "#/definitions/Flunder");
    }

    #[test]
    fn what_is_the_same_is_one() {
        let guests = [Guest::of(document("ours"), &GV).unwrap()];
        let own = json!({"description": "ours", KINDS: [{"kind": "ObjectMeta"}]});
        let (_, definitions, _) = merge(&guests, &own);
        assert_eq!(definitions.keys().collect::<Vec<_>>(), ["Flunder"]);
        assert_eq!(definitions["Flunder"]["properties"]["metadata"]["$ref"], "#/definitions/ObjectMeta");
    }
}
