//! How long admission takes and what it refuses, under Kubernetes' names.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use skiff_exposition::{Counters, Exposed, Family, Histogram, Histograms};

use crate::attributes::{Attributes, Operation};
use crate::refusal::Refusal;
use crate::webhook::Type;

/// In seconds.
const PLUGINS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOKS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

static STEPS: Histograms<3> = Family::histograms(
    "apiserver_admission_step_admission_duration_seconds",
    "Time for all plugins of a step.",
    ["type", "operation", "rejected"],
    PLUGINS,
);
static CONTROLLERS: Histograms<4> = Family::histograms(
    "apiserver_admission_controller_admission_duration_seconds",
    "Time for one plugin.",
    ["name", "type", "operation", "rejected"],
    PLUGINS,
);
static ASKED: Histograms<4> = Family::histograms(
    "apiserver_admission_webhook_admission_duration_seconds",
    "Time for one webhook.",
    ["name", "type", "operation", "rejected"],
    WEBHOOKS,
);
static ANSWERS: Counters<5> = Family::counters(
    "apiserver_admission_webhook_request_total",
    "Calls of webhooks.",
    ["name", "type", "operation", "code", "rejected"],
);
static REJECTIONS: Counters<5> = Family::counters(
    "apiserver_admission_webhook_rejection_count",
    "Requests that were refused because of a webhook.",
    ["name", "type", "operation", "error_type", "rejection_code"],
);
static FAILED_OPEN: Counters<2> = Family::counters(
    "apiserver_admission_webhook_fail_open_count",
    "Calls of webhooks that failed and stopped nothing.",
    ["name", "type"],
);

/// The families of admission.
pub static METRICS: &[&dyn Exposed] = &[&STEPS, &CONTROLLERS, &ASKED, &ANSWERS, &REJECTIONS, &FAILED_OPEN];

/// What plugins do in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// They may change the object.
    Admit,
    /// They only refuse it.
    Validate,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }
}

fn word(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

/// Counts a step, which began at `since`.
pub fn step(step: Step, operation: Operation, rejected: bool, since: Instant) {
    let labels = [step.as_str(), operation.as_str(), word(rejected)];
    STEPS.of(labels).observe(since.elapsed().as_secs_f64());
}

/// Counts what one plugin did.
pub(crate) fn controller(name: &str, of: Step, operation: Operation, rejected: bool, since: Instant) {
    let labels = [name, of.as_str(), operation.as_str(), word(rejected)];
    CONTROLLERS.of(labels).observe(since.elapsed().as_secs_f64());
}

/// So many plugins of its own may a server have, each with a number below this.
const OWN: usize = 32;

/// The measures of a server's own plugins that let a request pass, by number, step and operation: they run for every write, and to
/// find a measure anew costs more than many of them do.
static PASSED: [[[OnceLock<Arc<Histogram>>; 4]; 2]; OWN] =
    [const { [const { [const { OnceLock::new() }; 4] }; 2] }; OWN];

/// Counts what plugins do that run one after the other: each took the time since the one before.
#[derive(Debug)]
pub struct Laps {
    step: Step,
    operation: Operation,
    since: Instant,
}

impl Laps {
    /// The first one begins now.
    pub fn begin(step: Step, operation: Operation) -> Self {
        Self { step, operation, since: Instant::now() }
    }

    /// The plugin of this number and name has ended.
    pub fn lap(&mut self, number: usize, name: &'static str, rejected: bool) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.since, now)).as_secs_f64();
        let labels = [name, self.step.as_str(), self.operation.as_str(), word(rejected)];
        let kept = PASSED.get(number).filter(|_| !rejected);
        match kept.map(|of| &of[self.step as usize][self.operation as usize]) {
            Some(kept) => kept.get_or_init(|| CONTROLLERS.of(labels)).observe(took),
            None => CONTROLLERS.of(labels).observe(took),
        }
    }
}

/// What came of a call of a webhook.
#[derive(Debug)]
pub(crate) enum Called<'a> {
    Allowed,
    Refused(&'a Refusal),
    Failed,
}

impl Type {
    fn label(self) -> &'static str {
        match self {
            Self::Mutating => "admit",
            Self::Validating => "validating",
        }
    }
}

/// Counts a call of a webhook, and whether that stopped the request.
pub(crate) fn webhook(name: &str, of: Type, attributes: &Attributes, called: &Called<'_>, since: Instant) {
    let operation = attributes.operation.as_str();
    let (rejected, code, error) = match called {
        Called::Allowed => (false, 200, ""),
        Called::Refused(refusal) => (true, refusal.code, "no_error"),
        Called::Failed => (false, 0, ""),
    };
    let (kind, code, rejected) = (of.label(), code.to_string(), word(rejected));
    ASKED.of([name, kind, operation, rejected]).observe(since.elapsed().as_secs_f64());
    ANSWERS.of([name, kind, operation, &code, rejected]).add(1);
    if !error.is_empty() {
        REJECTIONS.of([name, kind, operation, error, &code]).add(1);
    }
}

/// A call failed, and by the webhook's policy that stops nothing, or the request.
pub(crate) fn webhook_failed(name: &str, of: Type, attributes: &Attributes, stops: bool) {
    if stops {
        let operation = attributes.operation.as_str();
        REJECTIONS.of([name, of.label(), operation, "calling_webhook_error", "0"]).add(1);
    } else {
        FAILED_OPEN.of([name, of.label()]).add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[test]
    fn webhooks_are_counted_under_kubernetes_names() {
        let (now, attributes) = (Instant::now(), request());
        webhook("a", Type::Mutating, &attributes, &Called::Allowed, now);
        let refusal = Refusal { code: 403, ..Refusal::bad_request("no") };
        webhook("a", Type::Validating, &attributes, &Called::Refused(&refusal), now);
        webhook_failed("b", Type::Validating, &attributes, true);
        webhook_failed("b", Type::Validating, &attributes, false);
        step(Step::Validate, attributes.operation, true, now);
        let text = skiff_exposition::text(METRICS);
        let operation = attributes.operation.as_str();
        let check = |line: &str| {
            let line = line.replace("OP", operation);
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        };
        check(
            r#"apiserver_admission_webhook_request_total{name="a",type="admit",operation="OP",code="200",rejected="false"} 1"#,
        );
        check(
            r#"apiserver_admission_webhook_rejection_count{name="a",type="validating",operation="OP",error_type="no_error",rejection_code="403"} 1"#,
        );
        check(
            r#"apiserver_admission_webhook_rejection_count{name="b",type="validating",operation="OP",error_type="calling_webhook_error",rejection_code="0"} 1"#,
        );
        check(r#"apiserver_admission_webhook_fail_open_count{name="b",type="validating"} 1"#);
        check(
            r#"apiserver_admission_step_admission_duration_seconds_count{type="validate",operation="OP",rejected="true"} 1"#,
        );
    }

    #[test]
    fn plugins_of_the_server_are_counted_one_by_one() {
        let mut laps = Laps::begin(Step::Admit, Operation::Create);
        laps.lap(0, "First", false);
        laps.lap(1, "Second", true);
        let mut laps = Laps::begin(Step::Admit, Operation::Create);
        laps.lap(0, "First", false);
        laps.lap(OWN, "Far", false);
        let text = skiff_exposition::text(METRICS);
        let check = |name: &str, rejected: bool, count: u32| {
            let line = format!(
                r#"apiserver_admission_controller_admission_duration_seconds_count{{name="{name}",type="admit",operation="CREATE",rejected="{rejected}"}} {count}"#
            );
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        };
        check("First", false, 2);
        check("Second", true, 1);
        check("Far", false, 1);
    }
}
