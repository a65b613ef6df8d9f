//! Many watchers of one object, and how soon all have been told of a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::Config;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::connection::Connection;
use super::creates::{CONFIG_MAPS, config_map};
use super::watches;
use crate::report::percentile;

pub(crate) async fn run(watchers: usize, of_connection: usize, rounds: u32) -> anyhow::Result<()> {
    let config = Config::infer().await?;
    let mut writer = Connection::new(&config).await?;
    let name = format!("watched-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let object = config_map(&name);
    let created = write(&mut writer, Method::POST, CONFIG_MAPS, &object, StatusCode::CREATED).await?;
    let revision = created["metadata"]["resourceVersion"].as_str().context("its resourceVersion")?;
    let selected =
        format!("fieldSelector=metadata.name%3D{name}&resourceVersion={revision}&timeoutSeconds=600");
    let path = format!("{CONFIG_MAPS}?watch=1&{selected}");
    let told = Arc::new(Told::new(watchers));
    for watch in watches::open(&path, watchers, of_connection).await? {
        tokio::spawn(follow(watch, told.clone()));
    }
    let path = format!("{CONFIG_MAPS}/{name}");
    let (mut answered, mut served) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut object = object.clone();
        object["data"]["round"] = round.to_string().into();
        let started = Instant::now();
        write(&mut writer, Method::PUT, &path, &object, StatusCode::OK).await?;
        answered.push(started.elapsed().as_secs_f64() * 1000.0);
        told.all.notified().await;
        served.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    super::print(&json!({
        "answered": percentile(&mut answered, 50), "served": percentile(&mut served, 50),
        "p99": percentile(&mut served, 99),
    }));
    Ok(())
}

/// How many watchers have been told of writes; there is a write at a time.
struct Told {
    watchers: usize,
    events: AtomicUsize,
    /// Whenever all have been told of a write.
    all: Notify,
}

impl Told {
    fn new(watchers: usize) -> Self {
        Self { watchers, events: AtomicUsize::new(0), all: Notify::new() }
    }

    fn add(&self) {
        let events = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        if events.is_multiple_of(self.watchers) {
            self.all.notify_one();
        }
    }
}

/// Counts events, which end with lines, until the server ends the watch or the program ends. They are not parsed: the machine's
/// cores are meant for the server.
async fn follow(mut body: Incoming, told: Arc<Told>) {
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.data_ref().map_or(&[][..], |data| data);
        data.iter().filter(|byte| **byte == b'\n').for_each(|_| told.add());
    }
}

async fn write(
    connection: &mut Connection,
    method: Method,
    path: &str,
    object: &Value,
    expected: StatusCode,
) -> anyhow::Result<Value> {
    let answer = connection.send(method, path, serde_json::to_vec(object)?.into(), expected).await?;
    Ok(serde_json::from_slice(&answer)?)
}
