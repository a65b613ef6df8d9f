use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::plan::{Decision, decide, job, reckon, reference, surplus, wait_for_changed};

fn at(time: &str) -> Timestamp {
    format!("2026-07-01T{time}Z").parse().unwrap()
}

/// One that is due at each full hour since midnight.
fn cron(spec: Value, status: Value) -> CronJob {
    let mut cron = json!({
        "metadata": {"name": "tick", "namespace": "default", "uid": "cron-1", "creationTimestamp": "2026-07-01T00:00:00Z"},
        "spec": {"schedule": "0 * * * *", "jobTemplate": {
            "metadata": {"labels": {"app": "tick"}, "annotations": {"note": "a"}}, "spec": {"template": {}}}},
        "status": status,
    });
    for (key, value) in spec.as_object().unwrap() {
        cron["spec"][key] = value.clone();
    }
    serde_json::from_value(cron).unwrap()
}

fn active(name: &str) -> Value {
    json!({"active": [{"kind": "Job", "namespace": "default", "name": name, "uid": name}]})
}

#[test]
fn jobs_start_when_it_is_time() {
    let check = |spec: Value, status: Value, now: &str, expected: &str| {
        let (decision, notes) = decide(&cron(spec, status), &TimeZone::UTC, at(now));
        let decision = match decision {
            Decision::Idle => "idle".to_owned(),
            Decision::Wait(wait) => format!("wait {}", wait.unwrap().as_secs()),
            Decision::Start(time) => format!("start {}", time.strftime("%H:%M")),
        };
        let notes: String =
            notes.iter().map(|note| format!(" | {}: {}", note.reason, note.message)).collect();
        assert_eq!(format!("{decision}{notes}"), expected);
    };
    let plain = || json!({});
    check(plain(), plain(), "00:30:00", "wait 1800");
    check(plain(), plain(), "01:00:00.1", "start 01:00");
    check(plain(), json!({"lastScheduleTime": "2026-07-01T01:00:00Z"}), "01:10:00", "wait 3000");
    check(plain(), json!({"lastScheduleTime": "2026-07-01T01:00:00Z"}), "04:10:00", "start 04:00");
    check(json!({"suspend": true}), plain(), "01:00:00", "idle");
    check(
        json!({"schedule": "x"}),
        plain(),
        "01:00:00",
        r#"idle | UnparseableSchedule: unparseable schedule: "x" : expected exactly 5 fields, found 1: [x]"#,
    );
    check(
        json!({"schedule": "0 0 31 2 *"}),
        plain(),
        "01:00:00",
        "idle | InvalidSchedule: invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second",
    );
    check(
        json!({"timeZone": "Mars"}),
        plain(),
        "01:00:00",
        r#"idle | UnknownTimeZone: invalid timeZone: "Mars": unknown time zone Mars"#,
    );
    check(
        json!({"schedule": "TZ=UTC 0 * * * *"}),
        plain(),
        "00:59:00",
        "wait 60 | UnsupportedSchedule: CRON_TZ or TZ used in schedule \"TZ=UTC 0 * * * *\" is not officially supported, see \
         https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
    );
    check(
        json!({"schedule": "* * * * *"}),
        plain(),
        "05:00:00",
        "start 05:00 | TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or \
         check clock skew",
    );
    // What is too late is none, and the time at its deadline is not.
    check(json!({"startingDeadlineSeconds": 60}), plain(), "01:02:00", "wait 3480");
    check(json!({"startingDeadlineSeconds": 60}), plain(), "01:00:30", "start 01:00");
    // The hour 495529 since 1970 is at minute 29731740.
    let of_one = active(&format!("tick-{}", at("01:00:00").as_second() / 60));
    check(plain(), of_one, "01:00:05", "wait 3595");
    check(plain(), active("other"), "01:00:00", "start 01:00");
    check(json!({"concurrencyPolicy": "Replace"}), active("other"), "01:00:00", "start 01:00");
    check(json!({"concurrencyPolicy": "Forbid"}), plain(), "01:00:00", "start 01:00");
    check(
        json!({"concurrencyPolicy": "Forbid"}),
        active("other"),
        "01:00:00",
        "wait 3600 | JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid",
    );
    let mut deleted = cron(plain(), plain());
    deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
    assert_eq!(decide(&deleted, &TimeZone::UTC, at("01:00:00")).0, Decision::Idle);
}

