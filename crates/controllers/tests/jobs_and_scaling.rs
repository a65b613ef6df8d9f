//! Jobs, CronJobs, disruption budgets and autoscalers against the real API server. The pods do what the test says.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Cluster, replication_controller, until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const TRACKED: &str = "batch.kubernetes.io/job-tracking";

fn job(name: &str, spec: Value) -> Value {
    let mut job = json!({
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {"labels": {"work": name}}, "spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}},
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

/// Lets a pod end, as a node agent would, with the exit code of its container.
async fn end(cluster: &Cluster, name: &str, code: i32) {
    let ended = Timestamp::now().to_string();
    let status = json!({"status": {
        "phase": if code == 0 { "Succeeded" } else { "Failed" },
        "containerStatuses": [{"name": "main", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": ended}}}],
    }});
    let pods = cluster.in_default::<Pod>();
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == TRACKED)
}

fn ended(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).is_some_and(|phase| phase != "Pending")
}

/// Waits for `number` pods that have not ended, and returns their names.
async fn pending(cluster: &Cluster, number: usize) -> Vec<String> {
    let all = cluster.until::<Pod>("default", |all| {
        all.iter()
            .filter(|pod| !ended(pod) && is_tracked(pod) && pod.metadata.deletion_timestamp.is_none())
            .count()
            == number
    });
    all.await.iter().filter(|pod| !ended(pod)).map(|pod| pod.name_any()).collect()
}

async fn until_job(cluster: &Cluster, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let status = |all: &[Job]| {
        let job = all.iter().find(|job| job.name_any() == name)?;
        Some(serde_json::to_value(job.status.as_ref()?).unwrap())
    };
    let all = cluster.until::<Job>("default", |all| status(all).is_some_and(|status| holds(&status))).await;
    status(&all).unwrap()
}

fn conditions(status: &Value) -> Vec<(String, String)> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let all = status["conditions"].as_array().into_iter().flatten();
    all.filter(|one| one["status"] == "True").map(|one| (text(one, "type"), text(one, "reason"))).collect()
}

fn has(status: &Value, type_: &str) -> bool {
    conditions(status).iter().any(|(one, _)| one == type_)
}

async fn until_event(cluster: &Cluster, reason: &str, of: &str) -> String {
    let is = |event: &Event| {
        event.reason.as_deref() == Some(reason) && event.involved_object.name.as_deref() == Some(of)
    };
    let all = cluster.until::<Event>("default", |all| all.iter().any(is)).await;
    all.iter().find(|event| is(event)).unwrap().message.clone().unwrap()
}

#[tokio::test]
async fn a_job_ends_when_enough_pods_have_succeeded_and_each_counts_once() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("sum", json!({"completions": 5, "parallelism": 2}))).await;
    let mut ended = 0;
    while ended < 5 {
        let names = pending(&cluster, 2.min(5 - ended)).await;
        let status = until_job(&cluster, "sum", |status| status["active"] == names.len()).await;
        assert!(status["startTime"].is_string());
        for name in &names {
            end(&cluster, name, 0).await;
        }
        ended += names.len();
    }
    let status = until_job(&cluster, "sum", |status| has(status, "Complete")).await;
    assert_eq!(status["succeeded"], 5);
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    assert!(status["completionTime"].is_string());
    let met = |type_: &str| (type_.to_owned(), "CompletionsReached".to_owned());
    assert_eq!(conditions(&status), [met("SuccessCriteriaMet"), met("Complete")]);
    let pods = cluster.until::<Pod>("default", |all| !all.iter().any(is_tracked)).await;
    assert_eq!(pods.len(), 5);
    assert_eq!(until_event(&cluster, "Completed", "sum").await, "Job completed");
    assert!(until_event(&cluster, "SuccessfulCreate", "sum").await.starts_with("Created pod: sum-"));
}

#[tokio::test]
async fn a_job_that_fails_takes_its_pods_with_it() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("bad", json!({"completions": 3, "parallelism": 2, "backoffLimit": 0}))).await;
    let names = pending(&cluster, 2).await;
    end(&cluster, &names[0], 1).await;
    let status = until_job(&cluster, "bad", |status| has(status, "Failed")).await;
    assert_eq!(
        (&status["failed"], &status["active"], &status["terminating"]),
        (&json!(2), &Value::Null, &json!(0))
    );
    let reason = |type_: &str| (type_.to_owned(), "BackoffLimitExceeded".to_owned());
    assert_eq!(conditions(&status), [reason("FailureTarget"), reason("Failed")]);
    let pods = cluster.until::<Pod>("default", |all| all.len() == 1 && !is_tracked(&all[0])).await;
    assert_eq!(pods[0].name_any(), names[0]);
    let message = until_event(&cluster, "BackoffLimitExceeded", "bad").await;
    assert_eq!(message, "Job has reached the specified backoff limit");
}

