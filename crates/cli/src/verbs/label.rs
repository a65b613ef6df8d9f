//! `label` and `annotate`.

use serde_json::{Map, Value, json};

use crate::change::{Sent, change};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{ALL, ALL_NAMESPACES, FIELD_SELECTOR, FILES, Item, SELECTOR, Selection};

const OVERWRITE: Flag = Flag::switch("overwrite", "Allow other values for what is set");
const LIST: Flag = Flag::switch("list", "Show what is set");
const RESOURCE_VERSION: Flag = Flag::text("resource-version", "Only if the object is at this version");
const FLAGS: &[&[Flag]] = &[
    FILES,
    PRINT,
    &[
        ALL,
        ALL_NAMESPACES,
        SELECTOR,
        FIELD_SELECTOR,
        OVERWRITE,
        LIST,
        RESOURCE_VERSION,
        DRY_RUN,
        FIELD_MANAGER,
    ],
];

pub(crate) const LABEL: Command = Command::new(
    "label",
    "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    "Set, remove or show labels",
)
.examples(
    "# Set one, and remove another
     kubectl label pod web tier=front
     kubectl label pod web tier-",
)
.flags(FLAGS)
.run(|cx, given| Box::pin(run(cx, given, &LABELS)));

pub(crate) const ANNOTATE: Command = Command::new(
    "annotate",
    "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    "Set, remove or show annotations",
)
.examples("# Say why\nkubectl annotate deployment kubia kubernetes.io/change-cause='red is better'")
.flags(FLAGS)
.run(|cx, given| Box::pin(run(cx, given, &ANNOTATIONS)));

/// What labels and annotations have different.
struct Kind {
    field: &'static str,
    what: &'static str,
    manager: &'static str,
}

const LABELS: Kind = Kind { field: "labels", what: "label", manager: "kubectl-label" };
const ANNOTATIONS: Kind = Kind { field: "annotations", what: "annotation", manager: "kubectl-annotate" };

/// The pairs that the command line names.
#[derive(Debug, Default, PartialEq)]
struct Pairs {
    set: Map<String, Value>,
    remove: Vec<String>,
}

