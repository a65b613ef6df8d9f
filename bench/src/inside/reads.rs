//! Reads by many clients: of one object, and of a page of 500, as JSON and as protobuf.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kube::Config;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::creates::{CONFIG_MAPS, Created};

/// How many are listed; there are some more.
const PAGE: usize = 500;

const FORMATS: [(&str, &str); 2] =
    [("json", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf")];

/// Makes what is read.
pub(crate) async fn prepare() -> anyhow::Result<()> {
    let mut connection = Connection::new(&Config::infer().await?).await?;
    for number in 0..PAGE {
        Created::ConfigMap.create(&mut connection, &format!("read-{number:03}")).await?;
    }
    super::print(&json!({}));
    Ok(())
}

/// Answers for each second, of each kind of read.
pub(crate) async fn run(clients: usize, seconds: f64) -> anyhow::Result<()> {
    let config = Config::infer().await?;
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::new(&config).await?);
    }
    let reads = [("get", format!("{CONFIG_MAPS}/read-000")), ("list", format!("{CONFIG_MAPS}?limit={PAGE}"))];
    let mut rates = Map::new();
    for (what, path) in &reads {
        for (format, accept) in FORMATS {
            let time = Duration::from_secs_f64(seconds);
            let rate = rate(&mut connections, path, accept, time).await?;
            rates.insert(format!("{what} {format}"), rate.into());
        }
    }
    super::print(&Value::Object(rates));
    Ok(())
}

async fn rate(
    connections: &mut Vec<Connection>,
    path: &str,
    accept: &'static str,
    time: Duration,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let end = started + time;
    let mut tasks = JoinSet::new();
    for mut connection in connections.drain(..) {
        let path = path.to_owned();
        tasks.spawn(async move {
            let mut answers = 0_u32;
            while Instant::now() < end {
                read(&mut connection, &path, accept).await?;
                answers += 1;
            }
            anyhow::Ok((connection, answers))
        });
    }
    let mut answers = 0;
    while let Some(result) = tasks.join_next().await {
        let (connection, read) = result??;
        connections.push(connection);
        answers += read;
    }
    Ok(f64::from(answers) / started.elapsed().as_secs_f64())
}

/// The answer is read and not parsed: the machine's cores are meant for the server.
async fn read(connection: &mut Connection, path: &str, accept: &'static str) -> anyhow::Result<()> {
    let request = Request::get(path).header(ACCEPT, accept);
    let mut body = connection.begin(request, Bytes::new(), StatusCode::OK).await?.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    Ok(())
}
