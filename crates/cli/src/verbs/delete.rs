//! `delete`, and waiting until the objects are gone.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::DryRun;
use crate::print::objects::{DRY_RUN, OUTPUT};
use crate::resources::Resource;
use crate::select::{ALL, ALL_NAMESPACES, FIELD_SELECTOR, FILENAME, FILES, Item, SELECTOR, Selection};
use crate::uri::with_query;
use crate::watch::{Place, Seen, until};

const CASCADE: Flag = Flag::optional(
    "cascade",
    "background",
    "What becomes of what the objects own: background, foreground (it goes first) or orphan (it stays)",
)
.default("background");
const FORCE: Flag =
    Flag::switch("force", "Remove at once, without waiting for the node (with --grace-period=0)");
const GRACE_PERIOD: Flag = Flag::number("grace-period", "-1", "Seconds that a pod gets to end by itself");
const IGNORE_NOT_FOUND: Flag = Flag::switch("ignore-not-found", "Do not fail when an object is not there");
const NOW: Flag = Flag::switch("now", "Let pods end within a second");
const TIMEOUT: Flag =
    Flag::duration("timeout", "0s", "How long to wait for the end of the objects; without a bound when 0");
const WAIT: Flag = Flag::switch("wait", "Wait until the objects are gone").default("true");

pub(crate) const COMMAND: Command =
    Command::new("delete", "([-f FILENAME] | TYPE [(NAME | -l label | --all)]) [options]", "Delete objects")
        .examples(
            "# One, those of a label, and what a file describes
     kubectl delete pod kubia-2q7v7
     kubectl delete pods,services -l app=kubia
     kubectl delete -f kubia.yaml",
        )
        .flags(&[
            FILES,
            &[
                ALL,
                ALL_NAMESPACES,
                SELECTOR,
                FIELD_SELECTOR,
                CASCADE,
                FORCE,
                GRACE_PERIOD,
                IGNORE_NOT_FOUND,
                NOW,
                TIMEOUT,
                WAIT,
                DRY_RUN,
                OUTPUT,
            ],
        ])
        .run(|cx, given| Box::pin(run(cx, given)));