async fn run(cx: &Context, given: &Given, kind: &Kind) -> Result<Outcome, Error> {
    let is_pair =
        |word: &String| word.find('=').is_some_and(|at| at > 0) || word.len() > 1 && word.ends_with('-');
    let (resources, words) =
        given.words.split_at(given.words.iter().position(is_pair).unwrap_or(given.words.len()));
    if let Some(word) = words.iter().find(|word| !is_pair(word)) {
        return Err(Error::Usage(format!(
            "all resources must be specified before {} changes: {word}",
            kind.what
        )));
    }
    let pairs = Pairs::parse(words, kind).map_err(Error::Usage)?;
    let selection = Selection::of(given, resources);
    if words.is_empty() && !given.is_on(&LIST) {
        return Err(Error::Usage(format!("at least one {} update is required", kind.what)));
    }
    if selection.is_empty() {
        return Err(Error::usage(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    let change = Change::of(given)?;
    let found = selection.find(cx).await?;
    let mut errors = found.errors;
    let many = found.items.len() > 1;
    for item in &found.items {
        let done = match given.is_on(&LIST) {
            true => list(item, kind, many),
            false => update(cx, given, &change, item, kind, &pairs).await,
        };
        if let Err(error) = done {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

fn list(item: &Item, kind: &Kind, many: bool) -> Result<(), Error> {
    let indent = if many { " " } else { "" };
    if many {
        let what = item.resource.kind.to_lowercase();
        let group =
            if item.resource.group.is_empty() { String::new() } else { format!(".{}", item.resource.group) };
        skiff_print::line(format_args!("Listing {} for {what}{group}/{}:", kind.field, item.name))?;
    }
    for (key, value) in item.object["metadata"][kind.field].as_object().into_iter().flatten() {
        skiff_print::line(format_args!("{indent}{key}={}", value.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

async fn update(
    cx: &Context,
    given: &Given,
    told: &Change,
    item: &Item,
    kind: &Kind,
    pairs: &Pairs,
) -> Result<(), Error> {
    let manager = given.some(&FIELD_MANAGER).unwrap_or(kind.manager);
    let mut item = item.clone();
    if let Some(version) = given.some(&RESOURCE_VERSION) {
        item.object["metadata"]["resourceVersion"] = json!(version);
    }
    if kind.field == "labels" {
        let there = &item.object["metadata"]["labels"];
        for key in pairs.remove.iter().filter(|key| there[key].is_null()) {
            skiff_print::line(format_args!("label \"{key}\" not found."))?;
        }
    }
    let overwrite = given.is_on(&OVERWRITE);
    let make = |object: &mut Value| pairs.apply(object, kind, overwrite).map_err(Error::Usage);
    let sent = Sent { dry_run: told.dry_run, manager, part: None };
    let (object, changed) = match given.is_given(&RESOURCE_VERSION) {
        true => crate::change::once(cx, &item, sent, make).await?,
        false => change(cx, &item, sent, make).await?,
    };
    told.print(&object, pairs.done(kind, changed))
}

impl Pairs {
    fn parse(words: &[String], kind: &Kind) -> Result<Self, String> {
        let mut pairs = Self::default();
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => drop(pairs.set.insert(key.to_owned(), json!(value))),
                None => pairs.remove.push(word.trim_end_matches('-').to_owned()),
            }
        }
        if let Some(key) = pairs.remove.iter().find(|key| pairs.set.contains_key(*key)) {
            return Err(match kind.field {
                "labels" => "can not both modify and remove a label in the same command".to_owned(),
                _ => format!(
                    "can not both modify and remove the following annotation(s) in the same command: {key}"
                ),
            });
        }
        Ok(pairs)
    }

    fn apply(&self, object: &mut Value, kind: &Kind, overwrite: bool) -> Result<(), String> {
        let there = &mut object["metadata"][kind.field];
        let different = |(key, value): &(&String, &Value)| !there[key].is_null() && there[key] != **value;
        let clashes: Vec<String> = self
            .set
            .iter()
            .filter(|_| !overwrite)
            .filter(different)
            .map(|(key, _)| {
                format!("'{key}' already has a value ({})", there[key].as_str().unwrap_or_default())
            })
            .collect();
        if !clashes.is_empty() {
            return Err(match kind.field {
                "labels" => format!("{}, and --overwrite is false", clashes[0]),
                _ => format!(
                    "--overwrite is false but found the following declared annotation(s): {}",
                    clashes.join("; ")
                ),
            });
        }
        let mut all = there.as_object().cloned().unwrap_or_default();
        all.extend(self.set.clone());
        self.remove.iter().for_each(|key| drop(all.remove(key)));
        match all.is_empty() {
            true => drop(object["metadata"].as_object_mut().map(|metadata| metadata.remove(kind.field))),
            false => *there = Value::Object(all),
        }
        Ok(())
    }

    /// What is said of the object then.
    fn done(&self, kind: &Kind, changed: bool) -> &'static str {
        match (kind.field, changed) {
            ("labels", false) => "not labeled",
            ("labels", true) if self.set.is_empty() => "unlabeled",
            ("labels", true) => "labeled",
            _ => "annotated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(object: Value, words: &[&str], kind: &Kind, overwrite: bool) -> Result<Value, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut object = json!({"metadata": object});
        Pairs::parse(&words, kind)?.apply(&mut object, kind, overwrite)?;
        Ok(object["metadata"].take())
    }

    #[test]
    fn sets_and_removes_but_does_not_overwrite_unasked() {
        let labels = |labels: Value| json!({"labels": labels});
        assert_eq!(applied(json!({}), &["a=1", "b-"], &LABELS, false), Ok(labels(json!({"a": "1"}))));
        assert_eq!(applied(labels(json!({"a": "1"})), &["a-"], &LABELS, false), Ok(json!({})));
        assert_eq!(
            applied(labels(json!({"a": "2"})), &["a=1"], &LABELS, false),
            Err("'a' already has a value (2), and --overwrite is false".to_owned())
        );
        assert_eq!(
            applied(labels(json!({"a": "2"})), &["a=1"], &LABELS, true),
            Ok(labels(json!({"a": "1"})))
        );
        assert_eq!(
            applied(json!({"annotations": {"a": "2"}}), &["a=1"], &ANNOTATIONS, false),
            Err("--overwrite is false but found the following declared annotation(s): 'a' already has a value (2)".to_owned())
        );
        assert!(applied(json!({}), &["a=1", "a-"], &LABELS, true).is_err());
    }
}
