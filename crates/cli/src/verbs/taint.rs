//! `taint`.

use serde_json::{Value, json};

use crate::change::{Sent, change};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{ALL, SELECTOR, Selection};

const OVERWRITE: Flag = Flag::switch("overwrite", "Allow other values for taints that are there");

pub(crate) const COMMAND: Command = Command::new(
    "taint",
    "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N",
    "Set or remove taints of nodes",
)
.examples(
    "# Keep pods away that do not tolerate it
             kubectl taint nodes node-1 dedicated=db:NoSchedule
             # Let them come again
             kubectl taint nodes node-1 dedicated-",
)
.flags(&[PRINT, &[ALL, SELECTOR, OVERWRITE, DRY_RUN, FIELD_MANAGER]])
.run(|cx, given| Box::pin(run(cx, given)));

#[derive(Clone, Debug, PartialEq, Eq)]
struct Taint {
    key: String,
    value: String,
    /// Empty: every effect, of a taint to remove.
    effect: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Taints {
    add: Vec<Taint>,
    remove: Vec<Taint>,
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let is_taint = |word: &String| word.contains(['=', ':']) || word.ends_with('-');
    let (resources, words) =
        given.words.split_at(given.words.iter().position(is_taint).unwrap_or(given.words.len()));
    if let Some(word) = words.iter().find(|word| !is_taint(word)) {
        return Err(Error::Usage(format!("all resources must be specified before taint changes: {word}")));
    }
    let Some((kind, names)) = resources.split_first() else {
        return Err(Error::usage("one or more resources must be specified as <resource> <name>"));
    };
    if words.is_empty() {
        return Err(Error::usage("at least one taint update is required"));
    }
    let taints = Taints::parse(words).map_err(|text| given.misuse(text))?;
    check(cx, given, kind, names, &taints).await?;
    let told = Change::of(given)?;
    let words: Vec<String> = match given.is_on(&ALL) || given.is_given(&SELECTOR) {
        true => vec!["nodes".to_owned()],
        false => std::iter::once("nodes".to_owned()).chain(names.iter().cloned()).collect(),
    };
    let found = Selection::of(given, &words).find(cx).await?;
    let mut errors = found.errors;
    for item in &found.items {
        let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-taint");
        let sent = Sent { dry_run: told.dry_run, manager, part: None };
        let overwrite = given.is_on(&OVERWRITE);
        let make =
            |node: &mut Value| taints.apply(node, &item.name, overwrite).map(drop).map_err(Error::Usage);
        let mut node = item.object.clone();
        let what = taints.apply(&mut node, &item.name, overwrite).map_err(Error::Usage);
        match (what, change(cx, item, sent, make).await) {
            (Ok(what), Ok((node, _))) => told.print(&node, what)?,
            (_, Err(error)) | (Err(error), _) => errors.push(error),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn check(
    cx: &Context,
    given: &Given,
    kind: &str,
    names: &[String],
    taints: &Taints,
) -> Result<(), Error> {
    match cx.resources().await?.one(kind) {
        Some(resource) if resource.kind == "Node" && resource.group.is_empty() => {}
        Some(_) => {
            return Err(Error::Usage(format!("invalid resource type {kind}, only node types are supported")));
        }
        None => return Err(Error::Plain(format!("the server doesn't have a resource type \"{kind}\""))),
    }
    let clashes: Vec<String> = taints
        .remove
        .iter()
        .filter(|gone| {
            taints
                .add
                .iter()
                .any(|new| new.key == gone.key && (gone.effect.is_empty() || new.effect == gone.effect))
        })
        .map(|gone| format!("{}={}", gone.key, gone.effect))
        .collect();
    let (all, selected) = (given.is_on(&ALL), given.is_given(&SELECTOR));
    let wrong = if !clashes.is_empty() {
        format!(
            "can not both modify and remove the following taint(s) in the same command: {}",
            clashes.join(", ")
        )
    } else if all && selected {
        "setting 'all' parameter with a non empty selector is prohibited".to_owned()
    } else if !all && !selected && names.is_empty() {
        "at least one resource name must be specified since 'all' parameter is not set".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Usage(wrong))
}

impl Taint {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid taint spec: {text}");
        let (pair, effect) = match text.split(':').collect::<Vec<_>>().as_slice() {
            [key] => (*key, ""),
            [pair, effect] => (*pair, *effect),
            _ => return Err(invalid()),
        };
        if text.contains(':') && !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!("invalid taint effect: {effect}, unsupported taint effect"));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || value.contains('=') || effect.is_empty() && pair.contains('=') {
            return Err(invalid());
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }

    fn is_like(&self, taint: &Value) -> bool {
        taint["key"] == self.key && (self.effect.is_empty() || taint["effect"] == self.effect)
    }

    fn value(&self) -> Value {
        let mut taint = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            taint["value"] = json!(self.value);
        }
        taint
    }

    fn text(&self) -> String {
        if self.effect.is_empty() { self.key.clone() } else { format!("{}:{}", self.key, self.effect) }
    }
}

impl Taints {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut taints = Self::default();
        for word in words {
            match word.strip_suffix('-') {
                Some(word) => taints.remove.push(Taint::parse(word)?),
                None => {
                    let taint = Taint::parse(word)?;
                    if taint.effect.is_empty() {
                        return Err(format!("invalid taint spec: {word}"));
                    }
                    if taints.add.iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
                        return Err(format!(
                            "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                            taint.key, taint.value, taint.effect
                        ));
                    }
                    taints.add.push(taint);
                }
            }
        }
        Ok(taints)
    }

