//! What the status of a job may say. Clients rely on it, and not only the built-in controller writes it.
//!
//! What was wrong before is left alone: a rule is looked at only when something that it is about changes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, Object, cells};

use super::indexes;
use crate::shared::check;

/// A job with its status.
#[derive(Clone, Copy)]
struct Job<'a>(&'a Object);

impl<'a> Job<'a> {
    fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(&["status", field]).filter(|value| !value.is_null())
    }

    fn count(self, field: &str) -> i64 {
        self.0.int(&["status", field]).unwrap_or(0)
    }

    fn has(self, condition: &str, status: &str) -> bool {
        let conditions = cells::items(self.0, &["status", "conditions"]);
        conditions.iter().any(|one| one["type"] == condition && one["status"] == status)
    }

    fn holds(self, condition: &str) -> bool {
        self.has(condition, "True")
    }

    fn is_finished(self) -> bool {
        self.holds("Complete") || self.holds("Failed")
    }

    fn spec(self, field: &str) -> Option<&'a Value> {
        self.0.get(&["spec", field]).filter(|value| !value.is_null())
    }

    fn is_indexed(self) -> bool {
        self.spec("completionMode").is_some_and(|mode| mode == "Indexed")
    }

    fn time(self, field: &str) -> Option<Timestamp> {
        self.get(field)?.as_str()?.parse().ok()
    }
}

/// A change of a job's status.
struct Change<'a> {
    new: Job<'a>,
    old: Job<'a>,
    errors: FieldErrors,
}

/// Checks a change of the status.
pub(super) fn validate(new: &Object, old: &Object) -> FieldErrors {
    let numbers = ["active", "succeeded", "failed", "ready", "terminating"];
    let errors = check::none_negative(new, "status", &numbers);
    let mut change = Change { new: Job(new), old: Job(old), errors };
    change.check_uncounted();
    change.check_ends();
    change.check_finished();
    change.check_indexes();
    change.check_pods();
    change.check_success();
    change.check_history();
    change.errors
}