#[tokio::test]
async fn each_index_has_its_pod_and_may_fail_alone() {
    let cluster = Cluster::start().await;
    let spec = json!({
        "completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0,
        "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}}]},
    });
    cluster.create::<Job>(job("parts", spec)).await;
    pending(&cluster, 3).await;
    let pods = cluster.until::<Pod>("default", |all| all.len() == 3).await;
    for (index, pod) in pods.iter().enumerate() {
        assert!(pod.name_any().starts_with(&format!("parts-{index}-")));
        assert_eq!(pod.labels()["batch.kubernetes.io/job-completion-index"], index.to_string());
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname.as_deref(), Some(&*format!("parts-{index}")));
        assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].name, "JOB_COMPLETION_INDEX");
    }
    end(&cluster, &pods[2].name_any(), 0).await;
    let status = until_job(&cluster, "parts", |status| status["completedIndexes"] == "2").await;
    assert_eq!(status["active"], 2);
    end(&cluster, &pods[0].name_any(), 7).await;
    until_job(&cluster, "parts", |status| status["failedIndexes"] == "0").await;
    end(&cluster, &pods[1].name_any(), 0).await;
    let status = until_job(&cluster, "parts", |status| has(status, "Failed")).await;
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("1,2"), &json!("0")));
    assert_eq!(conditions(&status)[1].1, "FailedIndexes");
}

#[tokio::test]
async fn suspended_jobs_have_no_pods() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("later", json!({"completions": 2, "parallelism": 2, "suspend": true}))).await;
    let status = until_job(&cluster, "later", |status| has(status, "Suspended")).await;
    assert_eq!(status["startTime"], Value::Null);
    let suspend = async |suspend: bool| {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        cluster.in_default::<Job>().patch("later", &PatchParams::default(), &patch).await.unwrap();
    };
    suspend(false).await;
    pending(&cluster, 2).await;
    until_job(&cluster, "later", |status| status["active"] == 2 && !has(status, "Suspended")).await;
    suspend(true).await;
    let status =
        until_job(&cluster, "later", |status| has(status, "Suspended") && status["terminating"] == 0).await;
    assert_eq!((&status["active"], &status["failed"]), (&Value::Null, &Value::Null));
    cluster.until::<Pod>("default", <[Pod]>::is_empty).await;
    assert_eq!(until_event(&cluster, "Resumed", "later").await, "Job resumed");
}

#[tokio::test]
async fn pods_of_jobs_that_are_gone_go_too() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("gone", json!({"completions": 2, "parallelism": 2}))).await;
    let names = pending(&cluster, 2).await;
    end(&cluster, &names[0], 0).await;
    until_job(&cluster, "gone", |status| status["succeeded"] == 1).await;
    cluster.in_default::<Job>().delete("gone", &DeleteParams::background()).await.unwrap();
    cluster.until::<Job>("default", <[Job]>::is_empty).await;
    cluster.until::<Pod>("default", <[Pod]>::is_empty).await;
    // What says so goes by itself once it has ended, its pods before it.
    cluster.create::<Job>(job("brief", json!({"ttlSecondsAfterFinished": 0}))).await;
    let names = pending(&cluster, 1).await;
    end(&cluster, &names[0], 0).await;
    cluster.until::<Job>("default", <[Job]>::is_empty).await;
    cluster.until::<Pod>("default", <[Pod]>::is_empty).await;
}

