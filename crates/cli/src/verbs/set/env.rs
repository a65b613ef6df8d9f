//! `set env`.

use std::io::Read;

use serde_json::{Value, json};

use super::{LOCAL, SET, Told, change_each, refused};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::pods;
use crate::print::objects::{OUTPUT, PRINT};
use crate::select::{ALL, FILENAME, FILES, SELECTOR, Selection};

const CONTAINERS: Flag = Flag::text("containers", "Names of the containers, in which * stands for anything")
    .short('c')
    .default("*");
const ENV: Flag = Flag::each("env", "NAME=VALUE; may be repeated").short('e');
const FROM: Flag = Flag::text("from", "ConfigMap or Secret whose keys become variables, e.g. configmap/shop");
const KEYS: Flag = Flag::list("keys", "Only these keys of --from");
const PREFIX: Flag = Flag::text("prefix", "What is put before the name of each variable");
const LIST: Flag = Flag::switch("list", "Show the variables and change nothing");
const OVERWRITE: Flag =
    Flag::switch("overwrite", "Whether variables that are there may get other values").default("true");

pub(super) const COMMAND: Command = Command::new(
    "env",
    "RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N",
    "Set, remove or show environment variables of containers",
)
.examples(
    "# Set one and remove another
     kubectl set env deployment/kubia COLOUR=red SIZE-
     # What is set
     kubectl set env deployment/kubia --list
     # The keys of a ConfigMap
     kubectl set env deployment/kubia --from=configmap/shop",
)
.flags(&[FILES, PRINT, SET, &[CONTAINERS, ENV, FROM, KEYS, PREFIX, LIST, OVERWRITE]])
.run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told { done: "env updated", failed: "failed to patch env update to pod template: " };

/// What is done to the variables of a container.
#[derive(Debug, Default)]
struct Update {
    set: Vec<Value>,
    remove: Vec<String>,
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (resources, changes) = split(&given.words)?;
    check(given, resources)?;
    let mut update = Update::default();
    let specs: Vec<&String> = given.all(&ENV).iter().chain(changes).collect();
    for spec in &specs {
        update.read(spec)?;
    }
    if let Some(from) = given.some(&FROM) {
        update.set.extend(variables_of(cx, given, from).await?);
    }
    if let Some(name) =
        update.remove.iter().find(|name| update.set.iter().any(|var| var["name"] == name.as_str()))
    {
        return Err(Error::Usage(format!(
            "can not both modify and remove the same environment variable in the same command: {name}"
        )));
    }
    for variable in &mut update.set {
        variable["name"] =
            json!(format!("{}{}", given.text(&PREFIX), variable["name"].as_str().unwrap_or_default()));
    }
    if given.is_on(&LIST) {
        return list(cx, given, resources, &update).await;
    }
    change_each(cx, given, resources, TOLD, |object| set(object, given, &update)).await
}

fn check(given: &Given, resources: &[String]) -> Result<(), Error> {
    let wrong = if given.is_on(&ALL) && given.is_given(&SELECTOR) {
        "cannot set --all and --selector at the same time"
    } else if resources.is_empty() && !given.is_given(&FILENAME) {
        "one or more resources must be specified as <resource> <name> or <resource>/<name>"
    } else if given.is_on(&LIST) && given.is_given(&OUTPUT) {
        "--list and --output may not be specified together"
    } else if given.is_given(&KEYS) && !given.is_given(&FROM) {
        "when specifying --keys, a configmap or secret must be provided with --from"
    } else if given.is_on(&LOCAL) && given.is_given(&FROM) {
        "--from needs the server and --local asks none"
    } else {
        return Ok(());
    };
    Err(Error::usage(wrong))
}

fn split(words: &[String]) -> Result<(&[String], &[String]), Error> {
    let is_change = |word: &String| word.find('=').is_some_and(|at| at > 0) || word.ends_with('-');
    let (resources, changes) = words.split_at(words.iter().position(is_change).unwrap_or(words.len()));
    if !changes.iter().all(is_change) {
        let words = words.join(" ");
        return Err(Error::Usage(format!(
            "all resources must be specified before environment changes: {words}"
        )));
    }
    Ok((resources, changes))
}

impl Update {
    /// Reads `NAME=VALUE`, `NAME-`, or `-` for lines of standard input.
    fn read(&mut self, spec: &str) -> Result<(), Error> {
        if spec == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
            let pairs = lines.filter_map(|line| line.split_once('='));
            self.set.extend(pairs.map(|(name, value)| json!({"name": name, "value": value})));
            return Ok(());
        }
        match spec.split_once('=') {
            Some((name, value)) => {
                if name.is_empty() || name.chars().any(|c| !(' '..='~').contains(&c) || c == '=') {
                    return Err(Error::Usage(format!(
                        "\"{name}\" is not a valid key name: a valid environment variable name must consist only of printable ASCII characters other than '='"
                    )));
                }
                self.set.push(variable(name, value));
            }
            None => match spec.strip_suffix('-') {
                Some(name) => self.remove.push(name.to_owned()),
                None => return Err(Error::Usage(format!("unknown environment variable: {spec}"))),
            },
        }
        Ok(())
    }

    /// The variables of a container as they are then.
    fn apply(&self, there: &[Value]) -> Vec<Value> {
        let mut covered = self.remove.clone();
        let mut out = Vec::new();
        let named = |variable: &Value| variable["name"].as_str().unwrap_or_default().to_owned();
        for old in there {
            let name = named(old);
            if covered.contains(&name) {
                continue;
            }
            match self.set.iter().find(|new| new["name"] == name.as_str()) {
                Some(new) => {
                    covered.push(name);
                    out.push(new.clone());
                }
                None => out.push(old.clone()),
            }
        }
        for new in &self.set {
            let name = named(new);
            if !covered.contains(&name) {
                covered.push(name);
                out.push(new.clone());
            }
        }
        out
    }
}

