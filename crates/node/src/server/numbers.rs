//! What the node measures and counts: `/stats/summary` and the metrics.

use super::Context;
use super::respond::{Body, Refusal, json, metrics};
use super::routes::Query;
use crate::logs::query::is_true;
use crate::pod::worker::View;
use crate::stats::cadvisor::cadvisor_metrics;
use crate::stats::claims::claim_metrics;
use crate::stats::exposition::{Exposition, Family, Kind, Sample, float};
use crate::stats::readings::{PodReading, Readings};
use crate::stats::resource::resource_metrics;
use crate::stats::summary::{self, Extent};
use http::{Response, StatusCode};

async fn read(context: &Context) -> Result<Readings, Refusal> {
    let read = context.gauges.read(&context.shared, context.views.all()).await;
    read.map_err(|error| {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read statistics: {error}\n"))
    })
}

/// `/stats/summary`
pub(super) async fn summary(context: &Context, query: &Query) -> Result<Response<Body>, Refusal> {
    let less = query.get("only_cpu_and_memory").is_some_and(is_true);
    let extent = if less { Extent::CpuAndMemory } else { Extent::Everything };
    Ok(json(summary::summary(&read(context).await?, extent).to_string().into_bytes()))
}

/// `/metrics/resource`
pub(super) async fn resource(context: &Context) -> Response<Body> {
    metrics(resource_metrics(read(context).await.ok().as_ref()))
}

/// `/metrics/cadvisor`
pub(super) async fn cadvisor(context: &Context) -> Result<Response<Body>, Refusal> {
    Ok(metrics(cadvisor_metrics(&read(context).await?)))
}

/// `/metrics/probes`
pub(super) fn probes(context: &Context) -> Response<Body> {
    metrics(context.shared.probes.text())
}

/// `/metrics`: of the kubelet's own families those that say what runs, and what claims hold; and what the process takes.
pub(super) async fn own(context: &Context) -> Result<Response<Body>, Refusal> {
    let readings = read(context).await?;
    let own = own_text(&context.shared.config.node_name, &context.views.all(), &readings.pods);
    Ok(metrics(own + &skiff_exposition::process()))
}

fn own_text(node: &str, pods: &[View], read: &[PodReading]) -> String {
    let running = |pod: &View| pod.containers.iter().filter(|container| container.running.is_some()).count();
    let of =
        |count: usize, labels| Sample { labels, value: float(u64::try_from(count).unwrap_or(0)), at: None };
    let containers: Vec<usize> = pods.iter().map(running).collect();
    let busy = containers.iter().filter(|count| **count > 0).count();
    let mut text = Exposition::default();
    text.family(Family("kubelet_node_name", Kind::Gauge, "The node's name."), [of(1, vec![("node", node)])]);
    text.family(
        Family("kubelet_running_containers", Kind::Gauge, "Running containers."),
        [of(containers.iter().sum(), vec![("container_state", "running")])],
    );
    text.family(
        Family("kubelet_running_pods", Kind::Gauge, "Pods with a running container."),
        [of(busy, Vec::new())],
    );
    claim_metrics(&mut text, read);
    text.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_numbers() {
        let text = own_text("n", &[View::default()], &[]);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let none = "kubelet_running_containers{container_state=\"running\"} 0";
        assert_eq!(samples, ["kubelet_node_name{node=\"n\"} 1", none, "kubelet_running_pods 0"]);
    }
}
