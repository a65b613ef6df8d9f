//! What one metric of an autoscaler asks for.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, CrossVersionObjectReference, ExternalMetricStatus,
    HorizontalPodAutoscaler, MetricIdentifier, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource;
use skiff_quantity::Quantity;

use super::metrics::Metrics;
use super::replicas::{Measured, Resource, Tolerances, by_share, by_value};
use crate::meta;

/// How far from the target nothing is changed, unless the autoscaler says otherwise.
const TOLERANCE: f64 = 0.1;

/// What a metric is measured against.
pub(super) struct Target<'a> {
    /// Replicas asked for now, and replicas that there are.
    pub(super) wanted: i32,
    pub(super) present: i32,
    pub(super) pods: &'a [Pod],
    /// What selects them.
    pub(super) selector: &'a str,
    pub(super) tolerances: Tolerances,
    pub(super) now: Timestamp,
}

/// A number of replicas.
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// What the metric is called.
    pub(super) metric: String,
    pub(super) status: MetricStatus,
}

/// Why there is none.
pub(super) struct Failure {
    /// For the condition, and the event.
    pub(super) reason: &'static str,
    pub(super) cause: String,
    /// What of it is told of the autoscaler as a whole.
    pub(super) summary: String,
}

/// The tolerances of an autoscaler.
pub(super) fn tolerances(autoscaler: &HorizontalPodAutoscaler) -> Tolerances {
    let behavior = autoscaler.spec.behavior.as_ref();
    let rules = |up: bool| {
        behavior.and_then(|both| if up { both.scale_up.as_ref() } else { both.scale_down.as_ref() })
    };
    let given = |up| rules(up).and_then(|rules| rules.tolerance.as_ref()).and_then(fraction);
    Tolerances { down: given(false).unwrap_or(TOLERANCE), up: given(true).unwrap_or(TOLERANCE) }
}

#[allow(clippy::cast_precision_loss, reason = "a tolerance is not exact")]
fn fraction(quantity: &resource::Quantity) -> Option<f64> {
    quantity.0.parse::<Quantity>().ok().map(|quantity| quantity.nanos() as f64 / 1e9)
}

/// Asks for the metric, and says how many replicas it needs.
pub(super) async fn propose(
    spec: &MetricSpec,
    metrics: &Metrics<'_>,
    target: &Target<'_>,
) -> Result<Proposal, Failure> {
    let (reason, outcome, subject) = match spec.type_.as_str() {
        "Resource" => ("FailedGetResourceMetric", resource(spec, metrics, target).await, {
            let name = spec.resource.as_ref().map(|metric| metric.name.as_str()).unwrap_or_default();
            format!("{name} resource metric value")
        }),
        "ContainerResource" => {
            ("FailedGetContainerResourceMetric", container(spec, metrics, target).await, {
                let metric = spec.container_resource.as_ref();
                format!(
                    "{} container metric value",
                    metric.map(|metric| metric.container.as_str()).unwrap_or_default()
                )
            })
        }
        "Pods" => ("FailedGetPodsMetric", pods(spec, metrics, target).await, "pods metric value".to_owned()),
        "Object" => {
            ("FailedGetObjectMetric", object(spec, metrics, target).await, "object metric value".to_owned())
        }
        "External" => ("FailedGetExternalMetric", external(spec, metrics, target).await, {
            let metric = spec.external.as_ref();
            format!(
                "{} external metric value",
                metric.map(|metric| metric.metric.name.as_str()).unwrap_or_default()
            )
        }),
        other => {
            let cause = format!("unknown metric source type \"{other}\"");
            let summary = cause.clone();
            return Err(Failure { reason: "InvalidMetricSourceType", cause, summary });
        }
    };
    outcome.map_err(|cause| {
        let summary = format!("failed to get {subject}: {cause}");
        Failure { reason, cause, summary }
    })
}

/// A metric of its type, whose source says nothing.
fn incomplete() -> String {
    "the metric has no source of its type".to_owned()
}

