//! `patch`.

use serde_json::Value;

use crate::api::Patch;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{FILES, Item, Selection};
use crate::uri::with_query;

const PATCH: Flag = Flag::text("patch", "The change, in JSON or YAML").short('p');
const PATCH_FILE: Flag = Flag::text("patch-file", "File with the change");
const TYPE: Flag = Flag::text("type", "json, merge or strategic").default("strategic");
const SUBRESOURCE: Flag = Flag::text("subresource", "What of the object is changed: status, scale or resize");

pub(crate) const COMMAND: Command =
    Command::new("patch", "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]", "Change fields of objects")
        .examples(
            "# Merge a field
             kubectl patch service kubia -p '{\"spec\":{\"type\":\"NodePort\"}}'
             # Operations upon places
             kubectl patch pod kubia --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/labels/app\"}]'",
        )
        .flags(&[FILES, PRINT, &[PATCH, PATCH_FILE, TYPE, SUBRESOURCE, DRY_RUN, FIELD_MANAGER]])
        .run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let text = match (given.some(&PATCH), given.some(&PATCH_FILE)) {
        (Some(_), Some(_)) => return Err(Error::usage("cannot specify --patch and --patch-file together")),
        (None, None) => {
            return Err(Error::usage(
                "must specify --patch or --patch-file containing the contents of the patch",
            ));
        }
        (Some(text), None) => text.to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| Error::Usage(format!("unable to read patch file: open {path}: {error}")))?,
    };
    let kind = match given.text(&TYPE).to_lowercase().as_str() {
        "json" => Patch::Json,
        "merge" => Patch::Merge,
        "strategic" => Patch::Strategic,
        other => {
            return Err(Error::Usage(format!(
                "--type must be one of [json merge strategic], not \"{other}\""
            )));
        }
    };
    let patch: Value = serde_saphyr::from_str(&text)
        .map_err(|error| Error::Usage(format!("unable to parse \"{text}\": {error}")))?;
    let change = Change::of(given)?;
    if change.dry_run.is_client() {
        return Err(Error::usage(
            "--dry-run=client: only the server knows how to apply a patch; use --dry-run=server",
        ));
    }
    let found = Selection::of(given, &given.words).find(cx).await?;
    let mut errors = found.errors;
    if found.items.is_empty() && errors.is_empty() {
        return Err(Error::usage("no objects passed to patch"));
    }
    for item in &found.items {
        if let Err(error) = send(cx, given, &change, item, kind, &patch).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn send(
    cx: &Context,
    given: &Given,
    change: &Change,
    item: &Item,
    kind: Patch,
    patch: &Value,
) -> Result<(), Error> {
    let part = given.some(&SUBRESOURCE).map_or_else(String::new, |part| format!("/{part}"));
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-patch");
    let query = [("fieldManager", Some(manager)), ("dryRun", change.dry_run.query())];
    let path = with_query(&format!("{}{part}", item.path()), &query);
    let object = cx.api().await?.patch(&path, kind, patch).await?;
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let changed = version(&object) != version(&item.object) || change.dry_run.query().is_some();
    change.print(&object, if changed { "patched" } else { "patched (no change)" })
}
