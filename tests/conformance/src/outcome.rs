//! How a test ended, as its process tells.

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The suite decided that the test does not apply.
    Skipped,
    /// With the first line of the failure.
    Failed(String),
    /// Its time was over, with the last step that it announced.
    TimedOut(String),
}

/// What coreutils' `timeout` answers when the time was over, and when the program had to be killed as well.
const TIMED_OUT: [i32; 2] = [124, 137];

impl Outcome {
    /// From the exit code of `timeout`, and what ginkgo printed in its verbose form about one selected test.
    pub(crate) fn read(code: Option<i32>, output: &str) -> Self {
        if code.is_some_and(|code| TIMED_OUT.contains(&code)) {
            let before = output.split("[INTERRUPTED]").next().unwrap_or(output);
            return Self::TimedOut(last_step(before));
        }
        match code {
            Some(0) if output.contains("SUCCESS! -- 1 Passed") => Self::Passed,
            Some(0) if output.contains("SUCCESS! -- 0 Passed") => Self::Skipped,
            _ => Self::Failed(match failure(output) {
                Some(line) => line.to_owned(),
                None => format!("the suite ended without a result {}", last_step(output)),
            }),
        }
    }

    /// The word for tables.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed-out",
        }
    }

    /// One line about why it did not pass.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Passed | Self::Skipped => "",
            Self::Failed(reason) | Self::TimedOut(reason) => reason,
        }
    }
}

/// Where a test was: its steps are announced.
fn last_step(output: &str) -> String {
    match output.lines().filter_map(|line| line.split_once("STEP: ")).next_back() {
        Some((_, step)) => format!("at the step: {}", step.trim()),
        None => "before its first step".to_owned(),
    }
}

/// The first line of the first failure. Ginkgo announces a failure by its place first, which begins with `in [`.
fn failure(output: &str) -> Option<&str> {
    output.lines().map(str::trim).find_map(|line| {
        let text =
            ["[FAILED] ", "[PANICKED] ", "[INTERRUPTED] "].iter().find_map(|mark| line.strip_prefix(mark))?;
        (!text.starts_with("in [")).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURE: &str = "
  STEP: Creating a webhook @ 11/29/26 08:00:00.1
  [FAILED] in [BeforeEach] - k8s.io/kubernetes/test/e2e/apimachinery/webhook.go:90 @ 11/29/26 08:00:01.2
• [FAILED] [1.046 seconds]
[sig-api-machinery] AdmissionWebhook [BeforeEach] should work [Conformance]

  [FAILED] creating the deployment: the server could not find the requested resource
  In [BeforeEach] at: webhook.go:90
Ran 1 of 7456 Specs in 1.1 seconds
FAIL! -- 0 Passed | 1 Failed | 0 Pending | 7455 Skipped
";

    #[test]
    fn an_outcome_is_read_from_what_the_process_leaves() {
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        let timed_out = |text: &str| Outcome::TimedOut(text.to_owned());
        let cases = [
            (Some(0), "SUCCESS! -- 1 Passed | 0 Failed | 0 Pending | 7455 Skipped", Outcome::Passed),
            (Some(0), "SUCCESS! -- 0 Passed | 0 Failed | 0 Pending | 7456 Skipped", Outcome::Skipped),
            (
                Some(1),
                FAILURE,
                failed("creating the deployment: the server could not find the requested resource"),
            ),
            (Some(1), "  [PANICKED] Test Panicked\n", failed("Test Panicked")),
            (
                Some(2),
                "STEP: one @ 1\npanic: Your Test Panicked",
                failed("the suite ended without a result at the step: one @ 1"),
            ),
            (None, "SUCCESS! -- 1 Passed", failed("the suite ended without a result before its first step")),
            (
                Some(124),
                "STEP: first @ 1\nSTEP: second @ 2\n  [INTERRUPTED] Interrupted by User\nSTEP: clean up",
                timed_out("at the step: second @ 2"),
            ),
            (Some(137), "", timed_out("before its first step")),
        ];
        for (code, output, expected) in cases {
            assert_eq!(Outcome::read(code, output), expected, "{code:?} {output}");
        }
    }
}
