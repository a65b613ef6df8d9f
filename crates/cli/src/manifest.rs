//! Objects in YAML or JSON files.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::line::Given;
use crate::select::{FILENAME, RECURSIVE};

/// The objects of the files that are given to a command that takes nothing else.
pub(crate) fn given(given: &Given) -> Result<Vec<Value>, Error> {
    if !given.words.is_empty() {
        return Err(given.misuse(format_args!("Unexpected args: [{}]", given.words.join(" "))));
    }
    match given.all(&FILENAME) {
        [] => Err(Error::usage("must specify one of -f and -k")),
        files => read_all(files, given.is_on(&RECURSIVE)),
    }
}

/// Reads all objects of files and directories.
pub(crate) fn read_all(paths: &[String], recursive: bool) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for path in paths {
        if path != "-" && !Path::new(path).exists() {
            return Err(Error::Usage(format!("the path \"{path}\" does not exist")));
        }
        for file in files(Path::new(path), recursive)? {
            objects.extend(read(&file)?);
        }
    }
    if objects.is_empty() { Err(Error::usage("no objects passed")) } else { Ok(objects) }
}

/// The file itself, or the files of a directory that can hold objects, in order.
fn files(path: &Path, recursive: bool) -> Result<Vec<String>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.display().to_string()]);
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
    skiff_ordered::sort_by_key(&mut entries, std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path();
        let is_object = path.extension().is_some_and(|end| ["json", "yaml", "yml"].iter().any(|e| end == *e));
        if path.is_dir() {
            if recursive {
                found.extend(files(&path, true)?);
            }
        } else if is_object {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

/// Reads all objects of a file (`-`: standard input); `List` objects are taken apart.
fn read(path: &str) -> Result<Vec<Value>, Error> {
    let failed = |reason: String| Error::Manifest { path: path.to_owned(), reason };
    let mut text = String::new();
    if path == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    }
    parse(&text).map_err(failed)
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut map) if map.get("kind").is_some_and(|kind| kind == "List") => {
                objects.extend(
                    map.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default(),
                );
            }
            Value::Object(map) => objects.push(Value::Object(map)),
            other => return Err(format!("expected an object, found {other}")),
        }
    }
    for object in &objects {
        for field in ["apiVersion", "kind"] {
            if object[field].as_str().is_none_or(str::is_empty) {
                return Err(format!("error validating data: {field} not set"));
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn takes_documents_and_lists_apart() {
        let kinds = |text: &str| -> Result<Vec<String>, String> {
            Ok(parse(text)?.iter().map(|object| object["kind"].as_str().unwrap_or("").to_owned()).collect())
        };
        assert_eq!(
            kinds("apiVersion: v1\nkind: A\n---\n---\napiVersion: v1\nkind: B\n"),
            Ok(vec!["A".to_owned(), "B".to_owned()])
        );
        assert_eq!(
            kinds("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: C}]}"),
            Ok(vec!["C".to_owned()])
        );
        assert!(kinds("kind: A").is_err());
        assert_eq!(kinds(""), Ok(Vec::new()));
    }
}
