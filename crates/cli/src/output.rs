//! Tables and whole objects as text.

use serde_json::Value;

use crate::error::Error;

/// Gap between columns, as kubectl leaves it.
const GAP: usize = 3;

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
            rows.push(cells);
        }
        if shown.namespace {
            headers.insert(0, "NAMESPACE".to_owned());
        }
        Self { headers, rows }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn print(&self, with_headers: bool) -> Result<(), Error> {
        let lines: Vec<&Vec<String>> =
            with_headers.then_some(&self.headers).into_iter().chain(&self.rows).collect();
        let width =
            |column: usize| lines.iter().map(|l| l.get(column).map_or(0, |c| c.chars().count())).max();
        let widths: Vec<usize> = (0..self.headers.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for line in lines {
            let mut row = String::new();
            for (value, width) in line.iter().zip(&widths) {
                row.push_str(&format!("{value:<width$}", width = width + GAP));
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        Ok(skiff_print::text(text)?)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.lines().next().unwrap_or("").to_owned(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

/// Prints one object, or several as a `List`.
pub(crate) fn whole(mut objects: Vec<Value>, yaml: bool) -> Result<(), Error> {
    let value = if objects.len() == 1 {
        objects.remove(0)
    } else {
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects, "metadata": {"resourceVersion": ""}})
    };
    let text = if yaml {
        serde_saphyr::to_string(&value).map_err(|error| Error::Usage(error.to_string()))?
    } else {
        serde_json::to_string_pretty(&value)? + "\n"
    };
    Ok(skiff_print::text(text)?)
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
