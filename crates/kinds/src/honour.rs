//! Which fields this version honours. Nothing is accepted and silently ignored: a field that no part of skiff acts
//! upon is answered with a warning that names it.
//!
//! One table, `honour/fields.txt`, says of every field below the spec of a pod, a Service and a Node what becomes of
//! it; tests hold it against the schema and the README against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;
use skiff_schema::{Definition, Root, Schema, Type};

use skiff_machinery::Object;

const TABLE: &str = include_str!("honour/fields.txt");
const PACKAGE: &str = "io.k8s.api.core.v1.";

/// A field that is accepted without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ignored {
    field: &'static str,
    /// Concerns only texts like this one, in which a `*` at either end stands for anything.
    like: Option<&'static str>,
    /// What does not happen.
    consequence: &'static str,
}

/// What the table says of one definition.
#[derive(Debug, Default)]
struct Entry {
    honoured: BTreeSet<&'static str>,
    meaningless: BTreeSet<&'static str>,
    refused: BTreeSet<&'static str>,
    ignored: Vec<Ignored>,
}

/// The table, by name of the definition in the package of core kinds.
#[derive(Debug, Default)]
struct Table(BTreeMap<&'static str, Entry>);

/// What the text says; the same for every schema.
static GLOBAL: LazyLock<Table> = LazyLock::new(|| Table::read(TABLE));

impl Table {
    fn read(text: &'static str) -> Self {
        let mut table = Self::default();
        let mut current = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some(line) = line.strip_prefix(' ') else {
                current = line;
                continue;
            };
            let entry = table.0.entry(current).or_default();
            let (mark, rest) = line.split_at(1);
            let rest = rest.trim_start();
            match mark {
                "+" => entry.honoured.extend(rest.split(' ')),
                "." => entry.meaningless.extend(rest.split(' ')),
                "!" => entry.refused.extend(rest.split(':').next()),
                _ => entry.ignored.push(Ignored::read(rest)),
            }
        }
        table
    }

    fn entry(&self, definition: &Definition) -> Option<&Entry> {
        self.0.get(definition.name().strip_prefix(PACKAGE)?)
    }
}

impl Ignored {
    /// Reads `FIELD like PATTERN: CONSEQUENCE`.
    fn read(text: &'static str) -> Self {
        let (what, consequence) = text.split_once(": ").unwrap_or((text, ""));
        let (field, like) = match what.split_once(" like ") {
            Some((field, pattern)) => (field, Some(pattern)),
            None => (what, None),
        };
        Self { field, like, consequence }
    }

    /// Whether the field is used in `object`, without effect.
    fn is_used(&self, object: &serde_json::Map<String, Value>) -> bool {
        object.get(self.field).is_some_and(|value| match self.like {
            Some(pattern) => value.as_str().is_some_and(|text| is_like(text, pattern)),
            None => !is_zero(value),
        })
    }
}

/// Whether `text` is as `pattern` says.
fn is_like(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

/// Values that ask for nothing.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Kinds whose objects are kept, while nothing acts upon them yet, by definition, and what does not happen.
const IDLE: &[(&str, &str)] = &[
    ("io.k8s.api.networking.v1.Ingress", "nothing routes to it"),
    ("io.k8s.api.networking.v1.NetworkPolicy", "traffic is not restricted by it"),
    ("io.k8s.api.resource.v1.ResourceClaim", "no device is allocated"),
];

/// A warning for each field of `object` that has no effect, and for an object that has none.
///
/// Pod templates are looked into as pods are, whatever the kind that holds them.
pub fn warnings(root: &Root, object: &Object) -> Vec<String> {
    let mut walk = Walk { table: &GLOBAL, schema: root.schema(), path: String::new(), found: Vec::new() };
    let idle = IDLE.iter().find(|(name, _)| *name == root.definition().name());
    walk.found.extend(idle.map(|(_, consequence)| format!("spec: has no effect yet: {consequence}")));
    walk.object(root.definition(), object.as_map());
    walk.found
}

/// How many fields are told of: more than an answer has room for.
const MOST_WARNINGS: usize = 1000;

struct Walk<'a> {
    table: &'a Table,
    schema: &'a Schema,
    path: String,
    found: Vec<String>,
}

