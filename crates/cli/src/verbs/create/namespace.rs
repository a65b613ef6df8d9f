//! `create namespace`.

use serde_json::json;

use super::{CREATE, Kind};
use crate::line::Command;
use crate::print::objects::PRINT;

pub(super) const COMMAND: Command =
    Command::new("namespace", "NAME [--dry-run=server|client|none]", "Create a namespace")
        .aliases(&["ns"])
        .examples("# Create a namespace\nkubectl create namespace shop")
        .flags(&[PRINT, CREATE])
        .run(|cx, given| {
            Box::pin(async move {
                let name = given.name()?;
                let object =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}, "status": {}});
                Kind::cluster("namespaces", "").send(cx, given, object).await
            })
        });
