//! `create configmap`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::sources::{self, APPEND_HASH, Data, SOURCES};
use super::{CREATE, Kind};
use crate::error::Error;
use crate::line::{Command, Given};
use crate::print::objects::PRINT;

pub(super) const COMMAND: Command = Command::new(
    "configmap",
    "NAME [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]",
    "Create a ConfigMap from files or literals",
)
.aliases(&["cm"])
.examples(
    "# From values
     kubectl create configmap shop --from-literal=colour=red --from-literal=size=4
     # From the files of a directory, or one with a key of its own
     kubectl create configmap shop --from-file=config/
     kubectl create configmap shop --from-file=app.conf=config/production.conf",
)
.flags(&[SOURCES, PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        Kind::namespaced("configmaps", "failed to create configmap: ").send(cx, given, make(given)?).await
    })
});

fn make(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let mut data = Data::new(check);
    data.read(given).map_err(|error| named(error, name))?;
    let (mut texts, mut bytes) = (Map::new(), Map::new());
    for (key, value) in data.entries {
        match String::from_utf8(value) {
            Ok(text) => texts.insert(key, json!(text)),
            Err(error) => bytes.insert(key, json!(BASE64_STANDARD.encode(error.as_bytes()))),
        };
    }
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if given.is_on(&APPEND_HASH) {
        let data = if texts.is_empty() { json!("") } else { json!(texts) };
        let mut content = json!({"kind": "ConfigMap", "name": name, "data": data});
        if !bytes.is_empty() {
            content["binaryData"] = json!(bytes);
        }
        object["metadata"]["name"] = json!(format!("{name}-{}", sources::hash(&content)));
    }
    for (field, entries) in [("data", texts), ("binaryData", bytes)] {
        if !entries.is_empty() {
            object[field] = Value::Object(entries);
        }
    }
    Ok(object)
}

/// Stands for the name until it is known.
const NAME: &str = "\u{0}";

fn named(error: Error, name: &str) -> Error {
    match error {
        Error::Usage(text) => Error::Usage(text.replace(NAME, name)),
        other => other,
    }
}

fn check(there: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<(), String> {
    if let Some(problem) = sources::key_problem(key) {
        return Err(format!("\"{key}\" is not a valid key name for a ConfigMap: {problem}"));
    }
    let Some(value) = there.get(key) else { return Ok(()) };
    let place = if std::str::from_utf8(value).is_ok() { "Data" } else { "BinaryData" };
    Err(format!(
        "cannot add key \"{key}\", another key by that name already exists in {place} for ConfigMap \"{NAME}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let file = std::env::temp_dir().join(format!("skiff-cli-configmap-{}", std::process::id()));
        std::fs::create_dir_all(&file).unwrap();
        std::fs::write(file.join("text"), "one\ntwo\n").unwrap();
        std::fs::write(file.join("bytes"), [0xff, 0]).unwrap();
        let text = "apiVersion: v1\nbinaryData:\n  bytes: /wA=\ndata:\n  a: b=c\n  text: |\n    one\n    two\nkind: ConfigMap\nmetadata:\n  name: c\n";
        assert_eq!(made(&format!("cm c --from-literal=a=b=c --from-file={}", file.display()), make), text);
        std::fs::write(file.join("env"), "# comment\nA=1\n\n B=x y\n").unwrap();
        let env = made(&format!("cm c --from-env-file={}/env", file.display()), make);
        assert!(env.contains("data:\n  A: \"1\"\n  B: x y\n"), "{env}");
        std::fs::remove_dir_all(file).unwrap();
        assert!(made("cm c --from-literal=a=b --append-hash", make).contains("name: c-m4h6ctkgb2\n"));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, text) in [
            ("cm c --from-literal=x", "invalid literal source x, expected key=value"),
            ("cm c --from-file=/nothere", "error reading /nothere: no such file or directory"),
            (
                "cm c --from-literal=a=b --from-literal=a=c",
                "cannot add key \"a\", another key by that name already exists in Data for ConfigMap \"c\"",
            ),
            (
                "cm c --from-env-file=x --from-literal=a=b",
                "from-env-file cannot be combined with from-file or from-literal",
            ),
        ] {
            assert_eq!(made(line, make), format!("error: {text}"), "{line}");
        }
    }
}
