//! Tables that the server printed.

use serde_json::Value;

use crate::error::Error;
use crate::print::columns::TABLE;

/// A server-side Table as aligned text.
#[derive(Debug, Default)]
pub(crate) struct TableText {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Which parts of a table are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) wide: bool,
    pub(crate) namespace: bool,
    /// Put before each name, e.g. `pod` for `pod/NAME`.
    pub(crate) prefix: Option<&'a str>,
    /// Labels with a column each.
    pub(crate) labels: &'a [String],
    /// Whether all labels are shown in a last column.
    pub(crate) all_labels: bool,
}

impl TableText {
    /// Reads a Table. `columns` carries the definitions over from an earlier table of the same watch.
    pub(crate) fn of(table: &Value, shown: Shown<'_>, columns: &mut Vec<Value>) -> Self {
        if let Some(definitions) = table["columnDefinitions"].as_array().filter(|list| !list.is_empty()) {
            columns.clone_from(definitions);
        }
        let visible: Vec<usize> = (0..columns.len())
            .filter(|i| shown.wide || columns[*i]["priority"].as_i64().unwrap_or(0) == 0)
            .collect();
        let mut headers: Vec<String> =
            visible.iter().map(|i| columns[*i]["name"].as_str().unwrap_or("").to_uppercase()).collect();
        let mut rows = Vec::new();
        for row in table["rows"].as_array().into_iter().flatten() {
            let mut cells: Vec<String> = visible.iter().map(|i| cell(&row["cells"][*i])).collect();
            if let (Some(prefix), Some(first)) = (shown.prefix, cells.first_mut()) {
                *first = format!("{prefix}/{first}");
            }
            if shown.namespace {
                cells.insert(0, cell(&row["object"]["metadata"]["namespace"]));
            }
            let labels = &row["object"]["metadata"]["labels"];
            cells.extend(shown.labels.iter().map(|label| labels[label].as_str().unwrap_or("").to_owned()));
            if shown.all_labels {
                cells.push(all_labels(labels));
            }
            rows.push(cells);
        }
        let short = |label: &String| label.rsplit('/').next().unwrap_or(label).to_uppercase();
        headers.extend(shown.labels.iter().map(short));
        if shown.all_labels {
            headers.push("LABELS".to_owned());
        }
        if shown.namespace {
            headers.insert(0, "NAMESPACE".to_owned());
        }
        Self { headers, rows }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts the rows of a table of the same kind below.
    pub(crate) fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    pub(crate) fn print(&self, with_headers: bool) -> Result<(), Error> {
        let mut rows = self.rows.clone();
        if with_headers {
            rows.insert(0, self.headers.clone());
        }
        Ok(skiff_print::text(TABLE.rows(&rows))?)
    }
}

fn all_labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => match text.split_once(['\n', '\r', '\u{c}']) {
            Some((first, _)) => format!("{first}..."),
            None => text.clone(),
        },
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hides_wide_columns_and_prefixes_names() {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}, {"name": "Age", "priority": 0}],
            "rows": [{"cells": ["a", "10.0.0.1", "5s"], "object": {"metadata": {"namespace": "n"}}}],
        });
        let check = |shown: Shown<'_>, headers: &[&str], row: &[&str]| {
            let text = TableText::of(&table, shown, &mut Vec::new());
            assert_eq!(
                (text.headers.as_slice(), text.rows[0].as_slice()),
                (owned(headers).as_slice(), owned(row).as_slice())
            );
        };
        check(Shown::default(), &["NAME", "AGE"], &["a", "5s"]);
        check(Shown { wide: true, ..Shown::default() }, &["NAME", "IP", "AGE"], &["a", "10.0.0.1", "5s"]);
        let all = Shown { namespace: true, prefix: Some("pod"), ..Shown::default() };
        check(all, &["NAMESPACE", "NAME", "AGE"], &["n", "pod/a", "5s"]);
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
