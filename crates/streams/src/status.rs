//! The final word of a command session, in the wording clients parse. Pure.

use serde_json::json;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process exited with this code (128 + signal number if it was killed). 0 is success.
    Exited(i32),
    /// The command could not be run or observed; the text is for the user, for example
    /// `error executing command in container: …`.
    Failed(String),
}

/// A `Status` object, from which clients take the exit code. Protocol versions 4 and later.
pub(crate) fn json(outcome: &Outcome) -> String {
    let status = match outcome {
        Outcome::Exited(0) => json!({ "metadata": {}, "status": "Success" }),
        Outcome::Exited(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": exit_message(*code),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Outcome::Failed(text) => json!({
            "metadata": {},
            "status": "Failure",
            "message": failure_message(text),
            "reason": "InternalError",
            "details": { "causes": [{ "message": text }] },
            "code": 500,
        }),
    };
    status.to_string()
}

/// Plain text, only for failures. Protocol versions before 4.
pub(crate) fn text(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Exited(0) => None,
        Outcome::Exited(code) => Some(exit_message(*code)),
        Outcome::Failed(text) => Some(failure_message(text)),
    }
}

fn exit_message(code: i32) -> String {
    format!("command terminated with non-zero exit code: exit status {code}")
}

fn failure_message(text: &str) -> String {
    format!("Internal error occurred: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_the_exit_code_in_the_causes() {
        assert_eq!(json(&Outcome::Exited(0)), r#"{"metadata":{},"status":"Success"}"#);
        let failure: serde_json::Value = serde_json::from_str(&json(&Outcome::Exited(7))).unwrap();
        assert_eq!(failure["reason"], "NonZeroExitCode");
        assert_eq!(failure["details"]["causes"], json!([{ "reason": "ExitCode", "message": "7" }]));
        let failure: serde_json::Value = serde_json::from_str(&json(&Outcome::Failed("no".into()))).unwrap();
        assert_eq!(failure["reason"], "InternalError");
        assert_eq!(failure["message"], "Internal error occurred: no");
    }

    #[test]
    fn old_protocols_say_nothing_on_success() {
        assert_eq!(text(&Outcome::Exited(0)), None);
        assert!(text(&Outcome::Exited(1)).is_some());
    }
}
