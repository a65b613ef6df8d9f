//! The kubectl verbs that people use most, in kubectl's words and thin over the server: tables are printed by the API
//! server, merges are made by it, and streams are the kube client's.
//!
//! What a command is, is a row in a table (`line::Command`): its name, help and flags, and the function that does it. From that
//! the command line is read, with the errors that kubectl's users know, and help is written. Whoever needs more of kubectl uses
//! kubectl itself, which works unchanged.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "commands print through skiff_print")]

mod api;
mod change;
mod context;
mod error;
mod line;
mod manifest;
mod pods;
mod print;
mod resources;
mod select;
mod selector;
mod terminal;
mod uri;
mod verbs;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use context::{Context, OPTIONS};
use error::{Error, Outcome};
use line::{Flag, Parsed, help, parse};
use verbs::KUBECTL;

/// Runs `kubectl ARGUMENTS…` and returns its exit code: 0, 1 for an error, or that of a command run by `exec`.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    match run(&words) {
        Ok(outcome) => outcome.into(),
        Err(error) if skiff_print::reader_is_gone(&error) => ExitCode::from(skiff_print::READER_GONE),
        Err(error) => {
            skiff_print::note(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<Outcome, Error> {
    let (command, given) = match parse(&KUBECTL, words)? {
        Parsed::Run(command, given) => (command, given),
        Parsed::Help { command, path, asked } => {
            skiff_print::text(help::text(&KUBECTL, command, &path))?;
            return Ok(if asked || std::ptr::eq(command, &raw const KUBECTL) {
                Outcome::Done
            } else {
                Outcome::Failed
            });
        }
    };
    let Some(action) = command.run else { return Ok(Outcome::Done) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A flag of the command's own means something else than the one of that name that goes with every command.
    let is_own = |option: &&Flag| command.all_flags().any(|flag| flag.long == option.long);
    let of_all = OPTIONS.iter().filter(is_own).fold(given.clone(), |given, option| given.without(option));
    let context = Context::new(&of_all);
    let outcome = runtime.block_on(action(&context, &given));
    drop(context);
    // A read of the terminal may still be waiting for a key; nothing is lost by not waiting with it.
    runtime.shutdown_background();
    outcome
}