    /// Puts the taints upon a node; what is said of it then.
    fn apply(&self, node: &mut Value, name: &str, overwrite: bool) -> Result<&'static str, String> {
        let old = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let known: Vec<&str> = self
            .add
            .iter()
            .filter(|taint| old.iter().any(|old| taint.is_like(old)))
            .map(|taint| taint.key.as_str())
            .collect();
        if !overwrite && !known.is_empty() {
            let keys = known.join(",");
            return Err(format!(
                "node {name} already has {keys} taint(s) with same effect(s) and --overwrite is false"
            ));
        }
        let mut taints: Vec<Value> = self.add.iter().map(Taint::value).collect();
        taints.extend(old.iter().filter(|old| !self.add.iter().any(|taint| taint.is_like(old))).cloned());
        let added = taints.len() != old.len();
        let (mut removed, mut missing) = (false, Vec::new());
        for gone in &self.remove {
            let before = taints.len();
            taints.retain(|taint| !gone.is_like(taint));
            removed = taints.len() != before;
            if !removed {
                missing.push(format!("taint \"{}\" not found", gone.text()));
            }
        }
        if !missing.is_empty() {
            return Err(missing.join("\n"));
        }
        match taints.is_empty() {
            true => drop(node["spec"].as_object_mut().map(|spec| spec.remove("taints"))),
            false => node["spec"]["taints"] = Value::Array(taints),
        }
        Ok(match added {
            _ if overwrite || added && removed => "modified",
            true => "tainted",
            false => "untainted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(node: &mut Value, words: &[&str], overwrite: bool) -> Result<&'static str, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Taints::parse(&words)?.apply(node, "n", overwrite)
    }

    #[test]
    fn taints_and_untaints() {
        let mut node = json!({"spec": {}});
        assert_eq!(apply(&mut node, &["a=b:NoSchedule"], false), Ok("tainted"));
        assert_eq!(node["spec"]["taints"], json!([{"key": "a", "value": "b", "effect": "NoSchedule"}]));
        assert_eq!(
            apply(&mut node, &["a=c:NoSchedule"], false),
            Err("node n already has a taint(s) with same effect(s) and --overwrite is false".to_owned())
        );
        assert_eq!(apply(&mut node, &["a=c:NoSchedule"], true), Ok("modified"));
        assert_eq!(
            apply(&mut node, &["a:NoExecute-"], false),
            Err("taint \"a:NoExecute\" not found".to_owned())
        );
        assert_eq!(apply(&mut node, &["a-"], false), Ok("untainted"));
        assert_eq!(node, json!({"spec": {}}));
        assert_eq!(
            apply(&mut node, &["a=b:Foo"], false),
            Err("invalid taint effect: Foo, unsupported taint effect".to_owned())
        );
        assert_eq!(apply(&mut node, &["a=b"], false), Err("invalid taint spec: a=b".to_owned()));
    }
}
