use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::accounts::{Accounts, Done, Turn};
use super::plan::{Act, Asked, View};
use super::template;
use super::wish::Wish;
use crate::pods::KnownPod;
use crate::pods::tests::known;
use crate::pods::work::{COMPLETION_INDEX, INDEX_FAILURES, INDEX_IGNORED_FAILURES, TRACKING_FINALIZER};

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A Job of one pod at a time, whose `spec` and `status` have these fields as well.
fn job(spec: Value, status: Value) -> Job {
    let mut job = json!({
        "metadata": {"name": "work", "namespace": "default", "uid": "job-1"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6,
                 "template": {"metadata": {"labels": {"app": "work"}}, "spec": {
                     "restartPolicy": "Never", "containers": [{"name": "main"}], "initContainers": [{"name": "setup"}]}}},
        "status": {},
    });
    merge(&mut job["spec"], &spec);
    merge(&mut job["status"], &status);
    serde_json::from_value(job).unwrap()
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

/// `NAME PHASE [i=INDEX] [f=FAILURES] [g=IGNORED FAILURES] [t=SECONDS since its end] [x=EXIT CODE] [r=RESTARTS] [deleting] [ready] [counted]`
fn pod(text: &str) -> Arc<KnownPod> {
    let mut words = text.split_whitespace();
    let (name, phase) = (words.next().unwrap(), words.next().unwrap());
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "annotations": {}, "labels": {"app": "work"},
                     "finalizers": [TRACKING_FINALIZER],
                     "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "work", "uid": "job-1",
                                          "controller": true}]},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": phase, "conditions": [], "containerStatuses": [
            {"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0}]},
    });
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let (metadata, container) = ("metadata", "/status/containerStatuses/0");
        match key {
            "i" => pod[metadata]["annotations"][COMPLETION_INDEX] = value.into(),
            "f" => pod[metadata]["annotations"][INDEX_FAILURES] = value.into(),
            "g" => pod[metadata]["annotations"][INDEX_IGNORED_FAILURES] = value.into(),
            "t" => {
                let end = now().as_second() - value.parse::<i64>().unwrap();
                let end = Timestamp::from_second(end).unwrap().to_string();
                let state = json!({"terminated": {"exitCode": 1, "finishedAt": end}});
                pod.pointer_mut(container).unwrap()["state"] = state;
            }
            "x" => {
                let state =
                    json!({"terminated": {"exitCode": value.parse::<i64>().unwrap(), "finishedAt": NOW}});
                pod.pointer_mut(container).unwrap()["state"] = state;
            }
            "r" => pod.pointer_mut(container).unwrap()["restartCount"] = value.parse::<i64>().unwrap().into(),
            "deleting" => pod[metadata]["deletionTimestamp"] = NOW.into(),
            "ready" => pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]),
            "counted" => pod[metadata]["finalizers"] = json!([]),
            other => panic!("{other}"),
        }
    }
    Arc::new(known(pod))
}

fn view<'a>(job: &'a Job, pods: &[&str]) -> View<'a> {
    let pods = pods.iter().map(|text| pod(text)).collect();
    View::of(job, Wish::of(job).unwrap(), pods, Asked::default(), None, now())
}

fn names(pods: &[Arc<KnownPod>]) -> String {
    pods.iter().map(|pod| pod.name()).collect::<Vec<_>>().join(",")
}

/// What is to be done, in short.
fn shown(view: &View<'_>) -> String {
    if let Some(ending) = &view.ending {
        return format!("{:?}: {}", ending.outcome, ending.reason);
    }
    match view.act(now()) {
        Act::Nothing => "nothing".into(),
        Act::Wait(pause) => format!("wait {}", pause.as_secs()),
        Act::Create(number) => format!("create {number}"),
        Act::CreateIndexes(indexes, None) => format!("create {indexes:?}"),
        Act::CreateIndexes(indexes, Some(more_in)) => {
            format!("create {indexes:?}, more in {}", more_in.as_secs())
        }
        Act::Delete(pods) => format!("delete {}", names(&pods)),
    }
}

