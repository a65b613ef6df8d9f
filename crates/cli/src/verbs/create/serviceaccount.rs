//! `create serviceaccount`.

use serde_json::json;

use super::{CREATE, Kind};
use crate::line::Command;
use crate::print::objects::PRINT;

pub(super) const COMMAND: Command =
    Command::new("serviceaccount", "NAME [--dry-run=server|client|none]", "Create a ServiceAccount")
        .aliases(&["sa"])
        .examples("# Create a ServiceAccount\nkubectl create serviceaccount robot")
        .flags(&[PRINT, CREATE])
        .run(|cx, given| {
            Box::pin(async move {
                let name = given.name()?;
                let object =
                    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
                Kind::namespaced("serviceaccounts", "failed to create serviceaccount: ")
                    .send(cx, given, object)
                    .await
            })
        });