impl Change<'_> {
    fn changes(&self, field: &str) -> bool {
        self.new.get(field) != self.old.get(field)
    }

    fn turns(&self, condition: &str) -> bool {
        self.new.holds(condition) != self.old.holds(condition)
    }

    fn finishes(&self) -> bool {
        self.new.is_finished() != self.old.is_finished()
    }

    fn refuse(&mut self, field: &str, detail: &str) {
        let value = self.new.get(field).cloned().unwrap_or_default();
        self.errors.push(FieldError::invalid(format!("status.{field}"), value, detail));
    }

    fn require(&mut self, field: &str, detail: &str) {
        self.errors.push(FieldError::required(format!("status.{field}"), detail));
    }

    fn refuse_conditions(&mut self, detail: &str) {
        self.errors.push(FieldError::invalid("status.conditions", Value::Null, detail).without_value());
    }

    fn check_uncounted(&mut self) {
        let mut seen = BTreeSet::new();
        for list in ["succeeded", "failed"] {
            let uids = cells::items(self.new.0, &["status", "uncountedTerminatedPods", list]);
            for (index, uid) in uids.iter().filter_map(Value::as_str).enumerate() {
                let path = format!("status.uncountedTerminatedPods.{list}[{index}]");
                if uid.is_empty() {
                    self.errors.push(FieldError::invalid(path, uid, "must not be empty"));
                } else if !seen.insert(uid) {
                    self.errors.push(FieldError::duplicate(path, uid));
                }
            }
        }
    }

    /// How it ended, and when.
    fn check_ends(&mut self) {
        let job = self.new;
        let (complete, failed) = (job.holds("Complete"), job.holds("Failed"));
        if complete && failed && (self.turns("Complete") || self.turns("Failed")) {
            self.refuse_conditions("cannot set Complete=True and Failed=true conditions");
        }
        let failing = job.holds("FailureTarget");
        if complete && failing && (self.turns("Complete") || self.turns("FailureTarget")) {
            self.refuse_conditions("cannot set Complete=True and FailureTarget=true conditions");
        }
        let (start, end) = (job.time("startTime"), job.time("completionTime"));
        let ends = self.turns("Complete") || self.changes("completionTime");
        if ends && end.is_some() && !complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            self.refuse("completionTime", detail);
        }
        if ends && end.is_none() && complete {
            self.require("completionTime", "completionTime is required for Complete jobs");
        }
        let times = self.changes("startTime") || self.changes("completionTime");
        if times && start.zip(end).is_some_and(|(start, end)| end < start) {
            self.refuse("completionTime", "must be equal to or after `startTime`");
        }
        if failed && !failing && (self.turns("Failed") || self.changes("failedIndexes")) {
            self.refuse_conditions(
                "cannot set Failed=True condition without the FailureTarget=true condition",
            );
        }
        let met = job.holds("SuccessCriteriaMet");
        if complete && !met && (self.turns("Complete") || self.turns("SuccessCriteriaMet")) {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            self.refuse_conditions(detail);
        }
    }

    /// What a job that has ended has no more.
    fn check_finished(&mut self) {
        let job = self.new;
        let finished = job.is_finished();
        if finished && job.count("active") > 0 && (self.finishes() || self.changes("active")) {
            self.refuse("active", "active>0 is invalid for finished job");
        }
        let is_empty = job.spec("suspend") == Some(&Value::Bool(true))
            && job.spec("completions").and_then(Value::as_i64) == Some(0);
        let begins = self.finishes() || self.changes("startTime");
        if finished && job.get("startTime").is_none() && begins && !is_empty {
            self.require("startTime", "startTime is required for finished job");
        }
        let uncounted = ["failed", "succeeded"]
            .iter()
            .any(|list| !cells::items(job.0, &["status", "uncountedTerminatedPods", list]).is_empty());
        if finished && uncounted && (self.finishes() || self.changes("uncountedTerminatedPods")) {
            self.refuse("uncountedTerminatedPods", "must be empty for finished job");
        }
    }

    fn check_indexes(&mut self) {
        let job = self.new;
        let completions = job.spec("completions").and_then(Value::as_i64);
        let per_index = job.spec("backoffLimitPerIndex").is_some();
        let completed = job.get("completedIndexes").and_then(Value::as_str).unwrap_or("");
        let failed = job.get("failedIndexes").and_then(Value::as_str);
        let (changes_completed, changes_failed) =
            (self.changes("completedIndexes"), self.changes("failedIndexes"));
        if let Some(Err(why)) =
            completions.filter(|_| changes_completed).map(|most| indexes::count(completed, most))
        {
            self.refuse_text(
                "completedIndexes",
                completed,
                &format!("error parsing completedIndexes: {why}"),
            );
        }
        let bounded = completions.zip(failed).filter(|_| changes_failed && per_index);
        if let Some((Err(why), failed)) = bounded.map(|(most, failed)| (indexes::count(failed, most), failed))
        {
            self.refuse_text("failedIndexes", failed, &format!("error parsing failedIndexes: {why}"));
        }
        if changes_completed && !completed.is_empty() && !job.is_indexed() {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            self.refuse_text("completedIndexes", completed, detail);
        }
        if let Some(failed) = failed.filter(|_| changes_failed && !per_index) {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            self.refuse_text("failedIndexes", failed, detail);
        }
        let both = completions.zip(failed).filter(|_| changes_failed || changes_completed);
        if let Some((most, failed)) = both
            && let Some(index) = indexes::shared(completed, failed, most)
        {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
            self.refuse_text("failedIndexes", failed, &detail);
        }
    }

    fn refuse_text(&mut self, field: &str, text: &str, detail: &str) {
        self.errors.push(FieldError::invalid(format!("status.{field}"), text, detail));
    }

    fn check_pods(&mut self) {
        let job = self.new;
        let ending = job.count("terminating") > 0 && job.is_finished();
        if ending && (self.finishes() || self.changes("terminating")) {
            self.refuse("terminating", "terminating>0 is invalid for finished job");
        }
        let ready = job.count("ready") > job.count("active");
        if ready && (self.changes("ready") || self.changes("active")) {
            self.refuse("ready", "cannot set more ready pods than active");
        }
    }

    fn check_success(&mut self) {
        let job = self.new;
        let met = job.holds("SuccessCriteriaMet");
        if met && job.holds("Failed") {
            self.refuse_conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions");
        }
        if met && job.holds("FailureTarget") {
            self.refuse_conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        }
        if job.spec("successPolicy").is_some() && !met && job.holds("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            self.refuse_conditions(detail);
        }
    }

    /// What happened stays.
    fn check_history(&mut self) {
        let (new, old) = (self.new, self.old);
        for end in ["Failed", "Complete", "FailureTarget"] {
            if old.holds(end) && !new.holds(end) {
                self.refuse_conditions(&format!("cannot disable the terminal {end}=True condition"));
            }
        }
        let mut shrinks = |field: &str| {
            if new.count(field) < old.count(field) {
                let detail = format!("cannot decrease the {field} counter");
                self.errors.push(FieldError::invalid(format!("status.{field}"), new.count(field), detail));
            }
        };
        shrinks("failed");
        // One that is scaled may have fewer.
        if !new.is_indexed() || new.spec("completions") != new.spec("parallelism") {
            shrinks("succeeded");
        }
        let both = new.get("completionTime").is_some() && old.get("completionTime").is_some();
        if both && self.changes("completionTime") {
            self.refuse("completionTime", "field is immutable");
        }
        let resumes = old.holds("Suspended") && new.has("Suspended", "False");
        let suspends = new.spec("suspend") == Some(&Value::Bool(true));
        if old.get("startTime").is_some() && self.changes("startTime") && !resumes && !suspends {
            self.refuse("startTime", "field is immutable for unsuspended job once set");
        }
        let met = "SuccessCriteriaMet";
        if old.holds(met) && !new.holds(met) {
            self.refuse_conditions("cannot disable the SuccessCriteriaMet=True condition");
        }
        if old.holds("Complete") && !old.holds(met) && new.holds(met) {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            self.refuse_conditions(detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};
    use serde_json::json;

    #[test]
    fn what_a_status_may_say() {
        let check = |spec: Value, old: Value, new: Value, expected: &[&str]| {
            let [old, new] = [old, new].map(|status| object(json!({"spec": spec, "status": status})));
            assert_eq!(texts(validate(&new, &old)), expected);
        };
        let holds = |kinds: &[&str]| -> Value {
            kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
        };
        let done = json!({
            "conditions": holds(&["SuccessCriteriaMet", "Complete"]), "succeeded": 1,
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z",
        });
        check(json!({}), json!({}), done.clone(), &[]);
        check(
            json!({}),
            json!({}),
            json!({"conditions": holds(&["Complete"])}),
            &[
                "status.completionTime: Required value: completionTime is required for Complete jobs",
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
                "status.startTime: Required value: startTime is required for finished job",
            ],
        );
        check(
            json!({}),
            done,
            json!({"startTime": "2026-01-01T00:00:00Z"}),
            &[
                "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
                "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ],
        );
        check(
            json!({}),
            json!({}),
            json!({"ready": 2, "active": 1, "completedIndexes": "0"}),
            &[
                r#"status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode"#,
                "status.ready: Invalid value: 2: cannot set more ready pods than active",
            ],
        );
        let indexed = json!({"completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1});
        check(
            indexed,
            json!({}),
            json!({"completedIndexes": "0-2", "failedIndexes": "2,9"}),
            &[
                r#"status.failedIndexes: Invalid value: "2,9": error parsing failedIndexes: too large index: "9""#,
                r#"status.failedIndexes: Invalid value: "2,9": failedIndexes and completedIndexes overlap at index: 2"#,
            ],
        );
    }
}
