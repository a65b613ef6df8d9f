//! `aggregator_unavailable_apiservice…`, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;
use skiff_kinds::api_service::Availability;

use super::registration::Registrations;

/// How often which APIService became unavailable, by reason.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Metrics {
    /// Counts a change that an APIService told of.
    pub(super) fn told(&self, name: &str, found: &Availability) {
        if found.status != "True" {
            *self.0.lock().entry((name.to_owned(), found.reason)).or_default() += 1;
        }
    }

    /// The text for a scrape. Names of APIServices have no characters that would need escapes.
    pub(super) fn render(&self, registrations: &Registrations) -> String {
        let gauge = "aggregator_unavailable_apiservice";
        let mut out = format!("# HELP {gauge} APIServices that cannot be used.\n# TYPE {gauge} gauge\n");
        for registration in registrations.all() {
            let value = u8::from(!registration.is_available());
            writeln!(out, "{gauge}{{name={:?}}} {value}", registration.name())
                .expect("writing into a String");
        }
        let total = "aggregator_unavailable_apiservice_total";
        let counts = self.0.lock();
        if !counts.is_empty() {
            let text = "How often APIServices became unusable, by reason.";
            writeln!(out, "# HELP {total} {text}\n# TYPE {total} counter").expect("writing into a String");
        }
        for ((name, reason), count) in &*counts {
            writeln!(out, "{total}{{name={name:?},reason={reason:?}}} {count}")
                .expect("writing into a String");
        }
        out
    }
}
