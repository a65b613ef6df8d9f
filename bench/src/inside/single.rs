//! What a create costs who is alone: the round trip, which a read has as well, and the disk.

use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use kube::Config;
use serde_json::json;

use super::connection::Connection;
use super::creates::{CONFIG_MAPS, Created};
use crate::probe::Probe;
use crate::report::percentile;

/// About what is stored of an object that is created.
const BYTES: usize = 1400;

pub(crate) async fn run(rounds: u32) -> anyhow::Result<()> {
    let mut connection = Connection::new(&Config::infer().await?).await?;
    let mut probe = Probe::create("probe")?;
    let (mut created, mut read, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    Created::ConfigMap.create(&mut connection, "single").await?;
    // In turns, because disks are noisy; each create after a sync, so that it finds the disk awake.
    for round in 0..rounds {
        read.push(get(&mut connection, "single").await?);
        synced.push(probe.sync(BYTES)?.as_secs_f64());
        created.push(Created::ConfigMap.create(&mut connection, &format!("single-{round}")).await?);
    }
    let median = |samples: &mut Vec<f64>| percentile(samples, 50) * 1000.0;
    let (created, read, synced) = (median(&mut created), median(&mut read), median(&mut synced));
    super::print(&json!({"create": created, "get": read, "sync": synced}));
    Ok(())
}

/// Seconds.
async fn get(connection: &mut Connection, name: &str) -> anyhow::Result<f64> {
    let path = format!("{CONFIG_MAPS}/{name}");
    let started = Instant::now();
    connection.send(Method::GET, &path, Bytes::new(), StatusCode::OK).await?;
    Ok(started.elapsed().as_secs_f64())
}
