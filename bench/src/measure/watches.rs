//! What watches cost while nothing happens.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread::sleep;

use anyhow::{Context, ensure};
use skiff_tests::Cluster;

use super::idle::{SETTLED, usage};
use super::inside_command;
use crate::report::Result as Row;
use crate::server::ApiServer;

const WATCHES: u32 = 1000;

/// How many share a connection: as many informers as a large operator has.
pub(crate) const SHARED: u32 = 50;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let each = |of_connection| {
        let cluster = Cluster::empty();
        sleep(SETTLED);
        memory(&cluster, of_connection)
    };
    let (shared, alone) = (each(SHARED)?, each(1)?);
    Ok(vec![
        Row::at_most("memory of each idle watch, 50 on a connection (PSS)", shared, 20.0, "KiB"),
        Row::told("memory of each with a TLS connection of its own (PSS)", format!("{alone:.2} KiB")),
    ])
}

/// The memory of each watch of a server that has rested, in KiB, so many of which share a connection.
pub(crate) fn memory(server: &dyn ApiServer, of_connection: u32) -> anyhow::Result<f64> {
    let before = usage(server)?.pss_mib;
    let mut command = inside_command(server)?;
    command.args(["watches", &WATCHES.to_string(), &of_connection.to_string()]);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take().context("its output")?).read_line(&mut said)?;
    sleep(SETTLED);
    let open = usage(server)?.pss_mib;
    drop(holder.stdin.take());
    ensure!(holder.wait()?.success() && !said.is_empty(), "the watches did not begin");
    Ok((open - before) * 1024.0 / f64::from(WATCHES))
}
