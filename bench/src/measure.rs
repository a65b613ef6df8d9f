//! The measurements, each on a cluster of its own.

mod idle;
mod pods;
mod scale;
mod schedule;
mod size;
mod start;
mod store;
mod watches;

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;
use skiff_tests::{Cluster, Output};

use crate::report::{self, Result as Row};

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
    for name in only {
        if !all.iter().any(|(known, _)| known == name) {
            bail!("there is no measurement {name:?}; see --help");
        }
    }
    let mut rows = Vec::new();
    for (name, measure) in all {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            rows.extend(measure().with_context(|| format!("measure {name}"))?);
        }
    }
    report::print(&rows);
    Ok(())
}

/// Runs this program on a cluster's host; the JSON value that it prints.
fn inside(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = cluster.host().command(program()?);
    command.arg("inside").args(arguments).env("KUBECONFIG", cluster.kubeconfig());
    let text = Output::of(&mut command).ok();
    Ok(serde_json::from_str(&text)?)
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::NAN)
}
