//! `replace`.

use serde_json::Value;

use super::create::{VALIDATE, validation};
use super::delete::wait_until_gone;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{FILENAME, FILES, Item, Selection};
use crate::uri::with_query;

const FORCE: Flag = Flag::switch("force", "Delete the objects and create them anew");

pub(crate) const COMMAND: Command =
    Command::new("replace", "-f FILENAME", "Put objects of files in the place of others")
        .examples("# The object as the file has it\nkubectl replace -f kubia.yaml")
        .flags(&[FILES, PRINT, &[FORCE, DRY_RUN, FIELD_MANAGER, VALIDATE]])
        .run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if !given.words.is_empty() {
        return Err(given.misuse(format_args!("Unexpected args: [{}]", given.words.join(" "))));
    }
    if !given.is_given(&FILENAME) {
        return Err(Error::usage("must specify --filename to replace"));
    }
    let change = Change::of(given)?;
    let found = Selection::of(given, &[]).local().find(cx).await?;
    let mut errors = found.errors;
    for item in &found.items {
        if let Err(error) = replace(cx, given, &change, item).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn replace(cx: &Context, given: &Given, change: &Change, item: &Item) -> Result<(), Error> {
    if change.dry_run.is_client() {
        return change.print(&item.object, "replaced");
    }
    let api = cx.api().await?;
    let query = [
        ("fieldManager", Some(given.some(&FIELD_MANAGER).unwrap_or("kubectl-replace"))),
        ("fieldValidation", Some(validation(given)?)),
        ("dryRun", change.dry_run.query()),
    ];
    if given.is_on(&FORCE) {
        match api.delete(&item.path(), &Value::Object(serde_json::Map::new())).await {
            Ok(_) => wait_until_gone(cx, item, "", None).await?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let path = item.resource.path(item.namespace.as_deref(), None);
        return change.print(&api.post(&with_query(&path, &query), &item.object).await?, "replaced");
    }
    change.print(&api.put(&with_query(&item.path(), &query), &item.object).await?, "replaced")
}
