//! `rollout`: how workloads get from one version to the next.

mod history;
mod restart;
mod revisions;
mod status;
mod undo;

use serde_json::Value;

use crate::change::{Sent, change};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::objects::{FIELD_MANAGER, PRINT};
use crate::print::{Change, DryRun};
use crate::select::{FILES, Item, SELECTOR, Selection};

pub(crate) const COMMAND: Command = Command::new(
    "rollout",
    "SUBCOMMAND [options]",
    "Manage how Deployments, DaemonSets and StatefulSets are rolled out",
)
.examples(
    "# Wait until a Deployment is as it should be
             kubectl rollout status deployment/kubia
             # Go back to the version before
             kubectl rollout undo deployment/kubia
             # Replace all pods, one after the other
             kubectl rollout restart deployment/kubia",
)
.commands(&[
    history::COMMAND,
    restart::PAUSE,
    restart::RESTART,
    restart::RESUME,
    status::COMMAND,
    undo::COMMAND,
]);

/// What the commands that change something know.
const CHANGE: &[&[Flag]] = &[FILES, PRINT, &[SELECTOR, FIELD_MANAGER]];

/// The workloads that are named; all of the type when no name is given.
async fn named(cx: &Context, given: &Given) -> Result<(Vec<Item>, Vec<Error>), Error> {
    let selection = Selection::of(given, &given.words);
    if selection.is_empty() {
        return Err(Error::usage("required resource not specified"));
    }
    let found = selection.or_all().find(cx).await?;
    Ok((found.items, found.errors))
}

async fn nothing(cx: &Context) -> Result<Outcome, Error> {
    skiff_print::note(format_args!("No resources found in {} namespace.", cx.namespace().await?));
    Ok(Outcome::Done)
}

/// Changes each of the workloads.
async fn change_each(
    cx: &Context,
    given: &Given,
    (done, already): (&str, &str),
    make: impl Fn(&mut Value) -> Result<(), String>,
) -> Result<Outcome, Error> {
    let (items, mut errors) = named(cx, given).await?;
    if items.is_empty() && errors.is_empty() {
        return nothing(cx).await;
    }
    let told = Change::without_dry_run(given)?;
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-rollout");
    for item in &items {
        let sent = Sent { dry_run: DryRun::None, manager, part: None };
        let refused =
            |why: String| Error::Usage(format!("{} \"{}\" {why}", item.resource.group_resource(), item.name));
        let made = |object: &mut Value| make(object).map_err(refused);
        match change(cx, item, sent, made).await {
            Ok((object, true)) => told.print(&object, done)?,
            Ok((object, false)) => told.print(&object, already)?,
            Err(error) => errors.push(error.context("failed to patch: ")),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}
