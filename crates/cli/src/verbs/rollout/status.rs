//! `rollout status`.

use serde_json::Value;

use super::{named, nothing};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::select::{FILES, Item, SELECTOR};
use crate::watch::{Place, Seen, until};

const WATCH: Flag = Flag::switch("watch", "Wait until it is rolled out").short('w').default("true");
const REVISION: Flag = Flag::number("revision", "0", "Only while it is at this revision; any when 0");
const TIMEOUT: Flag = Flag::duration("timeout", "0s", "How long to wait, e.g. 2m; without a bound when 0");

pub(super) const COMMAND: Command = Command::new(
    "status",
    "(TYPE NAME | TYPE/NAME) [flags]",
    "Tell how far a rollout is, and wait for its end",
)
.examples("# Wait at most a minute\nkubectl rollout status deployment/kubia --timeout=1m")
.flags(&[FILES, &[SELECTOR, WATCH, REVISION, TIMEOUT]])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let revision = given.number(&REVISION);
    let (items, mut errors) = named(cx, given).await?;
    if revision < 0 {
        return Err(Error::Usage(format!("revision must be a positive integer: {revision}")));
    }
    for item in &items {
        if let Err(error) = follow(cx, given, item, revision).await {
            errors.push(error);
        }
    }
    if items.is_empty() && errors.is_empty() {
        return nothing(cx).await;
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn follow(cx: &Context, given: &Given, item: &Item, revision: i64) -> Result<(), Error> {
    let (group, kind) = (&item.resource.group, &item.resource.kind);
    if !matches!((group.as_str(), kind.as_str()), ("apps", "Deployment" | "DaemonSet" | "StatefulSet")) {
        let name = if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") };
        return Err(Error::Usage(format!("no status viewer has been implemented for {name}")));
    }
    let place = Place { resource: &item.resource, namespace: item.namespace.as_deref(), name: &item.name };
    let time = given.time(&TIMEOUT).filter(|time| !time.is_zero());
    let watch = given.is_on(&WATCH);
    let seen = |seen: Seen| match seen {
        Seen::There(object) => {
            let progress = progress(kind, &item.name, &object, revision)?;
            skiff_print::text(progress.text())?;
            Ok((progress.is_done() || !watch).then_some(()))
        }
        Seen::Missing => Ok(None),
        Seen::Deleted(_) => Err(Error::usage("object has been deleted")),
    };
    match until(cx.api().await?, place, time, seen).await? {
        Some(()) => Ok(()),
        None => Err(Error::usage("timed out waiting for the condition")),
    }
}

/// How far a rollout is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Waiting(String),
    Done(String),
}

impl Progress {
    fn text(&self) -> &str {
        match self {
            Self::Waiting(text) | Self::Done(text) => text,
        }
    }

    fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

fn progress(kind: &str, name: &str, object: &Value, revision: i64) -> Result<Progress, Error> {
    match kind {
        "Deployment" => deployment(name, object, revision),
        "DaemonSet" => daemon_set(name, object),
        _ => stateful_set(object),
    }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn is_observed(object: &Value) -> bool {
    count(&object["metadata"]["generation"]) <= count(&object["status"]["observedGeneration"])
}

fn deployment(name: &str, object: &Value, revision: i64) -> Result<Progress, Error> {
    let annotation = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    let current: i64 = annotation.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    if revision > 0 && revision != current {
        return Err(Error::Usage(format!(
            "desired revision ({revision}) is different from the running revision ({current})"
        )));
    }
    if !is_observed(object) {
        return Ok(Progress::Waiting("Waiting for deployment spec update to be observed...\n".to_owned()));
    }
    let status = &object["status"];
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    if conditions.any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded") {
        return Err(Error::Usage(format!("deployment \"{name}\" exceeded its progress deadline")));
    }
    let (wanted, all) = (count(&object["spec"]["replicas"]), count(&status["replicas"]));
    let (updated, available) = (count(&status["updatedReplicas"]), count(&status["availableReplicas"]));
    let waiting = |what: String| {
        Ok(Progress::Waiting(format!("Waiting for deployment \"{name}\" rollout to finish: {what}...\n")))
    };
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok(Progress::Done(format!("deployment \"{name}\" successfully rolled out\n")))
}

fn only_rolling(object: &Value) -> Result<(), Error> {
    match object["spec"]["updateStrategy"]["type"].as_str() {
        Some("RollingUpdate") => Ok(()),
        _ => Err(Error::usage("rollout status is only available for RollingUpdate strategy type")),
    }
}

fn daemon_set(name: &str, object: &Value) -> Result<Progress, Error> {
    only_rolling(object)?;
    if !is_observed(object) {
        return Ok(Progress::Waiting("Waiting for daemon set spec update to be observed...\n".to_owned()));
    }
    let status = &object["status"];
    let wanted = count(&status["desiredNumberScheduled"]);
    let (updated, available) = (count(&status["updatedNumberScheduled"]), count(&status["numberAvailable"]));
    let waiting = |what: String| {
        Ok(Progress::Waiting(format!("Waiting for daemon set \"{name}\" rollout to finish: {what}...\n")))
    };
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return waiting(format!("{available} of {wanted} updated pods are available"));
    }
    Ok(Progress::Done(format!("daemon set \"{name}\" successfully rolled out\n")))
}

