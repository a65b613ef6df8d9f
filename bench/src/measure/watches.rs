//! What watches cost while nothing happens.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread::sleep;

use anyhow::{Context, ensure};
use skiff_tests::Cluster;

use super::idle::{SETTLED, usage};
use super::program;
use crate::report::Result as Row;

const WATCHES: u32 = 1000;

/// How many share a connection: as many informers as a large operator has.
const SHARED: u32 = 50;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let (shared, alone) = (each(SHARED)?, each(1)?);
    Ok(vec![
        Row::at_most("memory of each idle watch, 50 on a connection (PSS)", shared, 20.0, "KiB"),
        Row::told("memory of each with a TLS connection of its own (PSS)", format!("{alone:.2} KiB")),
    ])
}

/// The memory of each watch, in KiB, so many of which share a connection.
fn each(of_connection: u32) -> anyhow::Result<f64> {
    let cluster = Cluster::empty();
    sleep(SETTLED);
    let before = usage(&cluster)?.pss_mib;
    let mut command = cluster.host().command(program()?);
    command.args(["inside", "watches", &WATCHES.to_string(), &of_connection.to_string()]);
    command.env("KUBECONFIG", cluster.kubeconfig()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take().context("its output")?).read_line(&mut said)?;
    sleep(SETTLED);
    let open = usage(&cluster)?.pss_mib;
    drop(holder.stdin.take());
    ensure!(holder.wait()?.success() && !said.is_empty(), "the watches did not begin");
    Ok((open - before) * 1024.0 / f64::from(WATCHES))
}