impl Walk<'_> {
    fn object(&mut self, definition: &Definition, object: &serde_json::Map<String, Value>) {
        let entry = self.table.entry(definition);
        for ignored in entry.iter().flat_map(|entry| &entry.ignored) {
            if !ignored.is_used(object) {
                continue;
            }
            if self.found.len() >= MOST_WARNINGS {
                return;
            }
            let dot = if self.path.is_empty() { "" } else { "." };
            let Ignored { field, consequence, .. } = ignored;
            self.found.push(format!("{}{dot}{field}: has no effect yet: {consequence}", self.path));
        }
        for (name, value) in object {
            let Some(field) = definition.field(name) else { continue };
            let length = self.path.len();
            // What a status says was not asked for by who reads the warning.
            if length == 0 && name == "status" {
                continue;
            }
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            self.value(field.ty, value);
            self.path.truncate(length);
        }
    }

    fn value(&mut self, ty: Type, value: &Value) {
        match (ty, value) {
            (Type::Object(id), Value::Object(map)) => self.object(self.schema.get(id), map),
            (Type::List(id), Value::Array(items)) => {
                let inner = self.schema.inner(id);
                for (index, item) in items.iter().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.value(inner, item);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const ROOTS: [(&str, &str); 3] =
        [("pods", "PodSpec"), ("Services", "ServiceSpec"), ("Nodes", "NodeSpec")];

    /// Every field below the roots has exactly one mark, and no mark is for a field that does not exist.
    #[test]
    fn the_table_covers_the_schema() {
        let (table, schema) = (&*GLOBAL, Schema::kubernetes());
        let mut open: Vec<String> = ROOTS.map(|(_, root)| format!("{PACKAGE}{root}")).to_vec();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !name.starts_with(PACKAGE) || !seen.insert(name.clone()) {
                continue;
            }
            let definition = schema.definition(&name).unwrap();
            let entry = table.entry(definition).unwrap_or_else(|| panic!("{name} is not in the table"));
            let ignored: BTreeSet<&str> = entry.ignored.iter().map(|ignored| ignored.field).collect();
            for field in definition.fields() {
                let marks = [&entry.honoured, &entry.meaningless, &entry.refused, &ignored];
                let marks = marks.iter().filter(|set| set.contains(&*field.name)).count();
                assert_eq!(marks, 1, "{name}.{}", field.name);
                if entry.honoured.contains(&*field.name)
                    && let Type::Object(inner) = schema.innermost(field.ty)
                {
                    open.push(schema.get(inner).name().to_owned());
                }
            }
            let all = entry.honoured.iter().chain(&entry.meaningless).chain(&entry.refused).chain(&ignored);
            for field in all {
                assert!(definition.field(field).is_some(), "{name} has no field {field}");
            }
        }
        let is_seen = |name: &str| seen.contains(&format!("{PACKAGE}{name}"));
        let unreachable: Vec<_> = table.0.keys().filter(|name| !is_seen(name)).collect();
        assert!(unreachable.is_empty(), "{unreachable:?} are below no field that is honoured");
    }

    fn check(definition: &str, spec: Value, expected: &[&str]) {
        let object = Object::from_value(json!({"spec": spec})).unwrap();
        let found = warnings(&crate::shared::testing::root(&format!("{PACKAGE}{definition}")), &object);
        let paths: Vec<&str> = found.iter().filter_map(|text| text.split(": ").next()).collect();
        assert_eq!(paths, expected, "{definition} {spec}");
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let container = |fields: Value| json!({"containers": [{"name": "a"}, fields]});
        check("Pod", json!({"containers": [{"name": "a", "image": "x"}], "priorityClassName": ""}), &[]);
        check("Pod", json!({"affinity": {"nodeAffinity": {}}, "resourceClaims": []}), &[]);
        check("Pod", json!({"resourceClaims": [{"name": "x"}]}), &["spec.resourceClaims"]);
        check(
            "Pod",
            container(json!({"ports": [
                {"hostPort": 1, "hostIP": "127.0.0.1"}, {"hostPort": 1, "hostIP": "10.127.0.1"}, {"hostPort": 1, "hostIP": "::1"}]})),
            &["spec.containers[1].ports[2].hostIP"],
        );
        check(
            "Pod",
            json!({"securityContext": {"seLinuxOptions": {"level": "s0:c1"}}}),
            &["spec.securityContext.seLinuxOptions"],
        );
        check("Pod", container(json!({"resources": {"limits": {"cpu": 1, "ephemeral-storage": 1}}})), &[]);
        let volumes = json!({"volumes": [{"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}, {"emptyDir": {"sizeLimit": "1Gi"}}]});
        check("Pod", volumes, &[]);
        let ranges =
            json!({"loadBalancerSourceRanges": ["10.0.0.0/8"], "healthCheckNodePort": 30000, "ports": []});
        check("Service", ranges, &[]);
        check("ConfigMap", json!({"resourceClaims": [{"name": "x"}]}), &[]);
        let template = json!({"template": {"spec": {"resourceClaims": [{"name": "x"}]}}});
        check("ReplicationController", template, &["spec.template.spec.resourceClaims"]);
    }

    #[test]
    fn a_status_asks_for_nothing() {
        let claims = json!({"claims": [{"name": "x"}]});
        let container = json!({"name": "c", "resources": claims});
        let pod = json!({"spec": {"containers": [container]}, "status": {"containerStatuses": [container]}});
        let root = crate::shared::testing::root(&format!("{PACKAGE}Pod"));
        let found = warnings(&root, &Object::from_value(pod).unwrap());
        let text = "spec.containers[0].resources.claims: has no effect yet: no device is allocated";
        assert_eq!(found, [text]);
    }

    #[test]
    fn what_nothing_acts_upon_says_so() {
        let catalogue = crate::builtin();
        let warned = |group: &str, resource: &str| {
            let kind = catalogue.find(group, "v1", resource).unwrap();
            warnings(&kind.root, &Object::from_value(json!({"spec": {}})).unwrap())
        };
        let policy = ["spec: has no effect yet: traffic is not restricted by it"];
        assert_eq!(warned("networking.k8s.io", "networkpolicies"), policy);
        assert!(warned("apps", "deployments").is_empty());
        for (name, _) in IDLE {
            assert!(catalogue.iter().any(|kind| kind.root.definition().name() == *name), "{name}");
        }
    }

    /// The README says the same as the table. To write it anew: `UPDATE_README=1 cargo test -p skiff-kinds honour`.
    #[test]
    fn the_readme_lists_what_is_absent() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(&path).unwrap();
        let (begin, end) =
            ("<!-- fields without effect: begin -->\n", "<!-- fields without effect: end -->\n");
        let (before, rest) = readme.split_once(begin).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        let wanted = format!("{before}{begin}{}{end}{after}", absent());
        if std::env::var_os("UPDATE_README").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        assert!(readme == wanted || std::env::var_os("UPDATE_README").is_some(), "run with UPDATE_README=1");
    }

    /// The table's exceptions as Markdown.
    fn absent() -> String {
        let mut text = String::from("Accepted without effect, with a warning that says so:\n\n");
        for (name, entry) in &GLOBAL.0 {
            for ignored in &entry.ignored {
                let like = ignored.like.map(|pattern| format!(" (`{pattern}`)")).unwrap_or_default();
                let Ignored { field, consequence, .. } = ignored;
                writeln!(text, "- `{name}.{field}`{like}: {consequence}").unwrap();
            }
        }
        text.push_str("\nRefused, by the API or by the node with an event at the pod:\n\n");
        for (name, entry) in GLOBAL.0.iter().filter(|(_, entry)| !entry.refused.is_empty()) {
            let fields: Vec<String> = entry.refused.iter().map(|field| format!("`{field}`")).collect();
            writeln!(text, "- `{}`: {}", name, fields.join(", ")).unwrap();
        }
        text
    }
}
