//! The measurements, each on a cluster of its own.

pub(crate) mod idle;
mod pods;
mod scale;
mod schedule;
mod size;
mod start;
mod store;
pub(crate) mod watches;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;
use skiff_tests::Output;

use crate::report::{self, Result as Row};
use crate::server::ApiServer;

/// Makes a cluster, measures, and takes it down.
type Measurement<'a> = dyn Fn() -> anyhow::Result<Vec<Row>> + 'a;

pub(crate) fn run(only: &[String], services: u32, pods: u32) -> anyhow::Result<()> {
    let all: [(&str, &Measurement<'_>); 11] = [
        ("start", &start::run),
        ("idle", &idle::run),
        ("story", &pods::story),
        ("pods", &pods::thirty),
        ("creates", &scale::creates),
        ("reads", &scale::reads),
        ("watches", &watches::run),
        ("services", &|| scale::services(services)),
        ("size", &|| size::run(pods)),
        ("store", &store::run),
        ("schedule", &schedule::run),
    ];
    report::print(&asked(&all, only, |measure| measure())?);
    Ok(())
}

/// The rows of the measurements that are asked for, of all if none is.
pub(crate) fn asked<M: Copy, R>(
    all: &[(&str, M)],
    only: &[String],
    measure: impl Fn(M) -> anyhow::Result<Vec<R>>,
) -> anyhow::Result<Vec<R>> {
    for name in only {
        if !all.iter().any(|(known, _)| known == name) {
            bail!("there is no measurement {name:?}; see --help");
        }
    }
    let mut rows = Vec::new();
    for (name, one) in all {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            rows.extend(measure(*one).with_context(|| format!("measure {name}"))?);
        }
    }
    Ok(rows)
}

/// Runs this program on a server's host; the JSON value that it prints.
pub(crate) fn inside(server: &dyn ApiServer, arguments: &[&str]) -> anyhow::Result<Value> {
    let text = Output::of(inside_command(server)?.args(arguments)).ok();
    Ok(serde_json::from_str(&text)?)
}

/// This program on a server's host, as a client of that server, that has not been started.
fn inside_command(server: &dyn ApiServer) -> anyhow::Result<Command> {
    let mut command = server.host().command(program()?);
    command.arg("inside").env("KUBECONFIG", server.kubeconfig());
    Ok(command)
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

pub(crate) fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::NAN)
}
