//! What a create costs who is alone: the round trip, which a read has as well, and the disk.

use std::time::Instant;

use anyhow::bail;
use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::creates::{CONFIG_MAPS, create};
use crate::probe::Probe;
use crate::report::percentile;

/// About what is stored of an object that is created.
const BYTES: usize = 1400;

pub(crate) async fn run(rounds: u32) -> anyhow::Result<()> {
    let client = super::client().await?;
    let mut probe = Probe::create("probe")?;
    let (mut created, mut read, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    create(&client, "single").await?;
    // In turns, because disks are noisy; each create after a sync, so that it finds the disk awake.
    for round in 0..rounds {
        read.push(get(&client, "single").await?);
        synced.push(probe.sync(BYTES)?.as_secs_f64());
        created.push(create(&client, &format!("single-{round}")).await?);
    }
    let median = |samples: &mut Vec<f64>| percentile(samples, 50) * 1000.0;
    let (created, read, synced) = (median(&mut created), median(&mut read), median(&mut synced));
    super::print(&json!({"create": created, "get": read, "sync": synced}));
    Ok(())
}

/// Seconds.
async fn get(client: &Client, name: &str) -> anyhow::Result<f64> {
    let request = Request::get(format!("{CONFIG_MAPS}/{name}")).body(Body::empty())?;
    let started = Instant::now();
    let response = client.send(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    if !status.is_success() {
        bail!("get {name}: {status}");
    }
    Ok(started.elapsed().as_secs_f64())
}
