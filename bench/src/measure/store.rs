//! The store alone: what others' watches, and the disk, cost a write.

use std::time::{Duration, Instant};

use skiff_store::{Embedded, Key, Op, Store, Term, Txn, Watch};

use crate::probe::Probe;
use crate::report::{Result as Row, percentile};

const BLOCKS: u32 = 10;
const ROUNDS: u32 = 30;
const WATCHERS: usize = 5000;
/// The size of a pod.
const BYTES: usize = 4500;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir_in(".")?;
    let store = Embedded::open(dir.path().join("state.redb"), node)?;
    let mut probe = Probe::create(dir.path().join("probe"))?;
    let (mut alone, mut watched, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, because disks are noisy; each write after a sync, so that it finds the disk awake.
    for block in 0..BLOCKS {
        let watches = if block % 2 == 0 { Vec::new() } else { watches(&store).await? };
        let samples = if watches.is_empty() { &mut alone } else { &mut watched };
        for round in 0..ROUNDS {
            synced.push(milliseconds(probe.sync(BYTES)?));
            samples.push(write(&store, round).await?);
        }
    }
    let (alone, watched) = (percentile(&mut alone, 50), percentile(&mut watched, 50));
    let synced = percentile(&mut synced, 50);
    Ok(vec![
        Row::at_most("a write of the store, of one fdatasync", alone / synced, 1.3, "×"),
        Row::at_most(
            "a write with 5,000 watches that it does not concern, of one without",
            watched / alone,
            1.1,
            "×",
        ),
    ])
}

/// Values are a node's name and filler.
fn node(_: &Key, value: &[u8]) -> Vec<Term> {
    let name = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    vec![Term::new(String::from_utf8_lossy(name))]
}

/// A third by name, a third by namespace, a third by node.
async fn watches(store: &Embedded) -> anyhow::Result<Vec<Watch>> {
    let now = store.revision();
    let mut watches = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        let prefix = match number % 3 {
            0 => format!("/registry/core/pods/default/other-{number}"),
            1 => format!("/registry/core/pods/namespace-{number}/"),
            _ => "/registry/core/pods/".to_owned(),
        };
        let terms = [Term::new(format!("other-{number}"))];
        let terms = if number % 3 == 2 { &terms[..] } else { &[] };
        let range = skiff_store::Range { prefix: &prefix, terms };
        watches.push(store.watch(range, now).await?);
    }
    Ok(watches)
}

async fn write(store: &Embedded, round: u32) -> anyhow::Result<f64> {
    let value = format!("n1 {}", "x".repeat(BYTES)).into();
    let ops =
        vec![Op::Put { key: Key::from(format!("/registry/core/pods/default/pod-{}", round % 50)), value }];
    let started = Instant::now();
    store.commit(Txn { expect: Vec::new(), ops }).await?;
    Ok(milliseconds(started.elapsed()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
