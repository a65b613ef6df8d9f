//! `rollout history`.

use super::named;
use super::revisions::{self, Revision, Revisions};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Format;
use crate::print::columns::{FIELDS, row};
use crate::print::objects::{self, PRINT};
use crate::select::{FILES, Item, SELECTOR};
use crate::verbs::describe::pod_template;

const REVISION: Flag = Flag::number("revision", "0", "Tell of this revision");

pub(super) const COMMAND: Command = Command::new(
    "history",
    "(TYPE NAME | TYPE/NAME) [flags]",
    "List the versions of a workload, or show one",
)
.examples(
    "# What there was
             kubectl rollout history deployment/kubia
             # What a version was like
             kubectl rollout history deployment/kubia --revision=2",
)
.flags(&[FILES, PRINT, &[SELECTOR, REVISION]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let number = given.number(&REVISION);
    if number < 0 {
        return Err(Error::Usage(format!("revision must be a positive integer: {number}")));
    }
    let format = Format::of(given)?;
    let (items, mut errors) = named(cx, given).await?;
    for item in &items {
        if let Err(error) = tell(cx, given, item, number, format.as_ref()).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn tell(
    cx: &Context,
    given: &Given,
    item: &Item,
    number: i64,
    format: Option<&Format>,
) -> Result<(), Error> {
    let revisions = revisions::of(cx, item, "history viewer").await?;
    let one = || revisions.get(&number).ok_or_else(|| Error::usage("unable to find the specified revision"));
    if let Some(format) = format {
        let shown: Vec<&Revision> = if number > 0 { vec![one()?] } else { revisions.values().collect() };
        return shown.into_iter().try_for_each(|revision| {
            let mut object = revision.object.clone();
            if !revision.object["revision"].is_null() {
                object = item.object.clone();
                object["spec"]["template"] = revision.template.clone();
            }
            objects::print(format, &object, given)
        });
    }
    let (title, text) = match number {
        0 => (String::new(), table(&revisions)),
        number => (format!("with revision #{number}"), pod_template(&with_cause(one()?))),
    };
    skiff_print::line(format_args!("{} {title}\n{text}", objects::reference(&item.object)))?;
    Ok(())
}

fn with_cause(revision: &Revision) -> serde_json::Value {
    let mut template = revision.template.clone();
    if let Some(cause) = revision.change_cause().filter(|_| revision.object["revision"].is_null()) {
        template["metadata"]["annotations"]["kubernetes.io/change-cause"] = cause.into();
    }
    template
}

fn table(revisions: &Revisions) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".to_owned();
    }
    let mut rows = vec![row(["REVISION", "CHANGE-CAUSE"])];
    rows.extend(revisions.iter().map(|(number, revision)| {
        vec![number.to_string(), revision.change_cause().unwrap_or("<none>").to_owned()]
    }));
    FIELDS.rows(&rows)
}
