//! `-o custom-columns`: tables whose columns the user names.

use serde_json::Value;

use crate::error::Error;
use crate::print::columns;
use crate::print::jsonpath::{JsonPath, word};

/// The columns, each with its title and what it shows.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    columns: Vec<(String, JsonPath)>,
    headers: bool,
}

impl Columns {
    /// The columns that `--output` names; `None` when it names another format.
    pub(super) fn of(output: &str, no_headers: bool) -> Result<Option<Self>, Error> {
        let spec = match output.split_once('=') {
            Some(("custom-columns", spec)) => spec.to_owned(),
            Some(("custom-columns-file", path)) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|error| Error::Usage(format!("error reading template {path}, {error}")))?;
                return Self::of_file(&text, no_headers).map(Some);
            }
            _ if output == "custom-columns" => String::new(),
            _ => return Ok(None),
        };
        if spec.is_empty() {
            return Err(Error::usage("custom-columns format specified but no custom columns given"));
        }
        let column = |part: &str| {
            let (title, path) = part
                .split_once(':')
                .filter(|(title, path)| !title.is_empty() && !path.is_empty())
                .ok_or_else(|| {
                    Error::Usage(format!(
                        "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                    ))
                })?;
            Ok((title.to_owned(), JsonPath::relaxed(path).map_err(Error::Usage)?))
        };
        let columns = spec.split(',').map(column).collect::<Result<_, Error>>()?;
        Ok(Some(Self { columns, headers: !no_headers }))
    }

    /// A line of titles and one of paths.
    fn of_file(text: &str, no_headers: bool) -> Result<Self, Error> {
        let mut lines = text.lines().map(str::split_whitespace);
        let (titles, paths) = (lines.next(), lines.next());
        let (Some(titles), Some(paths)) = (titles, paths) else {
            return Err(Error::usage(
                "invalid template, missing spec line. Expected format is one line of space separated column headers, one line of space separated column specs.",
            ));
        };
        let pairs = titles.zip(paths);
        let columns =
            pairs.map(|(title, path)| Ok((title.to_owned(), JsonPath::relaxed(path).map_err(Error::Usage)?)));
        Ok(Self { columns: columns.collect::<Result<_, Error>>()?, headers: !no_headers })
    }

    pub(super) fn text(&self, items: &[Value]) -> Result<String, Error> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if self.headers {
            rows.push(self.columns.iter().map(|(title, _)| title.clone()).collect());
        }
        for item in items {
            let cell = |(_, path): &(String, JsonPath)| {
                let found: Vec<String> =
                    path.values(item).map_err(Error::Usage)?.into_iter().map(word).collect();
                Ok(if found.is_empty() { "<none>".to_owned() } else { found.join(",") })
            };
            rows.push(self.columns.iter().map(cell).collect::<Result<_, Error>>()?);
        }
        Ok(columns::TABLE.rows(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;
    use serde_json::json;

    #[test]
    fn shows_what_is_named() {
        let items =
            [json!({"metadata": {"name": "a"}, "l": [1, 2]}), json!({"metadata": {"name": "long-name"}})];
        let columns = Columns::of("custom-columns=N:.metadata.name,L:.l[*]", false).unwrap().unwrap();
        assert_eq!(columns.text(&items).unwrap(), "N           L\na           1,2\nlong-name   <none>\n");
        assert_eq!(Columns::of("yaml", false).unwrap(), None);
        let error = Columns::of("custom-columns=N", false).unwrap_err().to_string();
        assert_eq!(error, "error: unexpected custom-columns spec: N, expected <header>:<json-path-expr>");
    }
}
