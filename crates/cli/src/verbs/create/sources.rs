//! Where the data of ConfigMaps and Secrets comes from: literals, files, directories and files of variables.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::line::{Flag, Given};

pub(super) const FROM_FILE: Flag =
    Flag::list("from-file", "File whose name is the key, KEY=FILE, or a directory of files; may be repeated");
pub(super) const FROM_LITERAL: Flag = Flag::each("from-literal", "KEY=VALUE; may be repeated");
pub(super) const FROM_ENV_FILE: Flag =
    Flag::list("from-env-file", "File with lines of KEY=VALUE; may be repeated");
pub(super) const APPEND_HASH: Flag =
    Flag::switch("append-hash", "Make a hash of the data a part of the name");
/// All sources of data.
pub(super) const SOURCES: &[Flag] = &[FROM_FILE, FROM_LITERAL, FROM_ENV_FILE, APPEND_HASH];

/// Checks whether a key may be added to data.
type Check = fn(&BTreeMap<String, Vec<u8>>, &str) -> Result<(), String>;

/// Data by key. What may be a key, and what is said of one that may not, is the kind's.
pub(super) struct Data {
    pub(super) entries: BTreeMap<String, Vec<u8>>,
    put: Check,
}

impl Data {
    pub(super) fn new(put: Check) -> Self {
        Self { entries: BTreeMap::new(), put }
    }

    /// Reads what the flags name.
    pub(super) fn read(&mut self, given: &Given) -> Result<(), Error> {
        let env = given.all(&FROM_ENV_FILE);
        if !env.is_empty() && (given.is_given(&FROM_FILE) || given.is_given(&FROM_LITERAL)) {
            return Err(Error::usage("from-env-file cannot be combined with from-file or from-literal"));
        }
        given.all(&FROM_FILE).iter().try_for_each(|source| self.file(source))?;
        for source in given.all(&FROM_LITERAL) {
            let (key, value) = literal(source).map_err(Error::Usage)?;
            self.insert(key, value.as_bytes().to_vec())?;
        }
        env.iter().try_for_each(|path| self.env_file(path))
    }

    fn insert(&mut self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        (self.put)(&self.entries, key).map_err(Error::Usage)?;
        self.entries.insert(key.to_owned(), value);
        Ok(())
    }

    pub(super) fn file(&mut self, source: &str) -> Result<(), Error> {
        let (key, path) = file(source).map_err(Error::Usage)?;
        let place = Path::new(path);
        let metadata = std::fs::metadata(place).map_err(|error| reading(path, &error))?;
        if !metadata.is_dir() {
            let data = std::fs::read(place).map_err(|error| reading(path, &error))?;
            return self.insert(key, data);
        }
        if source.contains('=') {
            return Err(Error::usage("cannot give a key name for a directory path"));
        }
        let mut entries: Vec<_> = std::fs::read_dir(place)?.collect::<Result<_, _>>()?;
        skiff_ordered::sort_by_key(&mut entries, std::fs::DirEntry::file_name);
        for entry in entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
            self.insert(&entry.file_name().to_string_lossy(), std::fs::read(entry.path())?)?;
        }
        Ok(())
    }

    fn env_file(&mut self, path: &str) -> Result<(), Error> {
        if std::fs::metadata(path).map_err(|error| reading(path, &error))?.is_dir() {
            return Err(Error::usage("env config file cannot be a directory"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| reading(path, &error))?;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, value.to_owned()),
                None => (line, std::env::var(line).unwrap_or_default()),
            };
            self.insert(key, value.into_bytes())?;
        }
        Ok(())
    }
}

fn reading(path: &str, error: &std::io::Error) -> Error {
    Error::Usage(format!("error reading {path}: {}", reason(error)))
}

/// The reason in the words of the system, as programs in C and Go write them.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn literal(source: &str) -> Result<(&str, &str), String> {
    let parts = source.split_once('=').filter(|(key, _)| !key.is_empty());
    parts.ok_or_else(|| format!("invalid literal source {source}, expected key=value"))
}

fn file(source: &str) -> Result<(&str, &str), String> {
    match source.split('=').collect::<Vec<_>>().as_slice() {
        [path] => Ok((path.trim_end_matches('/').rsplit('/').next().unwrap_or(path), path)),
        ["", path] => Err(format!("key name for file path {path} missing")),
        [key, ""] => Err(format!("file path for key name {key} missing")),
        [key, path] => Ok((key, path)),
        _ => Err("key names or file paths cannot contain '='".to_owned()),
    }
}

/// Why a text cannot be a key, if it cannot.
pub(super) fn key_problem(key: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if key.len() > 253 {
        return Some("must be no more than 253 characters".to_owned());
    }
    if key.is_empty() || !key.chars().all(allowed) {
        return Some("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    match key {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if key.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The end that `--append-hash` gives a name: letters and digits that make no words, of a hash of what the object holds.
pub(super) fn hash(content: &Value) -> String {
    let sum = Sha256::digest(content.to_string());
    let hex: String = sum.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    hex.chars()
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_name_keys_and_files() {
        assert_eq!(file("dir/a.txt"), Ok(("a.txt", "dir/a.txt")));
        assert_eq!(file("k=dir/a.txt"), Ok(("k", "dir/a.txt")));
        assert_eq!(file("=a"), Err("key name for file path a missing".to_owned()));
        assert_eq!(file("k="), Err("file path for key name k missing".to_owned()));
        assert_eq!(file("a=b=c"), Err("key names or file paths cannot contain '='".to_owned()));
        assert_eq!(literal("a=b=c"), Ok(("a", "b=c")));
        assert_eq!(literal("=b"), Err("invalid literal source =b, expected key=value".to_owned()));
    }

    #[test]
    fn keys_are_checked() {
        for (key, good) in
            [("a", true), ("A_b-c.d", true), ("", false), ("a b", false), ("..", false), ("..a", false)]
        {
            assert_eq!(key_problem(key).is_none(), good, "{key}");
        }
    }
}
