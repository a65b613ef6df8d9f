//! How fast many pods get nodes, on one core.

use std::process::Command;

use serde_json::Value;
use skiff_tests::Output;

use super::{number, program};
use crate::report::Result as Row;

const NODES: u32 = 5000;
const PODS: u32 = 30_000;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![Row::told("nodes and pods that are scheduled", format!("{NODES} and {PODS}"))];
    for (crowd, decisions, bindings) in [
        (
            "plain",
            "decisions without an API, on one core",
            "bindings through the API to disk, all on one core",
        ),
        (
            "mixed",
            "the same, of five pods one spread, one apart, one near others, one with a volume",
            "bindings of such pods",
        ),
    ] {
        let (decided, bound) = (inside("decide", crowd)?, inside("bind", crowd)?);
        let grown = number(&bound, "after") - number(&bound, "before");
        let by_time = number(&bound, "perProcessorSecond");
        rows.extend([
            Row::at_least(decisions, number(&decided, "perSecond"), 1000.0, "/s"),
            Row::told(
                "memory of all of it in the scheduler",
                format!("{:.0} MiB", number(&decided, "after")),
            ),
            Row::at_least(bindings, number(&bound, "perSecond"), 500.0, "/s"),
            Row::told("the same in a second of processor time", format!("{by_time:.0}")),
            Row::told("memory that they take in server and scheduler", format!("{grown:.0} MiB")),
        ]);
    }
    Ok(rows)
}

fn inside(what: &str, crowd: &str) -> anyhow::Result<Value> {
    let mut command = Command::new(program()?);
    command.args(["inside", what, &NODES.to_string(), &PODS.to_string(), crowd]);
    Ok(serde_json::from_str(&Output::of(&mut command).ok())?)
}
