//! `set serviceaccount`.

use serde_json::json;

use super::{SET, Told, change_each, refused};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Given};
use crate::pods;
use crate::print::objects::PRINT;
use crate::select::FILES;

pub(super) const COMMAND: Command = Command::new(
    "serviceaccount",
    "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT",
    "Set the ServiceAccount of pods",
)
.aliases(&["sa"])
.examples("# Let pods be somebody\nkubectl set serviceaccount deployment kubia robot")
.flags(&[FILES, PRINT, SET])
.run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told { done: "serviceaccount updated", failed: "failed to patch ServiceAccountName " };

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let Some((account, resources)) = given.words.split_last() else {
        return Err(Error::usage("serviceaccount is required"));
    };
    change_each(cx, given, resources, TOLD, |object| {
        if let Err(why) = pods::spec_mut(object) {
            return Err(refused(object, &why));
        }
        let spec = pods::spec_mut(object).map_err(Error::Usage)?;
        spec["serviceAccountName"] = json!(account);
        Ok(())
    })
    .await
}