/// How objects are deleted.
struct Deletion {
    dry_run: DryRun,
    grace: Option<i64>,
    propagation: &'static str,
    only_names: bool,
    wait: bool,
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let deletion = Deletion::of(given)?;
    let doomed = doomed(cx, given).await?;
    let (mut errors, mut pending) = (Vec::new(), Vec::new());
    if doomed.is_empty() {
        skiff_print::line("No resources found")?;
    }
    for item in doomed {
        match deletion.delete(cx, &item).await {
            Ok(uid) => {
                skiff_print::line(deletion.told(&item))?;
                pending.push((item, uid));
            }
            Err(error) if error.is_not_found() && given.is_on(&IGNORE_NOT_FOUND) => {}
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)?;
    if deletion.wait && deletion.dry_run == DryRun::None {
        let time = given.time(&TIMEOUT).filter(|time| !time.is_zero());
        for (item, uid) in pending {
            wait_until_gone(cx, &item, &uid, time).await?;
        }
    }
    Ok(Outcome::Done)
}

/// What is to be deleted. Objects that are named need not be read before.
async fn doomed(cx: &Context, given: &Given) -> Result<Vec<Item>, Error> {
    let mut selection = Selection::of(given, &given.words).local();
    if !given.is_given(&FILENAME) {
        let targets = cx.resources().await?.targets(&given.words)?;
        if !targets.is_empty() && targets.iter().all(|target| target.name.is_some()) {
            if given.is_given(&SELECTOR) || given.is_given(&FIELD_SELECTOR) || given.is_on(&ALL) {
                return Err(Error::usage("name cannot be provided when a selector is specified"));
            }
            let namespace = cx.namespace().await?;
            let item = |resource: Resource, name: String| Item {
                namespace: resource.namespaced.then(|| namespace.to_owned()),
                resource,
                name,
                object: Value::Null,
            };
            return Ok(targets.into_iter().filter_map(|t| Some(item(t.resource, t.name?))).collect());
        }
    }
    if given.is_on(&ALL) && (given.is_given(&SELECTOR) || given.is_given(&FIELD_SELECTOR)) {
        selection.all = false;
    }
    let found = selection.find(cx).await?;
    Error::all(found.errors)?;
    Ok(found.items)
}

impl Deletion {
    fn of(given: &Given) -> Result<Self, Error> {
        let (force, now) = (given.is_on(&FORCE), given.is_on(&NOW));
        let grace = Some(given.number(&GRACE_PERIOD)).filter(|seconds| *seconds >= 0);
        let wrong = match grace {
            Some(_) if now => Some("--now and --grace-period cannot be specified together"),
            Some(1..) if force => {
                Some("--force and --grace-period greater than 0 cannot be specified together")
            }
            _ if !given.text(&OUTPUT).is_empty() && given.text(&OUTPUT) != "name" => {
                Some("unexpected -o output mode: only -o name is known")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(Error::usage(wrong));
        }
        // Without --force, no time at all means the shortest; so nothing is removed that may still run.
        let grace = match grace {
            None if now => Some(1),
            None if force => Some(0),
            Some(0) if !force => Some(1),
            grace => grace,
        };
        if force && grace == Some(0) {
            skiff_print::note(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.",
            );
        }
        let propagation = match given.text(&CASCADE) {
            "background" => "Background",
            "foreground" => "Foreground",
            "orphan" => "Orphan",
            other => {
                return Err(Error::Usage(format!(
                    "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
                )));
            }
        };
        let only_names = given.text(&OUTPUT) == "name";
        Ok(Self { dry_run: DryRun::of(given)?, grace, propagation, only_names, wait: given.is_on(&WAIT) })
    }

    /// Deletes an object; its UID.
    async fn delete(&self, cx: &Context, item: &Item) -> Result<String, Error> {
        if self.dry_run.is_client() {
            cx.api().await?.get(&item.path()).await?;
            return Ok(String::new());
        }
        let mut options = json!({"propagationPolicy": self.propagation});
        if let Some(seconds) = self.grace {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        let path = with_query(&item.path(), &[("dryRun", self.dry_run.query())]);
        let answer = cx.api().await?.delete(&path, &options).await?;
        // The server answers with the object (still going) or with a Status about it.
        let uid = answer["metadata"]["uid"].as_str().or(answer["details"]["uid"].as_str());
        Ok(uid.unwrap_or_default().to_owned())
    }

    fn told(&self, item: &Item) -> String {
        let kind = match item.resource.group.as_str() {
            "" => item.resource.kind.to_lowercase(),
            group => format!("{}.{group}", item.resource.kind.to_lowercase()),
        };
        if self.only_names {
            return format!("{kind}/{}", item.name);
        }
        let how = if self.grace == Some(0) { "force deleted" } else { "deleted" };
        let place =
            item.namespace.as_ref().map_or_else(String::new, |name| format!(" from {name} namespace"));
        format!("{kind} \"{}\" {how}{place}{}", item.name, self.dry_run.suffix())
    }
}

pub(super) async fn wait_until_gone(
    cx: &Context,
    item: &Item,
    uid: &str,
    time: Option<std::time::Duration>,
) -> Result<(), Error> {
    if !item.resource.verbs.iter().any(|verb| verb == "watch") {
        return Ok(());
    }
    let place = Place { resource: &item.resource, namespace: item.namespace.as_deref(), name: &item.name };
    let gone = |seen: Seen| {
        let there = matches!(seen, Seen::There(object) if uid.is_empty() || object["metadata"]["uid"] == uid);
        Ok((!there).then_some(()))
    };
    match until(cx.api().await?, place, time, gone).await {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(Error::Usage(format!(
            "timed out waiting for the condition on {}/{}",
            item.resource.plural, item.name
        ))),
        // Who may delete need not be allowed to look.
        Err(Error::Server(status)) if status.code == 403 || status.code == 405 => Ok(()),
        Err(error) => Err(error),
    }
}
