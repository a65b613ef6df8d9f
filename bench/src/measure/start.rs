//! How soon a cluster is up.

use std::time::Instant;

use serde_json::Value;
use skiff_tests::Cluster;

use crate::report::{Result as Row, percentile};

const ROUNDS: usize = 5;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let (mut node, mut up) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cluster = Cluster::stopped();
        let started = Instant::now();
        cluster.start();
        let returned = started.elapsed().as_secs_f64();
        up.push(returned);
        node.push(returned - after_node_ready(&cluster)?);
    }
    let (node, up) = (percentile(&mut node, 50), percentile(&mut up, 50));
    Ok(vec![
        Row::at_most("`skiff up` to node Ready", node, 1.0, "s"),
        Row::at_most("`skiff up` to first pod Running and DNS answering (its return)", up, 1.5, "s"),
    ])
}

/// Seconds from node Ready to the last thing that `skiff up` waits for, as the server noted them. Counted back from
/// the command's return, so that nothing before the server's first note is left out.
fn after_node_ready(cluster: &Cluster) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(cluster.run_dir().join("timeline.json"))?;
    let timeline: Value = serde_json::from_str(&text)?;
    Ok(super::number(&timeline, "dnsAnswers") - super::number(&timeline, "nodeReady"))
}
