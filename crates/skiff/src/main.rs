//! skiff: a complete Kubernetes cluster in one binary.
//!
//! This crate is the command line and [`cluster`], the one function that assembles a cluster from its parts.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "commands print through skiff_print")]

mod access;
mod addons;
mod agent;
mod args;
mod authorities;
mod certificates;
mod cluster;
mod connections;
mod daemon;
mod demo;
mod dns;
mod dns_pod;
mod down;
mod encryption;
mod firewall;
mod health;
mod image;
mod keeper;
mod layout;
mod lock;
mod log;
mod metrics;
mod mounts;
mod parts;
mod preflight;
mod progress;
mod ready;
mod rotate;
mod scheduling;
mod server;
mod service;
mod settings;
mod status;
mod timeline;
mod up;

use std::process::ExitCode;

use skiff_errors::error_text;

use args::{Cli, Command};

/// The first argument of a pod's supervisor process.
const SUPERVISOR: &str = "pod-supervisor";
/// The first argument of a process that unpacks an image's layer.
const UNPACKER: &str = "unpack-layer";

fn main() -> ExitCode {
    // Before anything else: these must stay small and single-threaded.
    let first = std::env::args_os().nth(1);
    if first.as_ref().is_some_and(|first| first == SUPERVISOR) {
        return skiff_runtime::supervisor_main(std::env::args_os().skip(2));
    }
    if first.is_some_and(|first| first == UNPACKER) {
        return skiff_runtime::unpacker_main(std::env::args_os().skip(2));
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == keeper::SUBCOMMAND) {
        return keeper::main(std::env::args_os().skip(2));
    }
    if called_kubectl() {
        return skiff_cli::main(std::env::args_os().skip(1));
    }
    match dispatch(Cli::read().command) {
        Ok(code) => code,
        Err(error) if skiff_print::reader_is_gone(error.as_ref()) => ExitCode::from(skiff_print::READER_GONE),
        Err(error) => {
            skiff_print::note(format_args!("skiff: {}", error_text(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// Whether the program was started through a link named `kubectl`.
fn called_kubectl() -> bool {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    name.as_deref().and_then(|path| path.file_name()).is_some_and(|name| name == "kubectl")
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(&args)?,
        Command::Down(args) => down::run(&args)?,
        Command::Status(args) => return status::run(&args),
        Command::Server(args) => server::run(&args)?,
        Command::Agent(args) => server::run_agent(&args)?,
        Command::Demo(args) => demo::run(&args)?,
        Command::Image(args) => image::run(&args)?,
        Command::Rotate(args) => rotate::run(&args)?,
        Command::Kubectl { arguments } => {
            return Ok(skiff_cli::main(arguments.into_iter().map(Into::into)));
        }
        Command::Dns(args) => dns::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
