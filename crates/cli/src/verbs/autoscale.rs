//! `autoscale`.

use serde_json::{Value, json};
use skiff_quantity::Quantity;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::{FILES, Item, Selection};
use crate::uri::with_query;

const MIN: Flag = Flag::number("min", "-1", "How many pods there are at least");
const MAX: Flag = Flag::number("max", "-1", "How many pods there are at most").required();
const CPU: Flag = Flag::text(
    "cpu",
    "Use of processors to aim at, as a percentage of what is requested (70%) or an amount (500m)",
);
const MEMORY: Flag = Flag::text(
    "memory",
    "Use of memory to aim at, as a percentage of what is requested (60%) or an amount (200Mi)",
);
const CPU_PERCENT: Flag = Flag::number("cpu-percent", "-1", "As --cpu with a percentage");
const NAME: Flag =
    Flag::text("name", "Name of the HorizontalPodAutoscaler; that of the object when not given");

pub(crate) const COMMAND: Command = Command::new(
    "autoscale",
    "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU] [--memory=MEMORY]",
    "Let the number of pods follow their use",
)
.examples("# Two to ten pods that use half of what they request\nkubectl autoscale deployment kubia --min=2 --max=10 --cpu=50%")
.flags(&[FILES, PRINT, &[MIN, MAX, CPU, MEMORY, CPU_PERCENT, NAME, DRY_RUN, FIELD_MANAGER]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if given.is_given(&CPU_PERCENT) {
        skiff_print::note(
            "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).",
        );
    }
    let metrics = check(given)?;
    let change = Change::of(given)?;
    let found = Selection::of(given, &given.words).find(cx).await?;
    let mut errors = found.errors;
    if found.items.is_empty() && errors.is_empty() {
        return Err(Error::usage("no objects passed to autoscale"));
    }
    for item in &found.items {
        if let Err(error) = autoscale(cx, given, &change, item, &metrics).await {
            errors.push(error);
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// The metrics, when what is given makes sense.
fn check(given: &Given) -> Result<Vec<Value>, Error> {
    let (min, max, percent) = (given.number(&MIN), given.number(&MAX), given.number(&CPU_PERCENT));
    if max < 1 {
        return Err(Error::Usage(format!("--max=MAXPODS is required and must be at least 1, max: {max}")));
    }
    if max < min {
        return Err(Error::Usage(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
        )));
    }
    if percent > 0 && given.some(&CPU).is_some() {
        return Err(Error::usage("--cpu-percent and --cpu are mutually exclusive"));
    }
    let mut metrics = Vec::new();
    if percent > 0 {
        metrics.push(metric("cpu", &format!("{percent}%"))?);
    }
    for (flag, name) in [(&CPU, "cpu"), (&MEMORY, "memory")] {
        if let Some(text) = given.some(flag) {
            metrics.push(metric(name, text)?);
        }
    }
    Ok(metrics)
}

fn metric(name: &str, text: &str) -> Result<Value, Error> {
    let text = text.trim();
    let target = match text.strip_suffix('%') {
        Some(percent) => {
            let percent: Result<u32, _> = percent.parse();
            let percent = percent.map_err(|_| {
                Error::Usage(format!("invalid percentage value: {}", text.trim_end_matches('%')))
            })?;
            json!({"type": "Utilization", "averageUtilization": percent})
        }
        None => {
            let unit = if name == "cpu" { "m" } else { "Mi" };
            let amount = if text.parse::<f64>().is_ok() { format!("{text}{unit}") } else { text.to_owned() };
            let amount: Quantity =
                amount.parse().map_err(|_| Error::Usage(format!("invalid resource {name} value: {text}")))?;
            json!({"type": "AverageValue", "averageValue": amount.to_string()})
        }
    };
    Ok(json!({"type": "Resource", "resource": {"name": name, "target": target}}))
}

async fn autoscale(
    cx: &Context,
    given: &Given,
    change: &Change,
    item: &Item,
    metrics: &[Value],
) -> Result<(), Error> {
    let resource = &item.resource;
    if !resource.parts.iter().any(|part| part == "scale") {
        return Err(Error::Usage(format!(
            "cannot autoscale a {}: could not find scale subresource for {}/{}, Resource={} in discovery information",
            resource.kind, resource.group, resource.version, resource.plural
        )));
    }
    let mut scaler = scaler(given, item, metrics);
    if let Some(namespace) = cx.named_namespace() {
        scaler["metadata"]["namespace"] = json!(namespace);
    }
    if change.dry_run.is_client() {
        return change.print(&scaler, "created");
    }
    let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", cx.namespace().await?);
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-autoscale");
    let query = [("fieldManager", Some(manager)), ("dryRun", change.dry_run.query())];
    let made = cx.api().await?.post(&with_query(&path, &query), &scaler).await?;
    change.print(&made, "autoscaled")
}

fn scaler(given: &Given, item: &Item, metrics: &[Value]) -> Value {
    let mut spec = json!({
        "maxReplicas": given.number(&MAX),
        "scaleTargetRef": {"apiVersion": item.resource.api_version(), "kind": item.resource.kind, "name": item.name},
    });
    if given.number(&MIN) > 0 {
        spec["minReplicas"] = json!(given.number(&MIN));
    }
    if !metrics.is_empty() {
        spec["metrics"] = json!(metrics);
    }
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": given.some(&NAME).unwrap_or(&item.name)},
        "spec": spec, "status": {"currentMetrics": null, "desiredReplicas": 0},
    })
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn reads_percentages_and_amounts() {
        let target = |name: &str, text: &str| {
            metric(name, text)
                .map_or_else(|error| error.to_string(), |metric| metric["resource"]["target"].to_string())
        };
        assert_eq!(target("cpu", "50%"), r#"{"averageUtilization":50,"type":"Utilization"}"#);
        assert_eq!(target("cpu", "500"), r#"{"averageValue":"500m","type":"AverageValue"}"#);
        assert_eq!(target("memory", "1Gi"), r#"{"averageValue":"1Gi","type":"AverageValue"}"#);
        assert_eq!(target("cpu", "x%"), "error: invalid percentage value: x");
        assert_eq!(target("cpu", "x"), "error: invalid resource cpu value: x");
    }
}