fn variable(name: &str, value: &str) -> Value {
    if value.is_empty() { json!({"name": name}) } else { json!({"name": name, "value": value}) }
}

/// A variable for each key of a ConfigMap or Secret.
async fn variables_of(cx: &Context, given: &Given, from: &str) -> Result<Vec<Value>, Error> {
    let found = Selection::named(vec![from.to_owned()]).find(cx).await?;
    Error::all(found.errors)?;
    let keys = given.all(&KEYS);
    let mut variables = Vec::new();
    for item in found.items {
        let field = match item.resource.kind.as_str() {
            "Secret" => "secretKeyRef",
            "ConfigMap" => "configMapKeyRef",
            _ => return Err(Error::usage("unsupported resource specified in --from")),
        };
        let data = item.object["data"].as_object().into_iter().flatten();
        for (key, _) in data.filter(|(key, _)| keys.is_empty() || keys.contains(key)) {
            let name: String = key
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
                .collect();
            variables.push(json!({"name": name, "valueFrom": {field: {"name": item.name, "key": key}}}));
        }
    }
    Ok(variables)
}

fn set(object: &mut Value, given: &Given, update: &Update) -> Result<(), Error> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if let Err(why) = pods::spec_mut(object) {
        return Err(refused(object, &why));
    }
    let mut clash = None;
    let spec = pods::spec_mut(object).map_err(Error::Usage)?;
    let containers = pods::containers_mut(spec, given.text(&CONTAINERS));
    if containers.is_empty() {
        let pattern = given.text(&CONTAINERS);
        skiff_print::note(format_args!(
            "Warning: {kind}/{name} does not have any containers matching \"{pattern}\""
        ));
    }
    for container in containers {
        let there = container["env"].as_array().cloned().unwrap_or_default();
        if !given.is_on(&OVERWRITE) {
            let old = |new: &&Value| {
                there.iter().find(|old| old["name"] == new["name"] && old["value"].is_string())
            };
            clash = clash.or_else(|| update.set.iter().find_map(|new| old(&new).cloned()));
        }
        let new = update.apply(&there);
        match new.is_empty() {
            true => drop(container.as_object_mut().map(|container| container.remove("env"))),
            false => container["env"] = Value::Array(new),
        }
    }
    match clash {
        Some(old) => Err(refused(
            object,
            &format!(
                "'{}' already has a value ({}), and --overwrite is false",
                old["name"].as_str().unwrap_or_default(),
                old["value"].as_str().unwrap_or_default()
            ),
        )),
        None => Ok(()),
    }
}

async fn list(cx: &Context, given: &Given, resources: &[String], update: &Update) -> Result<Outcome, Error> {
    let found = Selection::of(given, resources).find(cx).await?;
    Error::all(found.errors)?;
    for mut item in found.items {
        let (kind, name) = (item.resource.kind.clone(), item.name.clone());
        let Ok(spec) = pods::spec_mut(&mut item.object) else { continue };
        for container in pods::containers_mut(spec, given.text(&CONTAINERS)) {
            let container_name = container["name"].as_str().unwrap_or_default();
            skiff_print::line(format_args!("# {kind} {name}, container {container_name}"))?;
            for variable in update.apply(container["env"].as_array().map_or(&[], Vec::as_slice)) {
                skiff_print::line(shown(&variable))?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn shown(variable: &Value) -> String {
    let name = variable["name"].as_str().unwrap_or_default();
    let Some(source) = variable["valueFrom"].as_object() else {
        return format!("{name}={}", variable["value"].as_str().unwrap_or_default());
    };
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let from = match source.iter().next() {
        Some((kind, value)) if kind == "configMapKeyRef" => {
            format!("configmap {}, key {}", text(value, "name"), text(value, "key"))
        }
        Some((kind, value)) if kind == "secretKeyRef" => {
            format!("secret {}, key {}", text(value, "name"), text(value, "key"))
        }
        Some((kind, value)) if kind == "fieldRef" => format!("field path {}", text(value, "fieldPath")),
        Some((kind, value)) if kind == "resourceFieldRef" => {
            let container = text(value, "containerName");
            let prefix = if container.is_empty() { String::new() } else { format!("{container}/") };
            format!("resource field {prefix}{}", text(value, "resource"))
        }
        _ => "invalid valueFrom".to_owned(),
    };
    format!("# {name} from {from}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_their_places() {
        let mut update = Update::default();
        for spec in ["B=2", "C=", "A-"] {
            update.read(spec).unwrap();
        }
        let there = [variable("A", "x"), variable("B", "x"), variable("D", "x")];
        assert_eq!(update.apply(&there), [variable("B", "2"), variable("D", "x"), variable("C", "")]);
        assert_eq!(update.read("x").unwrap_err().to_string(), "error: unknown environment variable: x");
    }

    #[test]
    fn shows_values_and_where_they_come_from() {
        assert_eq!(shown(&variable("A", "b")), "A=b");
        let from = json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}});
        assert_eq!(shown(&from), "# A from configmap c, key k");
    }
}