async fn resource(spec: &MetricSpec, metrics: &Metrics<'_>, target: &Target<'_>) -> Result<Proposal, String> {
    let source = spec.resource.as_ref().ok_or_else(incomplete)?;
    let resource = Resource { name: &source.name, container: None };
    let (replicas, current, metric) = of_resource(resource, &source.target, metrics, target).await?;
    let status = ResourceMetricStatus { name: source.name.clone(), current };
    let status = MetricStatus { type_: "Resource".into(), resource: Some(status), ..MetricStatus::default() };
    Ok(Proposal { replicas, metric, status })
}

async fn container(
    spec: &MetricSpec,
    metrics: &Metrics<'_>,
    target: &Target<'_>,
) -> Result<Proposal, String> {
    let source = spec.container_resource.as_ref().ok_or_else(incomplete)?;
    let resource = Resource { name: &source.name, container: Some(&source.container) };
    let (replicas, current, metric) = of_resource(resource, &source.target, metrics, target).await?;
    let status = ContainerResourceMetricStatus {
        name: source.name.clone(),
        container: source.container.clone(),
        current,
    };
    let status = MetricStatus {
        type_: "ContainerResource".into(),
        container_resource: Some(status),
        ..MetricStatus::default()
    };
    Ok(Proposal { replicas, metric, status })
}

async fn of_resource(
    resource: Resource<'_>,
    wanted: &MetricTarget,
    metrics: &Metrics<'_>,
    target: &Target<'_>,
) -> Result<(i32, MetricValueStatus, String), String> {
    let name = resource.name;
    let samples = async {
        let samples = metrics.of_resource(resource, target.selector).await;
        let samples = samples.map_err(|why| format!("unable to get metrics for resource {name}: {why}"))?;
        Measured::of(target.pods, samples, name == "cpu", target.now)
    };
    if let Some(average) = wanted.average_value.as_ref().and_then(millis) {
        let measured =
            samples.await.and_then(|all| all.by_average(target.wanted, average, target.tolerances));
        let (replicas, usage) = measured.map_err(|why| format!("failed to get {name} usage: {why}"))?;
        let current =
            MetricValueStatus { average_value: Some(amount(name, usage)), ..MetricValueStatus::default() };
        return Ok((replicas, current, format!("{name} resource")));
    }
    let Some(percentage) = wanted.average_utilization else {
        let why = "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set";
        return Err(why.into());
    };
    let measured = samples
        .await
        .and_then(|all| all.by_utilization(target.wanted, percentage, resource, target.tolerances));
    let (replicas, utilization, usage) =
        measured.map_err(|why| format!("failed to get {name} utilization: {why}"))?;
    let current = MetricValueStatus {
        average_utilization: Some(utilization),
        average_value: Some(amount(name, usage)),
        value: None,
    };
    let of = if resource.container.is_some() { "container resource" } else { "resource" };
    Ok((replicas, current, format!("{name} {of} utilization (percentage of request)")))
}

async fn pods(spec: &MetricSpec, metrics: &Metrics<'_>, target: &Target<'_>) -> Result<Proposal, String> {
    let source = spec.pods.as_ref().ok_or_else(incomplete)?;
    let name = &source.metric.name;
    let samples = metrics.of_pods(name, source.metric.selector.as_ref(), target.selector).await;
    let samples = samples.map_err(|why| format!("unable to get metric {name}: {why}"))?;
    let average = source.target.average_value.as_ref().and_then(millis).ok_or_else(incomplete)?;
    let measured = Measured::of(target.pods, samples, false, target.now)?;
    let (replicas, usage) = measured.by_average(target.wanted, average, target.tolerances)?;
    let current = MetricValueStatus { average_value: Some(decimal(usage)), ..MetricValueStatus::default() };
    let status = PodsMetricStatus { metric: source.metric.clone(), current };
    let status = MetricStatus { type_: "Pods".into(), pods: Some(status), ..MetricStatus::default() };
    Ok(Proposal { replicas, metric: format!("pods metric {name}"), status })
}