fn check(spec: Value, status: Value, pods: &[&str], expected: &str) {
    let job = job(spec, status);
    assert_eq!(shown(&view(&job, pods)), expected, "{pods:?}");
}

#[test]
fn as_many_pods_run_as_are_needed() {
    let five = || json!({"parallelism": 5, "completions": 8});
    check(five(), json!({}), &[], "create 5");
    check(five(), json!({}), &["a Running", "b Pending", "c Succeeded t=5"], "create 3");
    check(five(), json!({"succeeded": 6}), &["a Running"], "create 1");
    check(five(), json!({"succeeded": 6}), &["a Running", "b Running", "c Running ready"], "delete a");
    check(five(), json!({"succeeded": 5}), &["a Running", "b Succeeded", "c Running"], "nothing");
    // Without completions one success is enough, and the others are left to end.
    let queue = || json!({"parallelism": 3, "completions": null});
    check(queue(), json!({}), &["a Running"], "create 2");
    check(queue(), json!({}), &["a Running", "b Succeeded"], "nothing");
    check(json!({"parallelism": 0}), json!({}), &["a Running"], "delete a");
    check(json!({"suspend": true}), json!({}), &["a Running"], "delete a");
    check(json!({"suspend": true}), json!({}), &[], "nothing");
    check(json!({"parallelism": 9000, "completions": 9000}), json!({}), &[], "create 500");
}

#[test]
fn pods_that_are_about_to_end_are_replaced_at_once_or_when_they_have() {
    let failed = json!({"podReplacementPolicy": "Failed"});
    let leaving = "a Running deleting t=700";
    check(json!({}), json!({}), &[leaving], "create 1");
    check(failed.clone(), json!({}), &[leaving], "nothing");
    check(failed, json!({}), &["a Failed deleting t=700"], "create 1");
    check(json!({"podFailurePolicy": {"rules": []}}), json!({}), &[leaving], "nothing");
    let indexed = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "podReplacementPolicy": "Failed"});
    check(indexed, json!({}), &["a Running deleting i=0"], "create [1, 2]");
}

#[test]
fn failures_slow_replacement_down_and_end_the_job() {
    check(json!({}), json!({}), &["a Failed t=0"], "wait 10");
    check(json!({}), json!({}), &["a Failed t=10"], "create 1");
    check(json!({}), json!({}), &["a Failed t=3", "b Failed t=700"], "wait 17");
    // After a restart what was counted before is still known.
    check(json!({}), json!({"failed": 2}), &["a Failed t=3 counted", "b Failed t=700 counted"], "wait 17");
    check(json!({"completions": 9}), json!({}), &["a Failed t=5", "b Succeeded t=3"], "create 1");
    let two = || json!({"backoffLimit": 2});
    check(two(), json!({"failed": 2}), &[], "create 1");
    check(two(), json!({"failed": 2}), &["a Failed t=0"], "Failure: BackoffLimitExceeded");
    check(
        two(),
        json!({"failed": 1, "uncountedTerminatedPods": {"failed": ["a"]}}),
        &["a Failed t=0"],
        "create 1",
    );
    check(two(), json!({"failed": 2}), &["a Failed t=0 counted"], "wait 10");
    let restarting = json!({"backoffLimit": 2, "template": {"spec": {"restartPolicy": "OnFailure"}}});
    check(restarting.clone(), json!({}), &["a Running r=1"], "nothing");
    check(restarting, json!({}), &["a Running r=2"], "Failure: BackoffLimitExceeded");
    check(json!({}), json!({}), &["a Running r=9"], "nothing");
}

#[test]
fn deadlines_count_while_the_job_is_active() {
    let minute = || json!({"activeDeadlineSeconds": 60});
    let since = |time: &str| json!({"startTime": format!("2026-01-01T{time}Z")});
    check(minute(), since("00:59:01"), &["a Running"], "nothing");
    check(minute(), since("00:59:00"), &["a Running"], "Failure: DeadlineExceeded");
    check(minute(), json!({}), &[], "create 1");
    check(json!({"activeDeadlineSeconds": 60, "suspend": true}), since("00:00:00"), &[], "nothing");
    let job = job(minute(), since("00:59:40"));
    assert_eq!(Wish::of(&job).unwrap().time_left(&job, now()).unwrap().as_secs(), 40);
}

