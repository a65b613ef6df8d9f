//! Makes equal what no two servers can agree on.
//!
//! UIDs become `{uid}`, resource versions `{rv}`, times of these days `{time}` and `{microtime}`, generated suffixes
//! of names `{rand}`, allocated addresses `{clusterIP}` and ports `{nodePort}`; what a scenario itself named stays. Entries of
//! `managedFields` are compared where that is the subject, and only those of the scenario's own managers, sorted. Warnings that
//! a field is not honoured yet are skiff's own, and set apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp, civil};
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use super::scenario::Scenario;

/// Areas in which `managedFields` are compared.
const MANAGED: [&str; 5] = ["apply", "create", "patch", "patches", "status"];

/// Columns of tables whose cells say how long ago something was.
const AGES: [&str; 5] = ["age", "last seen", "first seen", "last schedule", "duration"];

/// The address that the Service `kubernetes` has in every cluster.
const FIRST_ADDRESS: &str = "10.96.0.1";

/// Recorded times are older than this.
const THESE_DAYS: SignedDuration = SignedDuration::from_hours(48);

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).unwrap());)*
    };
}

patterns! {
    UUID = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b";
    TIME = r"\b(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|[+-]\d\d:\d\d)";
    ADDRESS = r"\b10\.(?:9[6-9]|10\d|11[01])\.\d{1,3}\.\d{1,3}\b";
    NODE_PORT = r"\b3[0-2]\d{3}\b";
    PORT_IN_CELL = r"(\d+):(3[0-2]\d{3})/";
    VERSION_SENT = r#"resourceVersion\\*"?\s*[:=]\s*\\*"?(\d+)"#;
    VERSION_IN_TEXT = r#"(resourceVersion\\*": ?\\*"|in record \(|in object meta: |, current: |too old resource version: \d+ \()(\d+)"#;
    TOKEN_VOLUME = r"kube-api-access-[a-z0-9]{5}\b";
    CERTIFICATE = r"X509SHA256=[0-9a-f]{64}";
    AGE = r"^(?:\d+[ydhms])+(?: ago)?$";
    RESTARTED = r"^(\d+) \((?:\d+[ydhms])+ ago\)$";
    UNHONOURED = r#"^299 - "[A-Za-z0-9.\[\]]+: has no effect yet: [^"\\]+"$"#;
}

/// The user whose kubeconfig an API server of ours gives; kubeadm calls it otherwise.
const OUR_ADMINISTRATOR: &str = "skiff-admin";

/// What is known of one scenario while it runs.
#[derive(Debug)]
pub(super) struct Normal {
    namespace: String,
    /// All that is sent, as it is written down.
    sent: String,
    uuids: BTreeSet<String>,
    addresses: BTreeSet<String>,
    ports: BTreeSet<String>,
    versions: BTreeSet<String>,
    managed: bool,
    /// Generated names that were met, and what is written for them.
    generated: BTreeMap<String, String>,
}

impl Normal {
    /// Nothing met yet.
    pub(super) fn new(scenario: &Scenario, namespace: &str) -> Self {
        let mut sent = String::new();
        for step in &scenario.steps {
            let headers = step.headers.values().flatten().cloned().collect::<Vec<_>>().join("\n");
            sent += &[step.path.clone(), headers, step.content().unwrap_or_default()].join("\n");
            sent += "\n";
        }
        let all = |pattern: &Regex| pattern.find_iter(&sent).map(|found| found.as_str().to_owned()).collect();
        let mut addresses: BTreeSet<String> = all(&ADDRESS);
        addresses.insert(FIRST_ADDRESS.to_owned());
        let mut versions: BTreeSet<String> =
            VERSION_SENT.captures_iter(&sent).map(|found| found[1].to_owned()).collect();
        versions.insert("0".to_owned());
        Self {
            namespace: namespace.to_owned(),
            uuids: all(&UUID),
            addresses,
            ports: all(&NODE_PORT),
            versions,
            managed: scenario.managed || MANAGED.contains(&scenario.area.as_str()),
            generated: BTreeMap::new(),
            sent,
        }
    }

