//! Reads by many clients: of one object, and of a page of 500, as JSON and as protobuf.

use std::time::{Duration, Instant};

use anyhow::bail;
use http::Request;
use http::header::ACCEPT;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::creates::{CONFIG_MAPS, create};

/// How many are listed; there are some more.
const PAGE: usize = 500;

const FORMATS: [(&str, &str); 2] =
    [("json", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf")];

/// Makes what is read.
pub(crate) async fn prepare() -> anyhow::Result<()> {
    let mut connection = Connection::new(&Config::infer().await?).await?;
    for number in 0..PAGE {
        create(&mut connection, &format!("read-{number:03}")).await?;
    }
    super::print(&json!({}));
    Ok(())
}

/// Answers for each second, of each kind of read.
pub(crate) async fn run(clients: usize, seconds: f64) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(super::client().await?);
    }
    let reads = [("get", format!("{CONFIG_MAPS}/read-000")), ("list", format!("{CONFIG_MAPS}?limit={PAGE}"))];
    let mut rates = Map::new();
    for (what, path) in &reads {
        for (format, accept) in FORMATS {
            let rate = rate(&connections, path, accept, Duration::from_secs_f64(seconds)).await?;
            rates.insert(format!("{what} {format}"), rate.into());
        }
    }
    super::print(&Value::Object(rates));
    Ok(())
}

async fn rate(clients: &[Client], path: &str, accept: &'static str, time: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let end = started + time;
    let mut tasks = JoinSet::new();
    for client in clients {
        let (client, path) = (client.clone(), path.to_owned());
        tasks.spawn(async move {
            let mut answers = 0_u32;
            while Instant::now() < end {
                read(&client, &path, accept).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0;
    while let Some(result) = tasks.join_next().await {
        answers += result??;
    }
    Ok(f64::from(answers) / started.elapsed().as_secs_f64())
}

/// The answer is read and not parsed: the machine's cores are meant for the server.
async fn read(client: &Client, path: &str, accept: &'static str) -> anyhow::Result<()> {
    let response = client.send(Request::get(path).header(ACCEPT, accept).body(Body::empty())?).await?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    if status.is_success() { Ok(()) } else { bail!("{path}: {status}") }
}