#[tokio::test]
async fn a_cron_job_starts_what_is_due_and_takes_note_of_its_end() {
    let cluster = Cluster::start().await;
    let template = job("", json!({}))["spec"].clone();
    let cron = json!({
        "metadata": {"name": "tick"},
        "spec": {"schedule": "* * * * *", "suspend": true, "concurrencyPolicy": "Forbid",
                 "jobTemplate": {"spec": template}},
    });
    cluster.create::<CronJob>(cron).await;
    let api = cluster.in_default::<CronJob>();
    // The last start was some minutes ago.
    let before = Timestamp::now() - SignedDuration::from_secs(200);
    let status = json!({"status": {"lastScheduleTime": before.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}});
    api.patch_status("tick", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    api.patch("tick", &PatchParams::default(), &resume).await.unwrap();
    let started =
        |all: &[CronJob]| all[0].status.as_ref().and_then(|status| status.active.clone()).unwrap_or_default();
    let cron = cluster.until::<CronJob>("default", |all| started(all).len() == 1).await;
    let jobs = cluster.until::<Job>("default", |all| all.len() == 1).await;
    let minutes = jobs[0].name_any().strip_prefix("tick-").unwrap().parse::<i64>().unwrap();
    assert_eq!(
        cron[0].status.as_ref().unwrap().last_schedule_time.as_ref().unwrap().0.as_second(),
        minutes * 60
    );
    assert!(jobs[0].annotations().contains_key("batch.kubernetes.io/cronjob-scheduled-timestamp"));
    assert_eq!(started(&cron)[0].uid, jobs[0].uid());
    let names = pending(&cluster, 1).await;
    end(&cluster, &names[0], 0).await;
    let done = |all: &[CronJob]| {
        started(all).is_empty() && all[0].status.as_ref().unwrap().last_successful_time.is_some()
    };
    cluster.until::<CronJob>("default", done).await;
    assert!(until_event(&cluster, "SawCompletedJob", "tick").await.ends_with(", condition: Complete"));
    // Now it is to keep none.
    let none = Patch::Merge(json!({"spec": {"successfulJobsHistoryLimit": 0}}));
    api.patch("tick", &PatchParams::default(), &none).await.unwrap();
    let uid = jobs[0].uid();
    cluster.until::<Job>("default", |all| all.iter().all(|job| job.uid() != uid)).await;
    assert!(until_event(&cluster, "SuccessfulCreate", "tick").await.starts_with("Created job tick-"));
    assert!(until_event(&cluster, "SuccessfulDelete", "tick").await.starts_with("Deleted job tick-"));
}

async fn until_budget(cluster: &Cluster, name: &str, expected: (i32, i32, i32, &str)) {
    let shown = |budget: &PodDisruptionBudget| {
        let status = budget.status.clone()?;
        let reason = status.conditions?.first()?.reason.clone();
        Some((status.expected_pods?, status.current_healthy?, status.disruptions_allowed?, reason))
    };
    let (expected_pods, healthy, allowed, reason) = expected;
    let expected = Some((expected_pods, healthy, allowed, reason.to_owned()));
    cluster
        .until::<PodDisruptionBudget>("default", |all| {
            all.iter().any(|budget| budget.name_any() == name && shown(budget) == expected)
        })
        .await;
}

#[tokio::test]
async fn budgets_allow_what_is_spare() {
    let cluster = Cluster::start().await;
    cluster.create::<ReplicationController>(replication_controller("web", 4)).await;
    let pods = cluster.until::<Pod>("default", |all| all.len() == 4).await;
    let budget = |name: &str, spec: Value| {
        let mut budget =
            json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        budget["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        budget
    };
    cluster.create::<PodDisruptionBudget>(budget("number", json!({"minAvailable": 2}))).await;
    cluster.create::<PodDisruptionBudget>(budget("share", json!({"maxUnavailable": "25%"}))).await;
    until_budget(&cluster, "number", (4, 0, 0, "InsufficientPods")).await;
    for (i, pod) in pods.iter().enumerate() {
        cluster.run_pod(&pod.name_any(), &format!("10.244.0.{i}"), true).await;
    }
    until_budget(&cluster, "number", (4, 4, 2, "SufficientPods")).await;
    until_budget(&cluster, "share", (4, 4, 1, "SufficientPods")).await;
    cluster.run_pod(&pods[0].name_any(), "10.244.0.0", false).await;
    until_budget(&cluster, "number", (4, 3, 1, "SufficientPods")).await;
    until_budget(&cluster, "share", (4, 3, 0, "InsufficientPods")).await;
}

/// Serves pods' metrics from objects of a kind made for it.
async fn serve_metrics(cluster: &Cluster) {
    let definition = json!({
        "metadata": {"name": "pods.metrics.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {"group": "metrics.k8s.io", "scope": "Namespaced",
                 "names": {"plural": "pods", "kind": "PodMetrics", "listKind": "PodMetricsList"},
                 "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                     "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let api = cluster.all::<CustomResourceDefinition>();
    api.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let established = |one: &CustomResourceDefinition| {
        let conditions = one.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Established" && condition.status == "True")
    };
    until(api, |all| all.iter().any(established)).await;
}

async fn use_cpu(cluster: &Cluster, pod: &str, cpu: &str) {
    let metrics = json!({
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
        "metadata": {"name": pod, "labels": {"app": "web"}},
        "timestamp": Timestamp::now().to_string(), "window": "15s",
        "containers": [{"name": "main", "usage": {"cpu": cpu, "memory": "1Mi"}}],
    });
    let request = http::Request::post("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods")
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&metrics).unwrap());
    cluster.client.request::<Value>(request.unwrap()).await.unwrap();
}

fn autoscaler(max: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "web"},
                 "minReplicas": 1, "maxReplicas": max, "metrics": [{"type": "Resource", "resource": {
                     "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
    })
}

async fn until_autoscaler(cluster: &Cluster, type_: &str, reason: &str) -> HorizontalPodAutoscaler {
    let says = |one: &HorizontalPodAutoscaler| {
        let conditions = one.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is = |one: &_| -> bool {
            let one: &k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition = one;
            one.type_ == type_ && one.reason.as_deref() == Some(reason)
        };
        conditions.into_iter().flatten().any(is)
    };
    cluster.until::<HorizontalPodAutoscaler>("default", |all| all.iter().any(says)).await.remove(0)
}

#[tokio::test]
async fn an_autoscaler_follows_the_use_of_cpu() {
    let cluster = Cluster::start().await;
    serve_metrics(&cluster).await;
    let mut controller = replication_controller("web", 2);
    controller["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m"}});
    cluster.create::<ReplicationController>(controller).await;
    let pods = cluster.until::<Pod>("default", |all| all.len() == 2).await;
    for (i, pod) in pods.iter().enumerate() {
        cluster.run_pod(&pod.name_any(), &format!("10.244.0.{i}"), true).await;
        let started = json!({"status": {"startTime": "2026-01-01T00:00:00Z"}});
        let api = cluster.in_default::<Pod>();
        api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(started)).await.unwrap();
        use_cpu(&cluster, &pod.name_any(), "80m").await;
    }
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(10)).await;
    let scaled = until_autoscaler(&cluster, "AbleToScale", "SucceededRescale").await;
    let status = serde_json::to_value(scaled.status.unwrap()).unwrap();
    assert_eq!((&status["currentReplicas"], &status["desiredReplicas"]), (&json!(2), &json!(4)));
    let current = json!({"averageUtilization": 80, "averageValue": "80m"});
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}])
    );
    assert!(status["lastScaleTime"].is_string());
    cluster.until::<Pod>("default", |all| all.len() == 4).await;
    let message = until_event(&cluster, "SuccessfulRescale", "web").await;
    assert_eq!(message, "New size: 4; reason: cpu resource utilization (percentage of request) above target");
}