async fn object(spec: &MetricSpec, metrics: &Metrics<'_>, target: &Target<'_>) -> Result<Proposal, String> {
    let source = spec.object.as_ref().ok_or_else(incomplete)?;
    let (object, metric) = (&source.described_object, &source.metric);
    let value = async {
        let value = metrics.of_object(&metric.name, metric.selector.as_ref(), object).await;
        value.map_err(|why| unable(metric, &why, object, metrics.namespace))
    };
    let (replicas, current, metric_name) = match (&*source.target.type_, &source.target) {
        ("Value", MetricTarget { value: Some(wanted), .. }) => {
            let (value, wanted) = (value.await?, millis(wanted).ok_or_else(incomplete)?);
            let replicas = by_value(target.wanted, value, wanted, target.pods, target.tolerances)?;
            let current = MetricValueStatus { value: Some(decimal(value)), ..MetricValueStatus::default() };
            (replicas, current, format!("{} metric {}", object.kind, metric.name))
        }
        ("AverageValue", MetricTarget { average_value: Some(wanted), .. }) => {
            let value =
                value.await.map_err(|why| format!("failed to get {} object metric: {why}", metric.name))?;
            let wanted = millis(wanted).ok_or_else(incomplete)?;
            let (replicas, share) = by_share(target.present, value, wanted, target.tolerances);
            let current =
                MetricValueStatus { average_value: Some(decimal(share)), ..MetricValueStatus::default() };
            (replicas, current, outside(metric))
        }
        _ => {
            return Err(
                "invalid object metric source: neither a value target nor an average value target was set"
                    .into(),
            );
        }
    };
    let status = ObjectMetricStatus { described_object: object.clone(), metric: metric.clone(), current };
    let status = MetricStatus { type_: "Object".into(), object: Some(status), ..MetricStatus::default() };
    Ok(Proposal { replicas, metric: metric_name, status })
}

/// As Kubernetes words it, its order of words included.
fn unable(
    metric: &MetricIdentifier,
    why: &str,
    object: &CrossVersionObjectReference,
    namespace: &str,
) -> String {
    format!("unable to get metric {}: {} on {namespace} {}/{why}", metric.name, object.kind, object.name)
}

async fn external(spec: &MetricSpec, metrics: &Metrics<'_>, target: &Target<'_>) -> Result<Proposal, String> {
    let source = spec.external.as_ref().ok_or_else(incomplete)?;
    let metric = &source.metric;
    let value = async {
        let values = metrics.external(&metric.name, metric.selector.as_ref()).await;
        let values = values.map_err(|why| {
            let selector = meta::shown_selector(metric.selector.as_ref());
            format!("unable to get external metric {}/{}/{selector}: {why}", metrics.namespace, metric.name)
        });
        Ok::<i64, String>(values?.into_iter().fold(0, i64::saturating_add))
    };
    let (replicas, current) = if let Some(wanted) = source.target.average_value.as_ref().and_then(millis) {
        let value =
            value.await.map_err(|why| format!("failed to get {} external metric: {why}", metric.name))?;
        let (replicas, share) = by_share(target.present, value, wanted, target.tolerances);
        (replicas, MetricValueStatus { average_value: Some(decimal(share)), ..MetricValueStatus::default() })
    } else if let Some(wanted) = source.target.value.as_ref().and_then(millis) {
        let explain = |why| format!("failed to get external metric {}: {why}", metric.name);
        let value = value.await.map_err(explain)?;
        let replicas =
            by_value(target.wanted, value, wanted, target.pods, target.tolerances).map_err(explain)?;
        (replicas, MetricValueStatus { value: Some(decimal(value)), ..MetricValueStatus::default() })
    } else {
        return Err(
            "invalid external metric source: neither a value target nor an average value target was set"
                .into(),
        );
    };
    let status = ExternalMetricStatus { metric: metric.clone(), current };
    let status = MetricStatus { type_: "External".into(), external: Some(status), ..MetricStatus::default() };
    Ok(Proposal { replicas, metric: outside(metric), status })
}

fn outside(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, meta::shown_selector(metric.selector.as_ref()))
}

fn millis(quantity: &resource::Quantity) -> Option<i64> {
    quantity.0.parse::<Quantity>().ok().map(Quantity::millis)
}

fn decimal(millis: i64) -> resource::Quantity {
    resource::Quantity(Quantity::of_millis(millis).to_string())
}

/// Memory is written as metrics servers write it.
fn amount(resource: &str, millis: i64) -> resource::Quantity {
    let amount = Quantity::of_millis(millis);
    resource::Quantity(if resource == "memory" { amount.in_binary() } else { amount }.to_string())
}
