//! The supervisor: one small process per pod.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a supervisor. To be called before any thread exists, with the arguments after `pod-supervisor`.
pub fn supervisor_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    drop(arguments);
    ExitCode::FAILURE
}
