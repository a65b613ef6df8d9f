//! Counters for `/metrics`, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use skiff_store::Revision;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 9] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0, 10.0];

/// What the server counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Labels, u64>>,
    durations: Mutex<BTreeMap<(String, String), Histogram>>,
    watchers: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: String,
    resource: String,
    code: u16,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// Counts one watch for as long as it lives.
#[derive(Debug)]
pub(crate) struct WatcherGuard(Arc<AtomicI64>);

impl Drop for WatcherGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts one answered request. Long-running ones are timed up to the start of the answer.
    pub(crate) fn request(&self, verb: &str, resource: &str, code: StatusCode, took: Duration) {
        let labels = Labels { verb: verb.to_owned(), resource: resource.to_owned(), code: code.as_u16() };
        *self.requests.lock().entry(labels).or_default() += 1;
        let mut durations = self.durations.lock();
        durations.entry((verb.to_owned(), resource.to_owned())).or_default().observe(took.as_secs_f64());
    }

    /// Counts a watch until the guard is dropped.
    pub(crate) fn watcher(&self, resource: &str) -> WatcherGuard {
        let counter = self.watchers.lock().entry(resource.to_owned()).or_default().clone();
        counter.fetch_add(1, Ordering::Relaxed);
        WatcherGuard(counter)
    }

    /// The text for a scrape.
    pub(crate) fn render(&self, revision: Revision) -> String {
        let mut out = String::new();
        self.render_into(&mut out, revision).expect("writing into a String does not fail");
        out
    }

    fn render_into(&self, out: &mut String, revision: Revision) -> std::fmt::Result {
        header(out, "apiserver_request_total", "counter", "Requests by verb, resource and answer.")?;
        for (Labels { verb, resource, code }, count) in &*self.requests.lock() {
            writeln!(
                out,
                "apiserver_request_total{{verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\"}} {count}"
            )?;
        }
        let name = "apiserver_request_duration_seconds";
        header(out, name, "histogram", "Time from request to the start of the answer.")?;
        for ((verb, resource), histogram) in &*self.durations.lock() {
            histogram.render(out, name, &format!("verb=\"{verb}\",resource=\"{resource}\""))?;
        }
        header(out, "apiserver_longrunning_requests", "gauge", "Watches that are open.")?;
        for (resource, count) in &*self.watchers.lock() {
            let count = count.load(Ordering::Relaxed);
            writeln!(
                out,
                "apiserver_longrunning_requests{{verb=\"WATCH\",resource=\"{resource}\"}} {count}"
            )?;
        }
        header(out, "skiff_store_revision", "gauge", "The newest revision of the store.")?;
        writeln!(out, "skiff_store_revision {revision}")
    }
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        for (bucket, _) in self.buckets.iter_mut().zip(BUCKETS).filter(|(_, bound)| seconds <= *bound) {
            *bucket += 1;
        }
    }

    fn render(&self, out: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        for (count, bound) in self.buckets.iter().zip(BUCKETS) {
            writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count)?;
        writeln!(out, "{name}_sum{{{labels}}} {}", self.sum)?;
        writeln!(out, "{name}_count{{{labels}}} {}", self.count)
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_requests_and_open_watches() {
        let metrics = Metrics::default();
        metrics.request("GET", "pods", StatusCode::OK, Duration::from_millis(2));
        let guard = metrics.watcher("pods");
        let text = metrics.render(Revision::new(7));
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        check("apiserver_request_total{verb=\"GET\",resource=\"pods\",code=\"200\"} 1");
        check("apiserver_request_duration_seconds_bucket{verb=\"GET\",resource=\"pods\",le=\"0.001\"} 0");
        check("apiserver_request_duration_seconds_bucket{verb=\"GET\",resource=\"pods\",le=\"0.0025\"} 1");
        check("apiserver_longrunning_requests{verb=\"WATCH\",resource=\"pods\"} 1");
        check("skiff_store_revision 7");
        drop(guard);
        assert!(metrics.render(Revision::ZERO).contains("resource=\"pods\"} 0"));
    }
}