#[test]
fn what_a_changed_schedule_would_have_started_is_not_made_up_for() {
    let changed = |schedule: &str| {
        wait_for_changed(&cron(json!({"schedule": schedule}), json!({})), &TimeZone::UTC, at("05:30:15"))
    };
    assert_eq!(changed("* * * * *").unwrap(), Some(Duration::from_millis(45_100)));
    let note = changed("often").unwrap_err();
    assert_eq!(
        (note.reason, &*note.message),
        ("UnParseableCronJobSchedule", "unparseable schedule for cronjob: often")
    );
}

fn ended(name: &str, type_: &str, started: &str, completed: Value) -> Arc<Job> {
    let start = if started.is_empty() { Value::Null } else { json!(at(started).to_string()) };
    let condition = json!({"type": type_, "status": "True", "lastTransitionTime": "2026-07-01T00:00:00Z"});
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "7"},
            "status": {"startTime": start, "completionTime": completed, "conditions": [condition]},
        }))
        .unwrap(),
    )
}

#[test]
fn the_status_follows_the_jobs() {
    let mut status: CronJobStatus = serde_json::from_value(json!({
        "active": [{"name": "good", "uid": "good"}, {"name": "bad", "uid": "bad"}, {"name": "gone", "uid": "gone"},
                   {"name": "runs", "uid": "runs"}],
        "lastSuccessfulTime": "2026-07-01T00:00:00Z",
    })).unwrap();
    let jobs = [
        ended("good", "Complete", "00:01:00", json!("2026-07-01T00:02:00Z")),
        ended("bad", "Failed", "00:01:00", Value::Null),
        ended("older", "Complete", "00:01:00", json!("2026-07-01T00:01:00Z")),
        ended("runs", "Suspended", "00:01:00", Value::Null),
        ended("stranger", "Suspended", "00:01:00", Value::Null),
    ];
    let reckoning = reckon(&mut status, &jobs);
    let notes: Vec<_> = reckoning.notes.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        notes,
        ["Saw completed job: good, condition: Complete", "Saw completed job: bad, condition: Failed"]
    );
    assert_eq!(reckoning.unexpected, ["stranger"]);
    assert_eq!(reckoning.missing.iter().filter_map(|one| one.name.as_deref()).collect::<Vec<_>>(), ["gone"]);
    let left: Vec<_> = status.active.iter().flatten().filter_map(|one| one.name.as_deref()).collect();
    assert_eq!(left, ["gone", "runs"]);
    assert_eq!(status.last_successful_time.unwrap().0, at("00:02:00"));
}

#[test]
fn the_oldest_of_those_that_have_ended_go() {
    let jobs: Vec<_> = ["03:00:00", "01:00:00", "", "02:00:00"]
        .iter()
        .zip(["c", "a", "n", "b"])
        .flat_map(|(started, name)| {
            [
                ended(name, "Complete", started, Value::Null),
                ended(&format!("{name}f"), "Failed", started, Value::Null),
            ]
        })
        .chain([ended("runs", "Suspended", "00:00:00", Value::Null)])
        .collect();
    let check = |good: Value, bad: Value, expected: &[&str]| {
        let cron =
            cron(json!({"successfulJobsHistoryLimit": good, "failedJobsHistoryLimit": bad}), json!({}));
        let names: Vec<String> = surplus(&cron, &jobs).iter().map(|job| job.name_any()).collect();
        assert_eq!(names, expected);
    };
    check(json!(3), json!(1), &["a", "af", "bf", "cf"]);
    check(json!(0), Value::Null, &["a", "b", "c", "n"]);
    check(json!(9), json!(9), &[]);
}

#[test]
fn jobs_tell_their_time() {
    let made = |zone: Value| job(&cron(json!({"timeZone": zone}), json!({})), at("03:00:00"));
    let utc = made(Value::Null);
    assert_eq!(utc.name_any(), format!("tick-{}", at("03:00:00").as_second() / 60));
    assert_eq!((&*utc.labels()["app"], &*utc.annotations()["note"]), ("tick", "a"));
    let scheduled = |job: &Job| job.annotations()["batch.kubernetes.io/cronjob-scheduled-timestamp"].clone();
    assert_eq!(scheduled(&utc), "2026-07-01T03:00:00Z");
    assert_eq!(scheduled(&made(json!("Asia/Tokyo"))), "2026-07-01T12:00:00+09:00");
    assert_eq!(utc.owner_references()[0].uid, "cron-1");
    let reference = reference(&ended("j", "Complete", "", Value::Null));
    assert_eq!((reference.kind.as_deref(), reference.resource_version.as_deref()), (Some("Job"), Some("7")));
}
