//! Variables from files that containers leave in their pod's emptyDirs for later ones (`fileKeyRef`, KEP-3721). Pure; the files
//! are read by [`crate::volumes::env_files`].

use super::error::ConfigError;
use k8s_openapi::api::core::v1::FileKeySelector;
use std::collections::BTreeMap;

/// What is in the files that a container refers to, by volume and path; nothing for one that is not there.
pub(crate) type EnvFiles = BTreeMap<(String, String), Option<String>>;

/// The value that a reference finds; `None` when it is optional and missing. An empty value is none.
pub(super) fn value(reference: &FileKeySelector, files: &EnvFiles) -> Result<Option<String>, ConfigError> {
    let FileKeySelector { volume_name, path, key, optional } = reference;
    let file = files.get(&(volume_name.clone(), path.clone())).and_then(Option::as_deref);
    let found = lookup(file.unwrap_or_default(), key);
    let found = found.map_err(|why| ConfigError::EnvFile { path: path.clone(), why })?;
    match found.filter(|value| !value.is_empty()) {
        None if *optional != Some(true) => {
            Err(ConfigError::NoFileKey { key: key.clone(), path: path.clone() })
        }
        value => Ok(value),
    }
}

/// The value of `key` in a file of lines `KEY='value'`, with comments that begin with `#`. Lines after the one that is looked for
/// are not read.
fn lookup(text: &str, key: &str) -> Result<Option<String>, String> {
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| format!("invalid environment variable format at line {number}: {what}");
        let (name, rest) = assignment(line).map_err(wrong)?;
        let value = match rest.starts_with([' ', '\t']) {
            // As in a shell, the variable is empty.
            true => String::new(),
            false => quoted(rest, lines.by_ref().map(|(_, line)| line)).map_err(wrong)?,
        };
        if name == key {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The name that a line begins with, and what is behind the equals sign.
fn assignment(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, rest) = line.split_once('=').ok_or("missing '='")?;
    match name.trim_end() {
        "" => Err("empty variable name"),
        trimmed if trimmed != name => Err("whitespace before '=' is not allowed"),
        _ => Ok((name, rest)),
    }
}

/// The value in single quotes that `line` begins with: it means what it says, and may go on over the `further` lines.
fn quoted<'a>(mut line: &'a str, mut further: impl Iterator<Item = &'a str>) -> Result<String, &'static str> {
    line = line.strip_prefix('\'').ok_or("value must be enclosed in single quotes")?;
    let mut value = String::new();
    let after = loop {
        if let Some((end, after)) = line.split_once('\'') {
            value.push_str(end);
            break after.trim_start_matches([' ', '\t']);
        }
        value.push_str(line);
        value.push('\n');
        line = further.next().ok_or("unclosed single quote")?;
    };
    match after.is_empty() || after.starts_with('#') {
        true => Ok(value),
        false => Err("unexpected content after closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_kubelet_reads_them() {
        let text =
            "# settings\n\n  A='one two'\nB='first\n second' # more\nC= 'no'\nD=''\nE='$X \\n'\nF='x'y\n";
        let check = |key: &str, expected: Result<Option<&str>, &str>| {
            let found = lookup(text, key);
            assert_eq!(found, expected.map(|value| value.map(str::to_owned)).map_err(str::to_owned), "{key}");
        };
        check("A", Ok(Some("one two")));
        check("B", Ok(Some("first\n second")));
        check("C", Ok(Some("")));
        check("D", Ok(Some("")));
        check("E", Ok(Some("$X \\n")));
        check(
            "G",
            Err("invalid environment variable format at line 9: unexpected content after closing quote"),
        );
        let wrong = |text: &str, what: &str| {
            let expected = format!("invalid environment variable format at line 1: {what}");
            assert_eq!(lookup(text, "K"), Err(expected), "{text}");
        };
        wrong("A", "missing '='");
        wrong("='x'", "empty variable name");
        wrong("A ='x'", "whitespace before '=' is not allowed");
        wrong("A=x", "value must be enclosed in single quotes");
        wrong("A='x", "unclosed single quote");
        assert_eq!(lookup("", "K"), Ok(None));
    }

    #[test]
    fn a_missing_key_is_an_error_unless_it_is_optional() {
        let files = EnvFiles::from([(("v".to_owned(), "f".to_owned()), Some("A='1'\nB=''\n".to_owned()))]);
        let check = |path: &str, key: &str, optional: bool| {
            let (volume_name, path, key) = ("v".to_owned(), path.to_owned(), key.to_owned());
            let reference = FileKeySelector { volume_name, path, key, optional: Some(optional) };
            value(&reference, &files).map_err(|error| error.to_string())
        };
        assert_eq!(check("f", "A", false), Ok(Some("1".into())));
        assert_eq!(check("f", "B", true), Ok(None));
        assert_eq!(check("none", "A", true), Ok(None));
        let missing = r#"environment variable key "C" not found in file "f""#;
        assert_eq!(check("f", "C", false), Err(missing.into()));
    }
}
