//! What runs on the cluster's own host: loads and measurements against it.

mod answer;
mod changes;
mod compare;
mod connection;
pub(crate) mod creates;
pub(crate) mod crowd;
mod define;
mod fill;
mod reads;
mod ready;
mod schedule;
mod serve;
mod single;
mod size;
mod watchers;
mod watches;
mod webhook;

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::Client;

use crate::Inside;

pub(crate) fn run(command: Inside) -> anyhow::Result<()> {
    match command {
        Inside::Creates { clients, seconds, what } => block_on(creates::run(clients, seconds, what)),
        Inside::Ready => block_on(ready::run()),
        Inside::Define => block_on(define::run()),
        Inside::Prepare => block_on(reads::prepare()),
        Inside::Reads { clients, seconds } => block_on(reads::run(clients, seconds)),
        Inside::Single { rounds } => block_on(single::run(rounds)),
        Inside::Watches { watches, of_connection } => block_on(watches::run(watches, of_connection)),
        Inside::Watchers { watchers, of_connection, rounds } => {
            block_on(watchers::run(watchers, of_connection, rounds))
        }
        Inside::Webhook { rounds } => block_on(webhook::run(rounds)),
        Inside::Load { pods } => block_on(size::load(pods)),
        Inside::Read => block_on(size::read()),
        Inside::Clear => block_on(size::clear()),
        Inside::Fill { services } => block_on(fill::run(services)),
        Inside::Changes { rounds, target } => {
            block_on(changes::run(rounds, target.parse().context("target address")?))
        }
        Inside::Answer { address } => answer::run(address.parse().context("address")?),
        Inside::Compare { direct, service } => compare::run(direct.parse()?, service.parse()?),
        Inside::Decide { nodes, pods, crowd } => schedule::decide(nodes, pods, crowd),
        Inside::Bind { nodes, pods, crowd } => schedule::bind(nodes, pods, crowd),
        Inside::Serve { ports } => serve::run(&ports),
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok().context("install ring")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

/// Seconds that this process has worked.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}

/// How long something that no event tells may take to become true.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions: nothing is measured meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is yes; failures are no answer.
async fn until<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        match answer {
            Ok(true) => return Ok(()),
            Ok(false) if started.elapsed() > PATIENCE => bail!("{what}: not in {PATIENCE:?}"),
            Err(error) if started.elapsed() > PATIENCE => return Err(error.context(what.to_owned())),
            Ok(false) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn client() -> anyhow::Result<Client> {
    Ok(Client::try_default().await?)
}

fn print(value: &serde_json::Value) {
    println!("{value}");
}
