//! `set`: features of objects that run already.

mod env;
mod image;
mod resources;
mod selector;
mod serviceaccount;
mod subject;

use serde_json::Value;

use crate::change::{Sent, change};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::manifest;
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER};
use crate::select::{ALL, FILENAME, RECURSIVE, SELECTOR, Selection};

const LOCAL: Flag = Flag::switch("local", "Change what is in files and print it, without asking the server");
/// What each of the commands knows.
const SET: &[Flag] = &[ALL, SELECTOR, LOCAL, DRY_RUN, FIELD_MANAGER];

pub(crate) const COMMAND: Command = Command::new("set", "SUBCOMMAND [options]", "Set features of objects")
    .commands(&[
        env::COMMAND,
        image::COMMAND,
        resources::COMMAND,
        selector::COMMAND,
        serviceaccount::COMMAND,
        subject::COMMAND,
    ]);

/// What is said of objects that were changed, and before the reason why one could not be.
#[derive(Clone, Copy, Debug)]
struct Told {
    done: &'static str,
    failed: &'static str,
}

/// Changes each object that is named, and says so of those that are different then.
async fn change_each(
    cx: &Context,
    given: &Given,
    words: &[String],
    told: Told,
    make: impl Fn(&mut Value) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let printed = Change::of(given)?;
    if given.is_on(&LOCAL) {
        if !words.is_empty() {
            return Err(Error::usage(
                "error: you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
            ));
        }
        for mut object in manifest::read_all(given.all(&FILENAME), given.is_on(&RECURSIVE))? {
            make(&mut object)?;
            printed.print(&object, told.done)?;
        }
        return Ok(Outcome::Done);
    }
    let found = Selection::of(given, words).find(cx).await?;
    Error::all(found.errors)?;
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-set");
    let mut errors = Vec::new();
    for item in &found.items {
        let sent = Sent { dry_run: printed.dry_run, manager, part: None };
        match change(cx, item, sent, &make).await {
            Ok((object, true)) => printed.print(&object, told.done)?,
            Ok((_, false)) => {}
            Err(error @ Error::Server(_)) => errors.push(error.context(told.failed)),
            Err(Error::Many(all)) => errors.extend(all),
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// `error: deployments/web …`, as it is said of an object.
fn refused(object: &Value, why: &str) -> Error {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Error::Usage(format!("{kind}s/{name} {why}"))
}

/// `TYPE/NAME… KEY=VALUE…`: what is named, and what is set.
fn split<'a>(words: &'a [String], what: &str) -> Result<(&'a [String], &'a [String]), Error> {
    let is_pair =
        |word: &String| word.find('=').is_some_and(|at| at > 0) || word.ends_with('-') && word.len() > 1;
    let at = words.iter().position(is_pair).unwrap_or(words.len());
    let (resources, pairs) = words.split_at(at);
    if let Some(word) = pairs.iter().find(|word| !is_pair(word)) {
        return Err(Error::Usage(format!("all resources must be specified before {what} changes: {word}")));
    }
    Ok((resources, pairs))
}
