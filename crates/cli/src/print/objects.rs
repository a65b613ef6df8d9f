//! Objects in the formats of `--output`, and the line that says what happened to one.

use serde_json::{Value, json};

use crate::error::Error;
use crate::line::{Flag, Given};
use crate::print::jsonpath::JsonPath;
use crate::print::yaml;

pub(crate) const OUTPUT: Flag = Flag::text(
    "output",
    "How objects are printed: json, yaml, name, jsonpath=TEMPLATE or jsonpath-as-json=TEMPLATE",
)
.short('o');
const SHOW_MANAGED_FIELDS: Flag =
    Flag::switch("show-managed-fields", "Keep managedFields in what is printed as JSON or YAML");
/// How objects are printed.
pub(crate) const PRINT: &[Flag] = &[OUTPUT, SHOW_MANAGED_FIELDS];

pub(crate) const DRY_RUN: Flag = Flag::optional(
    "dry-run",
    "unchanged",
    "\"none\", \"server\" (ask the server what would happen) or \"client\" (print what would be sent)",
)
.default("none");
pub(crate) const FIELD_MANAGER: Flag =
    Flag::text("field-manager", "Whom the fields that are set belong to").default("");

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DryRun {
    None,
    Client,
    Server,
}

impl DryRun {
    pub(crate) fn of(given: &Given) -> Result<Self, Error> {
        match given.text(&DRY_RUN) {
            "none" => Ok(Self::None),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "unchanged" => {
                skiff_print::note(
                    "Warning: --dry-run is deprecated and can be replaced with --dry-run=client.",
                );
                Ok(Self::Client)
            }
            other => Err(Error::Usage(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// The parameter of requests.
    pub(crate) fn query(self) -> Option<&'static str> {
        (self == Self::Server).then_some("All")
    }

    pub(crate) fn is_client(self) -> bool {
        self == Self::Client
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// How whole objects are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Name,
    JsonPath(JsonPath),
    /// What the path finds, as a JSON array.
    JsonPathAsJson(JsonPath),
}

impl Format {
    /// The format that `--output` asks for, if any.
    pub(crate) fn of(given: &Given) -> Result<Option<Self>, Error> {
        given.some(&OUTPUT).map(Self::parse).transpose()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let template = |text: &str| JsonPath::parse(text).map_err(Error::Usage);
        match text {
            "json" => return Ok(Self::Json),
            "yaml" => return Ok(Self::Yaml),
            "name" => return Ok(Self::Name),
            _ => {}
        }
        match text.split_once('=') {
            Some(("jsonpath", path)) => Ok(Self::JsonPath(template(path)?)),
            Some(("jsonpath-as-json", path)) => Ok(Self::JsonPathAsJson(template(path)?)),
            Some(("jsonpath-file", path)) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|error| Error::Usage(format!("error reading --template {path}, {error}")))?;
                Ok(Self::JsonPath(template(&text)?))
            }
            _ if text == "jsonpath" || text == "jsonpath-as-json" => {
                Err(Error::usage("template format specified but no template given"))
            }
            _ => Err(Error::Usage(format!(
                "unable to match a printer suitable for the output format \"{text}\", allowed formats are: json,jsonpath,jsonpath-as-json,jsonpath-file,name,yaml"
            ))),
        }
    }

    /// An object as people want to read it: whoever has it as a whole sees its managed fields only if they are asked for.
    fn shown(&self, object: &Value, managed_fields: bool) -> Result<String, Error> {
        match self {
            Self::Json | Self::Yaml if !managed_fields => self.text(&without_managed_fields(object)),
            _ => self.text(object),
        }
    }

    pub(crate) fn text(&self, object: &Value) -> Result<String, Error> {
        Ok(match self {
            Self::Json => pretty(object)?,
            Self::Yaml => yaml::document(object),
            Self::Name => format!("{}\n", reference(object)),
            Self::JsonPath(path) => path.text(object).map_err(Error::Usage)?,
            Self::JsonPathAsJson(path) => pretty(&Value::Array(
                path.values(object).map_err(Error::Usage)?.into_iter().cloned().collect(),
            ))?,
        })
    }
}

fn pretty(value: &Value) -> Result<String, Error> {
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, indent))?;
    Ok(String::from_utf8_lossy(&text).into_owned() + "\n")
}

/// `deployment.apps/web`.
pub(crate) fn reference(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Several objects as one.
pub(crate) fn list(objects: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects, "metadata": {"resourceVersion": ""}})
}

/// How what has happened to objects is told.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    format: Option<Format>,
    managed_fields: bool,
    pub(crate) dry_run: DryRun,
}

impl Change {
    /// Of a command that knows `--output` and `--dry-run`.
    pub(crate) fn of(given: &Given) -> Result<Self, Error> {
        Ok(Self {
            dry_run: DryRun::of(given)?,
            format: Format::of(given)?,
            managed_fields: given.is_on(&SHOW_MANAGED_FIELDS),
        })
    }

    /// Of a command that knows only `--output`.
    pub(crate) fn without_dry_run(given: &Given) -> Result<Self, Error> {
        let managed_fields = given.is_on(&SHOW_MANAGED_FIELDS);
        Ok(Self { dry_run: DryRun::None, format: Format::of(given)?, managed_fields })
    }

    /// Prints the object as asked for, or `deployment.apps/web restarted`.
    pub(crate) fn print(&self, object: &Value, what: &str) -> Result<(), Error> {
        let text = match &self.format {
            Some(format) => format.shown(object, self.managed_fields)?,
            None => format!("{} {what}{}\n", reference(object), self.dry_run.suffix()),
        };
        Ok(skiff_print::text(text)?)
    }
}

/// The object, and those in it if it is a list, without what is many lines that nobody asked for.
fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    let remove = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    remove(&mut object);
    object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(remove);
    object
}

/// Prints objects in a format.
pub(crate) fn print(format: &Format, object: &Value, given: &Given) -> Result<(), Error> {
    Ok(skiff_print::text(format.shown(object, given.is_on(&SHOW_MANAGED_FIELDS))?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_objects_are_shown_without_managed_fields_and_nothing_else_is_added() {
        let object = json!({"kind": "A", "metadata": {"name": "a", "managedFields": [{"manager": "m"}]}});
        let yaml = |object: &Value, keep| Format::Yaml.shown(object, keep).unwrap();
        assert_eq!(yaml(&object, false), "kind: A\nmetadata:\n  name: a\n");
        assert!(yaml(&object, true).contains("manager: m"));
        assert_eq!(yaml(&json!({"kind": "A"}), false), "kind: A\n");
        assert!(!yaml(&json!({"items": [object.clone()]}), false).contains("managedFields"));
        let path = Format::parse("jsonpath={.metadata.managedFields[0].manager}").unwrap();
        assert_eq!(path.shown(&object, false).unwrap(), "m");
    }

    #[test]
    fn formats_are_named_as_kubectl_names_them() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        let check = |format: &str, text: &str| {
            let told = Format::parse(format).and_then(|format| format.text(&object));
            assert_eq!(told.unwrap_or_else(|error| error.to_string()), text, "{format}");
        };
        check("name", "deployment.apps/web\n");
        check("yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n");
        check("jsonpath={.metadata.name}", "web");
        check("jsonpath-as-json={.kind}", "[\n    \"Deployment\"\n]\n");
        check("jsonpath={.items}", "");
        check("jsonpath", "error: template format specified but no template given");
    }
}
