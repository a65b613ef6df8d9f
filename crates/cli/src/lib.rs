//! The kubectl verbs that people use most, thin over the server: tables are printed by the API server, merges are
//! made by it (server-side apply), and streams are the kube client's.
//!
//! This is no copy of kubectl. Whoever needs more of it uses kubectl itself, which works unchanged.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "commands print through skiff_print")]

mod api;
mod args;
mod error;
mod manifest;
mod output;
mod resources;
mod terminal;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use error::{Error, Outcome};

/// Runs `kubectl ARGUMENTS…` and returns its exit code: 0, 1 for an error, or that of a command run by `exec`.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(std::iter::once(OsString::from("kubectl")).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(outcome) => outcome.into(),
        Err(error) if skiff_print::reader_is_gone(&error) => ExitCode::from(skiff_print::READER_GONE),
        Err(error) => {
            skiff_print::note(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<Outcome, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let api = api::Api::connect(&cli.global).await?;
        match cli.verb {
            Verb::Get(args) => verbs::get::run(&api, &args).await,
            Verb::Describe(args) => verbs::describe::run(&api, &args).await,
            Verb::Create(args) => verbs::create::run(&api, &args).await,
            Verb::Apply(args) => verbs::create::apply(&api, &args).await,
            Verb::Delete(args) => verbs::delete::run(&api, &args).await,
            Verb::Exec(args) => verbs::exec::run(&api, &args).await,
            Verb::Attach(args) => verbs::exec::attach(&api, &args).await,
            Verb::Logs(args) => verbs::logs::run(&api, &args).await,
            Verb::Scale(args) => verbs::change::scale(&api, &args).await,
            Verb::Label(args) => verbs::change::label(&api, &args).await,
            Verb::Run(args) => verbs::make::run(&api, &args).await,
            Verb::Expose(args) => verbs::make::expose(&api, &args).await,
        }
    });
    // A read of the terminal may still be waiting for a key; nothing is lost by not waiting with it.
    runtime.shutdown_background();
    outcome
}
