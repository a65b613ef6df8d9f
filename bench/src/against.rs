//! The API server against kube-apiserver with etcd: `./dev bench against`.
//!
//! Both run on one host without a way out, each measurement with both started anew. The same client puts the same load on one
//! and then on the other, several times, and medians are compared; the one that has no load does what it does when idle.

mod upstream;

use std::path::Path;
use std::thread::sleep;

use anyhow::Context;
use skiff_tests::Cluster;

use crate::measure::idle::SETTLED;
use crate::measure::{asked, inside, number, watches};
use crate::report::{self, Compared, percentile};
use crate::server::ApiServer;
use upstream::Upstream;

/// How often both take turns.
const TURNS: usize = 3;

/// Numbers of clients.
const CLIENTS: [u32; 3] = [1, 16, 64];

/// skiff, and kube-apiserver.
type Both<'a> = [&'a dyn ApiServer; 2];

type Measure = fn(Both<'_>) -> anyhow::Result<Vec<Compared>>;

pub(crate) fn run(kubernetes: &Path, only: &[String]) -> anyhow::Result<()> {
    let kubernetes = kubernetes.canonicalize().with_context(|| kubernetes.display().to_string())?;
    let all: [(&str, Measure); 7] = [
        ("watches", |both| idle_watches("an idle watch, 50 on a connection", both, watches::SHARED)),
        ("watches", |both| idle_watches("an idle watch with a TLS connection of its own", both, 1)),
        ("creates", creates),
        ("reads", reads),
        ("watchers", watchers),
        ("custom", custom),
        ("webhook", webhook),
    ];
    let rows = asked(&all, only, |measure| {
        let skiff = Cluster::empty();
        let upstream = Upstream::start(skiff.host(), &kubernetes)?;
        sleep(SETTLED);
        measure([&skiff, &upstream])
    })?;
    report::print_compared(&rows);
    Ok(())
}

/// Measures both in turns, the other one first each time. The medians of each number.
fn alternate<const N: usize>(
    both: Both<'_>,
    mut measure: impl FnMut(&dyn ApiServer) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<[[f64; 2]; N]> {
    let mut samples = [const { [const { Vec::new() }; 2] }; N];
    for turn in 0..TURNS {
        for place in [turn % 2, 1 - turn % 2] {
            for (samples, measured) in samples.iter_mut().zip(measure(both[place])?) {
                samples[place].push(measured);
            }
        }
    }
    Ok(samples.map(|both| both.map(|mut samples| percentile(&mut samples, 50))))
}

fn idle_watches(what: &str, both: Both<'_>, of_connection: u32) -> anyhow::Result<Vec<Compared>> {
    let [skiff, upstream] = both.map(|server| watches::memory(server, of_connection));
    let row = Compared::less(format!("memory of {what} (PSS)"), [skiff?, upstream?], "KiB", None);
    // A connection of TLS has its buffers, whatever goes through it.
    Ok(vec![if of_connection == 1 { row } else { row.skiff_at_most(20.0) }])
}

fn creates(both: Both<'_>) -> anyhow::Result<Vec<Compared>> {
    let mut rows = Vec::new();
    for (clients, wanted) in CLIENTS.into_iter().zip([3.0, 10.0, 8.0]) {
        rows.push(rate_of_creates(both, "config-map", "durable creates of 1 KB objects", clients, wanted)?);
    }
    Ok(rows)
}

fn rate_of_creates(
    both: Both<'_>,
    what: &str,
    told: &str,
    clients: u32,
    wanted: f64,
) -> anyhow::Result<Compared> {
    let [rates] = alternate(both, |server| {
        let answer = inside(server, &["creates", &clients.to_string(), "3", what])?;
        Ok([number(&answer, "perSecond")])
    })?;
    Ok(Compared::more(format!("{told}, {}", of_clients(clients)), rates, "/s", Some(wanted)))
}

fn of_clients(clients: u32) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

fn reads(both: Both<'_>) -> anyhow::Result<Vec<Compared>> {
    const KINDS: [(&str, &str, f64); 4] = [
        ("get json", "GETs of a 1 KB object, JSON", 10.0),
        ("get protobuf", "GETs of a 1 KB object, protobuf", 10.0),
        ("list json", "LISTs of 500 such objects, JSON", 20.0),
        ("list protobuf", "LISTs of 500 such objects, protobuf", 10.0),
    ];
    for server in both {
        inside(server, &["prepare"])?;
    }
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let rates = alternate(both, |server| {
            let answer = inside(server, &["reads", &clients.to_string(), "1"])?;
            Ok(KINDS.map(|(name, ..)| number(&answer, name)))
        })?;
        rows.extend(KINDS.into_iter().zip(rates).map(|((_, told, wanted), rates)| {
            Compared::more(format!("{told}, {}", of_clients(clients)), rates, "/s", Some(wanted))
        }));
    }
    Ok(rows)
}

fn watchers(both: Both<'_>) -> anyhow::Result<Vec<Compared>> {
    const CROWDS: [(&str, &str, &str, f64); 3] = [
        ("100 watchers", "100", "1", 1.0 / 3.0),
        ("1,000 watchers", "1000", "1", 1.0 / 4.0),
        ("1,000 watchers, 50 on a connection", "1000", "50", 1.0 / 4.0),
    ];
    let mut rows = Vec::new();
    for (crowd, watchers, of_connection, wanted) in CROWDS {
        let [answered, served, slow] = alternate(both, |server| {
            let answer = inside(server, &["watchers", watchers, of_connection, "100"])?;
            Ok(["answered", "served", "p99"].map(|name| number(&answer, name)))
        })?;
        let row = |what: &str, times, wanted| {
            Compared::less(format!("a write with {crowd}, until {what}"), times, "ms", wanted)
        };
        rows.extend([
            row("it is answered", answered, None),
            row("all are told", served, Some(wanted)),
            row("all are told, the slowest of a hundred", slow, None),
        ]);
    }
    Ok(rows)
}

fn custom(both: Both<'_>) -> anyhow::Result<Vec<Compared>> {
    const TOLD: &str = "durable creates of a custom resource (300 lines of schema, three rules)";
    for server in both {
        inside(server, &["define"])?;
    }
    CLIENTS.into_iter().map(|clients| rate_of_creates(both, "widget", TOLD, clients, 5.0)).collect()
}

fn webhook(both: Both<'_>) -> anyhow::Result<Vec<Compared>> {
    let [plain, hooked, trip, added] = alternate(both, |server| {
        let answer = inside(server, &["webhook", "200"])?;
        let [plain, hooked, trip] = ["plain", "hooked", "trip"].map(|name| number(&answer, name));
        Ok([plain, hooked, trip, (hooked - plain) / trip])
    })?;
    let row = |what: &str, measured, unit| Compared::less(what.to_owned(), measured, unit, None);
    Ok(vec![
        row("a create that no webhook is called for", plain, "ms"),
        row("a create that a mutating webhook is called for", hooked, "ms"),
        row("the round trip of that webhook alone", trip, "ms"),
        row("what the webhook adds to a create, of its round trip", added, "×").skiff_at_most(1.0),
    ])
}
