//! `get --watch`: rows as objects change.

use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::Value;

use super::{NO_HEADERS, path, shown};
use crate::api::Api;
use crate::error::{Error, Outcome};
use crate::line::Given;
use crate::print::server_table::TableText;
use crate::resources::Target;

/// Shows rows until the watch ends. `headed`: whether the header line has been shown.
pub(super) async fn run(
    api: &Api,
    given: &Given,
    target: &Target,
    version: &str,
    mut columns: Vec<Value>,
    mut headed: bool,
) -> Result<Outcome, Error> {
    let stream = api.watch_table(&path(api, given, target, Some(version))).await?;
    let mut lines = std::pin::pin!(stream.lines());
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        match event["type"].as_str() {
            Some("BOOKMARK") => {}
            Some("ERROR") => {
                let status = serde_json::from_value(event["object"].clone())?;
                return Err(Error::Server(Box::new(status)));
            }
            _ => {
                let text =
                    TableText::of(&event["object"], shown(given, &target.resource, None), &mut columns);
                text.print(!headed && !given.is_on(&NO_HEADERS))?;
                headed = true;
            }
        }
    }
    Ok(Outcome::Done)
}