#[test]
fn each_index_is_worked_at_by_one_pod() {
    let indexed = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 6, "parallelism": 3});
        merge(&mut spec, &more);
        spec
    };
    check(indexed(json!({})), json!({}), &[], "create [0, 1, 2]");
    check(
        indexed(json!({})),
        json!({"completedIndexes": "0,2"}),
        &["a Running i=3", "b Succeeded i=1"],
        "create [4, 5]",
    );
    // Without an index, or with one that there is not, a pod is of no use; of two for the same the less useful goes.
    check(
        indexed(json!({})),
        json!({}),
        &["a Running i=0", "b Running i=0 ready", "c Running", "d Running i=6"],
        "delete c,a,d",
    );
    // Fewer completions than before.
    check(
        indexed(json!({"completions": 2, "parallelism": 2})),
        json!({"completedIndexes": "0,3-5"}),
        &[],
        "create [1]",
    );
}

#[test]
fn indexes_fail_by_themselves() {
    let spec = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1,
                              "backoffLimit": 1000});
        merge(&mut spec, &more);
        spec
    };
    // Index 0 waits, the others do not; its pod stays until another has taken over its counts.
    check(spec(json!({})), json!({}), &["a Failed i=0 t=4"], "create [1, 2], more in 6");
    check(spec(json!({})), json!({}), &["a Failed i=0 t=4", "b Running i=1", "c Running i=2"], "wait 6");
    check(spec(json!({})), json!({}), &["a Failed i=0 f=1", "b Running i=1", "c Running i=2"], "nothing");
    check(spec(json!({})), json!({"failedIndexes": "0"}), &["b Running i=1"], "create [2]");
    let most = || spec(json!({"maxFailedIndexes": 1}));
    check(most(), json!({"failedIndexes": "0"}), &["b Failed i=1 f=0 t=60"], "create [1, 2]");
    check(most(), json!({"failedIndexes": "0"}), &["b Failed i=1 f=1"], "Failure: MaxFailedIndexesExceeded");
    check(
        spec(json!({})),
        json!({"failedIndexes": "0", "completedIndexes": "1"}),
        &["c Running i=2"],
        "nothing",
    );
    check(
        spec(json!({})),
        json!({"failedIndexes": "0", "completedIndexes": "1,2"}),
        &[],
        "Failure: FailedIndexes",
    );
    let policy = json!({"podFailurePolicy": {"rules": [
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [4]}}]}});
    let job = job(spec(policy), json!({}));
    let view = view(&job, &["a Failed i=0 x=3", "b Failed i=1 f=1 x=4", "c Failed i=2 f=0 x=5"]);
    assert_eq!(view.failed_indexes.as_ref().unwrap().to_string(), "0");
    let annotations = |index: u32| {
        let pod = template::pod_of_index(&job, &view, index);
        let annotation = |name: &str| pod.annotations().get(name).cloned().unwrap_or_default();
        (annotation(INDEX_FAILURES), annotation(INDEX_IGNORED_FAILURES))
    };
    assert_eq!(annotations(1), ("1".into(), "1".into()));
    assert_eq!(annotations(2), ("1".into(), String::new()));
}

#[test]
fn policies_end_jobs() {
    let fail = json!({"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}});
    check(fail.clone(), json!({}), &["a Failed x=42"], "Failure: PodFailurePolicy");
    check(fail, json!({}), &["a Failed x=1"], "wait 10");
    let enough = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5,
                        "successPolicy": {"rules": [{"succeededCount": 2}]}});
    check(
        enough.clone(),
        json!({"completedIndexes": "3"}),
        &["a Succeeded i=1", "b Running i=2"],
        "Success: SuccessPolicy",
    );
    // What was decided holds.
    let met = json!({"completedIndexes": "1,3", "conditions": [
        {"type": "SuccessCriteriaMet", "status": "True", "reason": "SuccessPolicy", "message": "m"}]});
    check(enough, met, &["a Failed i=0"], "Success: SuccessPolicy");
    let target =
        json!({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}]});
    check(json!({}), target, &["a Succeeded"], "Failure: DeadlineExceeded");
}

