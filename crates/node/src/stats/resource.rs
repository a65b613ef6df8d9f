//! `/metrics/resource`: what autoscalers and `kubectl top` go by, from the families that Kubernetes calls stable and those of
//! swap beside them.

use super::exposition::{Exposition, Family, Kind::*, Sample, epoch, float, seconds};
use super::readings::{ContainerReading, Measured, PodReading, Readings};
use skiff_runtime::Usage;

type Number = fn(&Usage) -> Option<f64>;

const CPU: Number = |usage| usage.cpu_nanos.map(seconds);
const MEMORY: Number = |usage| usage.working_set_bytes.map(float);
const SWAP: Number = |usage| usage.swap_bytes.map(float);

/// The text for these readings; without any, only that they failed.
pub(crate) fn resource_metrics(readings: Option<&Readings>) -> String {
    let mut text = Exposition::default();
    if let Some(readings) = readings {
        write(&mut text, readings);
    }
    let failed = readings.is_none_or(|readings| !readings.complete);
    let failed = f64::from(u8::from(failed));
    text.single(Family("resource_scrape_error", Gauge, "1 when usage could not be read, else 0."), failed);
    text.single(Family("scrape_error", Gauge, "As resource_scrape_error, under its old name."), failed);
    text.into_text()
}

fn write(text: &mut Exposition, readings: &Readings) {
    let pods = &readings.pods;
    let started = each_container(pods).map(|(pod, container)| Sample {
        labels: of_container(pod, container),
        value: epoch(container.started),
        at: None,
    });
    let containers = |number: Number| {
        each_container(pods).filter_map(move |(pod, container)| {
            sample(of_container(pod, container), &container.measured, number)
        })
    };
    let each_pod =
        |number: Number| pods.iter().filter_map(move |pod| sample(of_pod(pod), &pod.measured, number));
    let node =
        |number: Number| readings.node.measured.iter().filter_map(move |m| sample(Vec::new(), m, number));
    let swap = readings.node.measured.zip(readings.node.swap).map(|(measured, (all, free))| Sample {
        labels: Vec::new(),
        value: float(all.saturating_sub(free)),
        at: Some(measured.at),
    });
    let family = Family;
    text.family(
        family("container_cpu_usage_seconds_total", Counter, "CPU time of the container so far."),
        containers(CPU),
    );
    text.family(
        family("container_memory_working_set_bytes", Gauge, "Working set of the container."),
        containers(MEMORY),
    );
    text.family(
        family("container_start_time_seconds", Gauge, "When the container was started, since 1970."),
        started,
    );
    text.family(family("container_swap_usage_bytes", Gauge, "Swap used by the container."), containers(SWAP));
    text.family(
        family("node_cpu_usage_seconds_total", Counter, "CPU time of the whole node so far."),
        node(CPU),
    );
    text.family(
        family("node_memory_working_set_bytes", Gauge, "Working set of the whole node."),
        node(MEMORY),
    );
    text.family(family("node_swap_usage_bytes", Gauge, "Swap used on the node."), swap);
    text.family(family("pod_cpu_usage_seconds_total", Counter, "CPU time of the pod so far."), each_pod(CPU));
    text.family(family("pod_memory_working_set_bytes", Gauge, "Working set of the pod."), each_pod(MEMORY));
    text.family(family("pod_swap_usage_bytes", Gauge, "Swap used by the pod."), each_pod(SWAP));
}

fn each_container(pods: &[PodReading]) -> impl Iterator<Item = (&PodReading, &ContainerReading)> {
    pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
}

fn of_container<'a>(pod: &'a PodReading, container: &'a ContainerReading) -> Vec<(&'static str, &'a str)> {
    [vec![("container", container.name.as_str())], of_pod(pod)].concat()
}

fn of_pod(pod: &PodReading) -> Vec<(&'static str, &str)> {
    vec![("namespace", pod.namespace.as_str()), ("pod", pod.name.as_str())]
}

fn sample<'a>(
    labels: Vec<(&'static str, &'a str)>,
    measured: &Measured,
    number: Number,
) -> Option<Sample<'a>> {
    Some(Sample { labels, value: number(&measured.usage)?, at: Some(measured.at) })
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::readings;
    use super::*;

    #[test]
    fn is_what_the_kubelet_would_say() {
        let text = resource_metrics(Some(&readings()));
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "container_cpu_usage_seconds_total{container=\"c\",namespace=\"ns\",pod=\"p\"} 1.5 1000010000",
                "container_memory_working_set_bytes{container=\"c\",namespace=\"ns\",pod=\"p\"} 900 1000010000",
                "container_start_time_seconds{container=\"c\",namespace=\"ns\",pod=\"p\"} 1000002",
                "node_cpu_usage_seconds_total 100 1000010000",
                "node_memory_working_set_bytes 5000 1000010000",
                "node_swap_usage_bytes 30 1000010000",
                "pod_cpu_usage_seconds_total{namespace=\"ns\",pod=\"p\"} 1.75 1000010000",
                "pod_memory_working_set_bytes{namespace=\"ns\",pod=\"p\"} 1000 1000010000",
                "resource_scrape_error 0",
                "scrape_error 0",
            ]
        );
        assert!(text.starts_with(
            "# HELP container_cpu_usage_seconds_total CPU time of the container so far.\n\
             # TYPE container_cpu_usage_seconds_total counter\n"
        ));
    }

    #[test]
    fn says_when_it_could_not_look() {
        assert!(resource_metrics(None).ends_with("\nscrape_error 1\n"));
        let part = Readings { complete: false, ..readings() };
        assert!(resource_metrics(Some(&part)).contains("\nresource_scrape_error 1\n"));
    }
}
