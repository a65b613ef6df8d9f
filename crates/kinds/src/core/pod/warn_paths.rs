//! Volumes of which two files would be one, or one the directory of the other.

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::go;

/// A file of a volume, and where its content comes from.
#[derive(Clone, PartialEq)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn shown(&self) -> String {
        let path = go::quoted(&self.path);
        if self.source.is_empty() { path } else { format!("{path} ({})", self.source) }
    }

    fn collides(&self, other: &Self) -> bool {
        let (mine, theirs) = (format!("{}/", self.path), format!("{}/", other.path));
        let both = !self.path.is_empty() && !other.path.is_empty();
        both && (mine.starts_with(&theirs) || theirs.starts_with(&mine))
    }
}

/// The texts for a volume.
pub(super) fn overlaps(volume: &Value) -> Vec<String> {
    let name = go::quoted(str_of(volume, "name"));
    let told = |what: &str, files: Vec<File>| {
        let texts = colliding(&files).into_iter();
        texts.map(|text| format!("volume {name} ({what}): overlapping paths: {text}")).collect::<Vec<_>>()
    };
    let mut warnings = Vec::new();
    if let Some(source) = volume.get("configMap") {
        let what = format!("ConfigMap {}", go::quoted(str_of(source, "name")));
        warnings.extend(told(&what, files(source, "")));
    }
    if let Some(source) = volume.get("secret") {
        let what = format!("Secret {}", go::quoted(str_of(source, "secretName")));
        warnings.extend(told(&what, files(source, "")));
    }
    if let Some(source) = volume.get("downwardAPI") {
        warnings.extend(told("DownwardAPI", files(source, "")));
    }
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
    let mut all = Vec::new();
    for source in sources {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            warnings.push(format!("volume {name} (Projected) has no sources provided"));
        }
        all.extend(projected(source));
    }
    warnings.extend(told("Projected", all));
    warnings
}

fn files(source: &Value, of: &str) -> Vec<File> {
    let items = source.get("items").and_then(Value::as_array).into_iter().flatten();
    items.map(|item| file(str_of(item, "path"), of)).collect()
}

fn file(path: &str, source: &str) -> File {
    File { path: path.trim_end_matches('/').to_owned(), source: source.to_owned() }
}

/// The files of a source of a projected volume: of the first kind that says some.
fn projected(source: &Value) -> Vec<File> {
    let has_items = |kind: &str| source.get(kind).filter(|inner| inner.get("items").is_some());
    let named = |kind: &str, inner: &Value| format!("{kind} {}", go::quoted(str_of(inner, "name")));
    if let Some(inner) = has_items("configMap") {
        files(inner, &named("ConfigMap", inner))
    } else if let Some(inner) = has_items("secret") {
        files(inner, &named("Secret", inner))
    } else if let Some(inner) = has_items("downwardAPI") {
        files(inner, "DownwardAPI")
    } else if let Some(inner) = source.get("serviceAccountToken") {
        vec![file(str_of(inner, "path"), "ServiceAccountToken")]
    } else {
        Vec::new()
    }
}

/// Each file with those before it that it cannot be beside.
fn colliding(files: &[File]) -> Vec<String> {
    let mut texts = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let others = files[..at].iter().filter(|other| file.collides(other));
        texts.extend(others.map(|other| format!("{} with {}", file.shown(), other.shown())));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_are_not_directories() {
        let check = |volume: Value, expected: &[&str]| assert_eq!(overlaps(&volume), expected);
        let item = |path: &str| json!({"key": "k", "path": path});
        check(
            json!({"name": "v", "configMap": {"name": "c", "items": [item("a"), item("b"), item("ab")]}}),
            &[],
        );
        check(
            json!({"name": "v", "configMap": {"name": "c", "items": [item("a"), item("a/b")]}}),
            &["volume \"v\" (ConfigMap \"c\"): overlapping paths: \"a/b\" with \"a\""],
        );
        check(
            json!({"name": "v", "projected": {"sources": [
                {"secret": {"name": "s", "items": [item("token")]}}, {"serviceAccountToken": {"path": "token"}}]}}),
            &[
                "volume \"v\" (Projected): overlapping paths: \"token\" (ServiceAccountToken) with \"token\" (Secret \"s\")",
            ],
        );
        check(
            json!({"name": "v", "projected": {"sources": [{}]}}),
            &["volume \"v\" (Projected) has no sources provided"],
        );
    }
}