/// Takes the passes that follow one another with the same pods. Returns what each writes and releases.
fn passes(job: &mut Job, pods: &[&str], done: Done) -> Vec<Value> {
    let (mut asked, mut passes) = (Asked::default(), Vec::new());
    loop {
        let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        let view = View::of(job, Wish::of(job).unwrap(), pods, asked.clone(), None, now());
        let mut accounts = Accounts::of(&view, done, now());
        let release = names(&accounts.release);
        if passes.len() > 4 || !accounts.news && release.is_empty() {
            return passes;
        }
        let written = serde_json::to_value(&accounts.status).unwrap();
        let uids: Vec<String> = accounts.release.iter().map(|pod| pod.uid().to_owned()).collect();
        accounts.released(&uids);
        let ending = accounts.conclude(now()).map(|ending| ending.reason);
        asked.released.extend(uids);
        passes.push(json!({
            "written": written, "release": release, "ending": ending,
            "after": serde_json::to_value(&accounts.status).unwrap(),
        }));
        drop(view);
        job.status = Some(accounts.status);
    }
}

const MANAGED: Done = Done { created: 0, deleted: 0, deleted_ready: 0, managed: true };

#[test]
fn each_pod_is_counted_once() {
    let mut job = job(json!({"completions": 5, "parallelism": 5}), json!({}));
    let passes =
        passes(&mut job, &["a Succeeded", "b Failed t=0", "c Running ready", "d Running deleting"], MANAGED);
    assert_eq!(passes.len(), 1, "{passes:#?}");
    let written = &passes[0]["written"];
    assert_eq!(written["uncountedTerminatedPods"], json!({"succeeded": ["a"], "failed": ["b", "d"]}));
    assert_eq!(
        (&written["active"], &written["ready"], &written["terminating"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(written["startTime"], NOW);
    assert_eq!(passes[0]["release"], "a,b,d");
    let after = &passes[0]["after"];
    assert_eq!(after["uncountedTerminatedPods"], json!({}));
    assert_eq!((&after["succeeded"], &after["failed"]), (&json!(1), &json!(2)));
}

#[test]
fn counting_goes_on_where_it_stopped() {
    // Written down, but nothing else: of the pods one has lost its finalizer, and one is gone.
    let status = json!({"succeeded": 1, "failed": 0, "startTime": NOW, "active": 0, "ready": 0, "terminating": 0,
                        "uncountedTerminatedPods": {"succeeded": ["a", "gone"], "failed": ["b"]}});
    let mut job = job(json!({"completions": 5, "parallelism": 0}), status);
    let passes = passes(&mut job, &["a Succeeded counted", "b Failed"], MANAGED);
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.failed), (Some(3), Some(1)), "{passes:#?}");
    assert_eq!(passes.len(), 1);
}

#[test]
fn indexes_are_enough_to_count_successes() {
    let status = json!({"completedIndexes": "0", "succeeded": 1});
    let spec =
        json!({"completionMode": "Indexed", "completions": 4, "parallelism": 0, "backoffLimitPerIndex": 0});
    let mut job = job(spec, status);
    let passes =
        passes(&mut job, &["a Succeeded i=0", "b Succeeded i=2", "c Failed i=1", "d Succeeded i=9"], MANAGED);
    let written = &passes[0]["written"];
    assert_eq!((&written["completedIndexes"], &written["failedIndexes"]), (&json!("0,2"), &json!("1")));
    assert_eq!((&written["succeeded"], &written["failed"]), (&json!(2), &Value::Null));
    assert_eq!(written["uncountedTerminatedPods"], json!({"failed": ["c"]}));
    assert_eq!(job.status.unwrap().failed, Some(1));
    assert_eq!(passes.len(), 1, "{passes:#?}");
}

#[test]
fn jobs_end_when_all_is_counted_and_nothing_runs() {
    let end = |pods: &[&str], done: Done| {
        let mut job = job(json!({"backoffLimit": 0}), json!({}));
        let passes = passes(&mut job, pods, done);
        let types: Vec<String> =
            job.status.unwrap().conditions.unwrap_or_default().into_iter().map(|c| c.type_).collect();
        (passes.last().map(|pass| pass["ending"].clone()).unwrap_or_default(), types.join(","))
    };
    let both = |reason: &str, types: &str| (json!(reason), types.to_owned());
    assert_eq!(end(&["a Succeeded"], MANAGED), both("CompletionsReached", "SuccessCriteriaMet,Complete"));
    assert_eq!(end(&["a Failed t=0"], MANAGED), both("BackoffLimitExceeded", "FailureTarget,Failed"));
    // What was deleted is still to end.
    let deleted = Done { deleted: 1, ..MANAGED };
    assert_eq!(end(&["a Failed t=0", "b Running"], deleted), (Value::Null, "FailureTarget".into()));
    assert_eq!(end(&["a Failed t=0", "b Running deleting"], MANAGED), (Value::Null, "FailureTarget".into()));
    // What could not be deleted, or may not be known of, is waited for.
    assert_eq!(end(&["a Failed t=0", "b Running"], Done::default()).1, "");
    assert_eq!(end(&["a Failed t=0"], Done::default()).1, "");
}

#[test]
fn what_fails_with_its_job_counts_as_failed() {
    let mut job = job(json!({"backoffLimit": 0, "parallelism": 2, "completions": 2}), json!({}));
    let passes = passes(&mut job, &["a Failed t=0", "b Running"], Done { deleted: 1, ..MANAGED });
    assert_eq!(passes[0]["written"]["uncountedTerminatedPods"], json!({"failed": ["a", "b"]}));
    assert_eq!(job.status.unwrap().failed, Some(2));
}

#[test]
fn suspended_jobs_begin_anew() {
    let turned = |suspend: bool, status: Value| {
        let job = job(json!({"suspend": suspend}), status);
        let accounts = Accounts::of(&view(&job, &[]), MANAGED, now());
        let start = accounts.status.start_time.is_some();
        let conditions = accounts.status.conditions.unwrap_or_default();
        (
            accounts.turned,
            start,
            conditions.first().map(|c| format!("{} {}", c.status, c.reason.as_deref().unwrap_or(""))),
        )
    };
    let suspended = json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}]});
    let started = json!({"startTime": "2026-01-01T00:00:00Z"});
    assert_eq!(turned(true, started), (Some(Turn::Suspended), false, Some("True JobSuspended".into())));
    assert_eq!(turned(true, suspended.clone()), (None, false, Some("True JobSuspended".into())));
    assert_eq!(turned(false, suspended), (Some(Turn::Resumed), true, Some("False JobResumed".into())));
    assert_eq!(turned(false, json!({})), (None, true, None));
}

#[test]
fn pods_know_their_index() {
    let job = job(json!({"completionMode": "Indexed", "completions": 20}), json!({}));
    let view = view(&job, &[]);
    let pod = template::pod_of_index(&job, &view, 12);
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("work-12-"));
    assert_eq!((&*pod.labels()[COMPLETION_INDEX], &*pod.annotations()[COMPLETION_INDEX]), ("12", "12"));
    assert_eq!(pod.finalizers(), [TRACKING_FINALIZER]);
    let spec = pod.spec.unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("work-12"));
    for container in [&spec.containers[0], &spec.init_containers.unwrap()[0]] {
        let variable = &container.env.as_ref().unwrap()[0];
        let field = variable.value_from.as_ref().unwrap().field_ref.as_ref().unwrap();
        assert_eq!(variable.name, "JOB_COMPLETION_INDEX");
        assert_eq!(field.field_path, "metadata.labels['batch.kubernetes.io/job-completion-index']");
    }
    let long = Job {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some("n".repeat(63)),
            ..job.metadata.clone()
        },
        ..job.clone()
    };
    let name = template::pod_of_index(&long, &view, 12).metadata.generate_name.unwrap();
    assert_eq!((name.len(), name.ends_with("n-12-")), (58, true));
}
