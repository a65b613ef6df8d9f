//! `aggregator_unavailable_apiservice…`, in Prometheus' text format.

use skiff_exposition::{Counters, Exposed as _, Family, Kind, Text};
use skiff_kinds::api_service::Availability;

use super::registration::Registrations;

/// How often which APIService became unavailable, by reason.
#[derive(Debug)]
pub(super) struct Metrics(Counters<2>);

impl Default for Metrics {
    fn default() -> Self {
        let help = "How often APIServices became unusable, by reason.";
        Self(Family::counters("aggregator_unavailable_apiservice_total", help, ["name", "reason"]))
    }
}

impl Metrics {
    /// Counts a change that an APIService told of.
    pub(super) fn told(&self, name: &str, found: &Availability) {
        if found.status != "True" {
            self.0.of([name, found.reason]).add(1);
        }
    }

    /// The text for a scrape.
    pub(super) fn render(&self, registrations: &Registrations) -> String {
        let mut text = Text::default();
        let gauge = ("aggregator_unavailable_apiservice", Kind::Gauge, "APIServices that cannot be used.");
        let all = registrations.all();
        text.family(gauge, all.map(|one| ([("name", one.name())], u8::from(!one.is_available()))));
        self.0.expose(&mut text);
        text.into_string()
    }
}