    /// A value with what varies made equal.
    pub(super) fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>) -> Value {
        self.learn_name(fields);
        if let Some(Value::Object(metadata)) = fields.get("metadata") {
            // Names that were generated stand elsewhere in the object too.
            self.object(metadata);
        }
        let columns = columns(fields);
        let mut out = Map::new();
        for (key, value) in fields {
            if let Some(value) = self.field(key, value, columns.as_deref()) {
                out.insert(self.text(key), value);
            }
        }
        Value::Object(out)
    }

    fn learn_name(&mut self, fields: &Map<String, Value>) {
        const SUFFIX: usize = 5;
        let text = |key| fields.get(key).and_then(Value::as_str);
        let (Some(base), Some(name)) = (text("generateName"), text("name")) else { return };
        let suffixed = name.starts_with(base) && name.len() >= base.len() + SUFFIX;
        if !base.is_empty() && suffixed && !self.sent.contains(name) {
            self.generated.insert(name.to_owned(), format!("{}{{rand}}", &name[..name.len() - SUFFIX]));
        }
    }

    /// A field's value; none for what is not compared.
    fn field(&mut self, key: &str, value: &Value, columns: Option<&[String]>) -> Option<Value> {
        match (key, value) {
            ("managedFields", Value::Array(entries)) => return self.managers(entries),
            ("storageVersionHash" | "deployment.kubernetes.io/revision", _) => return None,
            ("resourceVersion" | "currentResourceVersion", Value::String(version)) => {
                let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
                if number && !self.versions.contains(version) {
                    return Some("{rv}".into());
                }
            }
            ("nodePort" | "healthCheckNodePort", Value::Number(port))
                if port.as_u64() != Some(0) && !self.ports.contains(&port.to_string()) =>
            {
                return Some("{nodePort}".into());
            }
            ("continue", Value::String(token)) if !token.is_empty() => return Some("{continue}".into()),
            ("token", Value::String(token)) if token.matches('.').count() == 2 => {
                return Some("{token}".into());
            }
            ("columnDefinitions", Value::Array(columns)) => {
                return Some(columns.iter().map(without_description).collect());
            }
            ("rows", Value::Array(rows)) => {
                if let Some(columns) = columns {
                    return Some(rows.iter().map(|row| self.row(row, columns)).collect());
                }
            }
            _ => {}
        }
        Some(self.value(value))
    }

    fn managers(&mut self, entries: &[Value]) -> Option<Value> {
        let own = |entry: &&Value| {
            let manager = entry["manager"].as_str().unwrap_or_default();
            !entry.is_object() || manager.starts_with("orc") || manager.starts_with("oracle")
        };
        let mut own: Vec<Value> = entries.iter().filter(own).map(|entry| self.value(entry)).collect();
        let untimed = |entry: &Value| {
            let mut entry = entry.clone();
            entry.as_object_mut().map(|fields| fields.remove("time"));
            entry.to_string()
        };
        own.sort_by_key(untimed);
        (self.managed && !own.is_empty()).then_some(Value::Array(own))
    }

    fn row(&mut self, row: &Value, columns: &[String]) -> Value {
        let mut row = self.value(row);
        let cells = row.get_mut("cells").and_then(Value::as_array_mut);
        for (at, cell) in cells.into_iter().flatten().enumerate() {
            let timed = columns.get(at).is_none_or(|column| AGES.contains(&column.to_lowercase().as_str()));
            let Some(text) = cell.as_str() else { continue };
            if timed && AGE.is_match(text) {
                *cell = json!("{age}");
            } else if let Some(restarts) = RESTARTED.captures(text) {
                *cell = json!(format!("{} ({{age}} ago)", &restarts[1]));
            }
        }
        row
    }

    fn text(&self, text: &str) -> String {
        const SHORTEST: usize = 5;
        if text.len() < SHORTEST {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        for (name, placeholder) in &self.generated {
            text = text.replace(name, placeholder);
        }
        text = text.replace(&self.namespace, "{NS}");
        let text = unless(&UUID, &text, |found| self.uuids.contains(&found[0]), |_| "{uid}".to_owned());
        let text = TOKEN_VOLUME.replace_all(&text, "kube-api-access-{rand}");
        let known = |found: &Captures| self.addresses.contains(&found[0]);
        let text = unless(&ADDRESS, &text, known, |_| "{clusterIP}".to_owned());
        let known = |found: &Captures| self.ports.contains(&found[2]);
        let text = unless(&PORT_IN_CELL, &text, known, |found| format!("{}:{{nodePort}}/", &found[1]));
        let text = CERTIFICATE
            .replace_all(&text, "X509SHA256={hash}")
            .replace(OUR_ADMINISTRATOR, "kubernetes-admin");
        let known = |found: &Captures| self.versions.contains(&found[2]);
        let text = unless(&VERSION_IN_TEXT, &text, known, |found| format!("{}{{rv}}", &found[1]));
        let name =
            |found: &Captures| if found.get(2).is_some() { "{microtime}" } else { "{time}" }.to_owned();
        unless(&TIME, &text, |found| !of_these_days(&found[1]), name)
    }
}

/// Whether a value of a `Warning` header is one that skiff alone gives, and means to: that a field is stored and not yet
/// honoured. kube-apiserver has nothing to say where the rest of a cluster lacks something.
pub(super) fn is_own_warning(value: &str) -> bool {
    UNHONOURED.is_match(value)
}

/// Replaces each match that is not known.
fn unless(
    pattern: &Regex,
    text: &str,
    known: impl Fn(&Captures) -> bool,
    with: impl Fn(&Captures) -> String,
) -> String {
    let replaced = |found: &Captures| if known(found) { found[0].to_owned() } else { with(found) };
    pattern.replace_all(text, replaced).into_owned()
}

fn of_these_days(time: &str) -> bool {
    let Ok(time) = time.parse::<civil::DateTime>() else { return false };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    time.duration_since(Timestamp::now()).abs() <= THESE_DAYS
}

/// The names of a table's columns.
fn columns(fields: &Map<String, Value>) -> Option<Vec<String>> {
    let columns = fields.get("columnDefinitions")?.as_array().map(Vec::as_slice).unwrap_or_default();
    Some(columns.iter().map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect())
}

fn without_description(column: &Value) -> Value {
    let mut column = column.clone();
    column.as_object_mut().map(|fields| fields.remove("description"));
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_honoured_is_a_warning_of_our_own() {
        let own = r#"299 - "spec.containers[0].resizePolicy: has no effect yet: running containers cannot be resized""#;
        assert!(is_own_warning(own));
        for other in [
            r#"299 - "unknown field \"spec.x\"""#,
            r#"299 - "spec.x: deprecated in v1.28, non-functional in v1.31+""#,
            r#"299 - "spec.x has no effect yet""#,
        ] {
            assert!(!is_own_warning(other), "{other}");
        }
    }
}
