//! What the program's commands print, for readers who may stop reading at any time (`| head -1`).
//!
//! Rust ignores SIGPIPE, so a write after the reader has gone fails, and `println!` makes a panic of that. Commands print
//! through this crate instead: the failure is an ordinary error, which ends the command like any other, only that `main`
//! says nothing about it ([`reader_is_gone`]). The crates with commands forbid the standard macros by lint.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

/// Exit code of a command whose reader has gone: what a shell reports for a program that SIGPIPE (13) ended.
pub const READER_GONE: u8 = 128 + 13;

/// Standard output cannot be written, because its reader has gone or for another reason such as a full disk.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
pub struct OutputError(#[from] io::Error);

/// Writes bytes to standard output, and out of the process.
pub fn bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes text to standard output.
pub fn text(text: impl Display) -> Result<(), OutputError> {
    bytes(text.to_string().as_bytes())
}

/// Writes one line to standard output.
pub fn line(text: impl Display) -> Result<(), OutputError> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes one line to standard error. A remark that nobody can read is no reason to end.
pub fn note(text: impl Display) {
    drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}

/// Whether the error, or a cause of it, is that the reader of standard output has gone.
pub fn reader_is_gone(error: &(dyn Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| Error::source(*error));
    let mut outputs = chain.filter_map(|error| error.downcast_ref::<OutputError>());
    outputs.any(|output| output.0.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("list: {0}")]
        Output(#[from] OutputError),
        #[error("send: {0}")]
        Socket(#[from] io::Error),
    }

    #[test]
    fn only_standard_output_counts() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let check = |error: Outer, expected: bool| assert_eq!(reader_is_gone(&error), expected, "{error}");
        check(Outer::Output(OutputError(broken())), true);
        check(Outer::Output(OutputError(io::Error::from(io::ErrorKind::StorageFull))), false);
        check(Outer::Socket(broken()), false);
    }
}