fn stateful_set(object: &Value) -> Result<Progress, Error> {
    only_rolling(object)?;
    let (spec, status) = (&object["spec"], &object["status"]);
    if count(&status["observedGeneration"]) == 0 || !is_observed(object) {
        return Ok(Progress::Waiting("Waiting for statefulset spec update to be observed...\n".to_owned()));
    }
    let (wanted, ready, updated) =
        (count(&spec["replicas"]), count(&status["readyReplicas"]), count(&status["updatedReplicas"]));
    if ready < wanted {
        return Ok(Progress::Waiting(format!("Waiting for {} pods to be ready...\n", wanted - ready)));
    }
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let partition = count(&rolling["partition"]);
        return Ok(match updated < wanted - partition {
            true => Progress::Waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...\n",
                wanted - partition
            )),
            false => Progress::Done(format!(
                "partitioned roll out complete: {updated} new pods have been updated...\n"
            )),
        });
    }
    let (current, update) = (&status["currentRevision"], &status["updateRevision"]);
    Ok(match current == update {
        false => Progress::Waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...\n",
            update.as_str().unwrap_or_default()
        )),
        true => Progress::Done(format!(
            "statefulset rolling update complete {} pods at revision {}...\n",
            count(&status["currentReplicas"]),
            current.as_str().unwrap_or_default()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(kind: &str, spec: Value, status: Value) -> String {
        let object = json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        match progress(kind, "x", &object, 0) {
            Ok(progress) => format!(
                "{} {}",
                if progress.is_done() { "done:" } else { "waiting:" },
                progress.text().trim()
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn deployments() {
        let check = |status: Value, text: &str| {
            let mut status = status;
            status["observedGeneration"] = json!(2);
            assert_eq!(told("Deployment", json!({"replicas": 3}), status), text);
        };
        let rollout = "waiting: Waiting for deployment \"x\" rollout to finish:";
        check(
            json!({"updatedReplicas": 1}),
            &format!("{rollout} 1 out of 3 new replicas have been updated..."),
        );
        check(
            json!({"updatedReplicas": 3, "replicas": 4}),
            &format!("{rollout} 1 old replicas are pending termination..."),
        );
        check(
            json!({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
            &format!("{rollout} 2 of 3 updated replicas are available..."),
        );
        check(
            json!({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
            "done: deployment \"x\" successfully rolled out",
        );
        check(
            json!({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
            "error: deployment \"x\" exceeded its progress deadline",
        );
        assert_eq!(
            told("Deployment", json!({}), json!({"observedGeneration": 1})),
            "waiting: Waiting for deployment spec update to be observed..."
        );
    }

    #[test]
    fn sets() {
        let spec = json!({"updateStrategy": {"type": "RollingUpdate"}, "replicas": 2});
        assert_eq!(
            told(
                "DaemonSet",
                spec.clone(),
                json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2})
            ),
            "done: daemon set \"x\" successfully rolled out"
        );
        assert_eq!(
            told("StatefulSet", spec.clone(), json!({"observedGeneration": 2, "readyReplicas": 1})),
            "waiting: Waiting for 1 pods to be ready..."
        );
        assert_eq!(
            told(
                "StatefulSet",
                spec,
                json!({"observedGeneration": 2, "readyReplicas": 2, "currentReplicas": 2, "currentRevision": "r", "updateRevision": "r"})
            ),
            "done: statefulset rolling update complete 2 pods at revision r..."
        );
        assert_eq!(
            told("DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({})),
            "error: rollout status is only available for RollingUpdate strategy type"
        );
    }
}
