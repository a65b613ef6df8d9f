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

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::empty();
    sleep(SETTLED);
    let before = usage(&cluster)?.pss_mib;
    let mut command = cluster.host().command(program()?);
    command.args(["inside", "watches", &WATCHES.to_string()]).env("KUBECONFIG", cluster.kubeconfig());
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take().context("its output")?).read_line(&mut said)?;
    sleep(SETTLED);
    let open = usage(&cluster)?.pss_mib;
    drop(holder.stdin.take());
    ensure!(holder.wait()?.success() && !said.is_empty(), "the watches did not begin");
    let each = (open - before) * 1024.0 / f64::from(WATCHES);
    Ok(vec![Row::at_most("memory of each idle watch, its TLS connection included (PSS)", each, 20.0, "KiB")])
}