#[tokio::test]
async fn an_autoscaler_says_what_it_lacks() {
    let cluster = Cluster::start().await;
    cluster.create::<HorizontalPodAutoscaler>(autoscaler(3)).await;
    let message = until_event(&cluster, "FailedGetScale", "web").await;
    assert_eq!(message, "replicationcontrollers \"web\" not found");
    cluster.create::<ReplicationController>(replication_controller("web", 5)).await;
    cluster.until::<Pod>("default", |all| all.len() == 5).await;
    // Another look at once, for it says something else now.
    let patch = Patch::Merge(json!({"spec": {"maxReplicas": 2}}));
    cluster
        .in_default::<HorizontalPodAutoscaler>()
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let message = until_event(&cluster, "SuccessfulRescale", "web").await;
    assert_eq!(message, "New size: 2; reason: Current number of replicas above Spec.MaxReplicas");
    cluster
        .until::<Pod>("default", |all| {
            all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == 2
        })
        .await;
    let patch = Patch::Merge(json!({"spec": {"maxReplicas": 4}}));
    cluster
        .in_default::<HorizontalPodAutoscaler>()
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until_autoscaler(&cluster, "ScalingActive", "FailedGetResourceMetric").await;
    let message = until_event(&cluster, "FailedGetResourceMetric", "web").await;
    assert_eq!(
        message,
        "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics \
         API: the server could not find the requested resource (get pods.metrics.k8s.io)"
    );
}
