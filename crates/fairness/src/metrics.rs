//! Metrics under Kubernetes' names, in Prometheus' text format: a series for each level, or for each FlowSchema that there is.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::fairness::{Fairness, Plan};
use crate::level::State;
use crate::meter::{BUCKETS, Histogram, Meter, Reason};

/// The text that grows.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing into a String does not fail");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP apiserver_flowcontrol_{name} {help}"));
        self.line(format_args!("# TYPE apiserver_flowcontrol_{name} {kind}"));
    }

    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        self.line(format_args!("apiserver_flowcontrol_{name}{{{labels}}} {value}"));
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let counts = histogram.cumulated();
        for (bound, count) in BUCKETS.iter().zip(&counts) {
            let seconds = f64::from(*bound) / 1000.0;
            self.value(&format!("{name}_bucket"), &format!("{labels},le=\"{seconds}\""), count);
        }
        let all = counts.last().copied().unwrap_or_default();
        self.value(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), all);
        self.value(&format!("{name}_sum"), labels, histogram.seconds());
        self.value(&format!("{name}_count"), labels, all);
    }
}

type OfLevel = (&'static str, &'static str, fn(&State) -> f64);
type OfMeter = (&'static str, &'static str, &'static str, fn(&Meter) -> i64);

const LEVELS: &[OfLevel] = &[
    ("nominal_limit_seats", "Seats of each level by its configuration.", |state| state.bounds.nominal.into()),
    ("lower_limit_seats", "Seats that nobody borrows of each level.", |state| state.bounds.least.into()),
    ("upper_limit_seats", "Seats of each level with all that it may borrow.", |state| {
        state.bounds.most.into()
    }),
    ("current_limit_seats", "Seats of each level at the moment.", |state| state.queues.seats.into()),
    (
        "demand_seats_high_watermark",
        "The most seats that a level could have used in the last period.",
        |state| state.trend.observed.most,
    ),
    ("demand_seats_average", "The seats that a level could have used in the last period.", |state| {
        state.trend.observed.average
    }),
    ("demand_seats_stdev", "How much these differed in the last period.", |state| {
        state.trend.observed.deviation
    }),
    ("demand_seats_smoothed", "The seats that a level could use, smoothed.", |state| state.trend.smoothed),
];

#[allow(clippy::cast_possible_wrap, reason = "requests are counted one by one")]
const METERS: &[OfMeter] = &[
    ("dispatched_requests_total", "counter", "Requests that were served.", |meter| {
        meter.dispatched.load(Relaxed) as i64
    }),
    ("current_inqueue_requests", "gauge", "Requests that wait.", |meter| meter.waiting.load(Relaxed)),
    ("current_inqueue_seats", "gauge", "Seats that they need.", |meter| meter.waiting_seats.load(Relaxed)),
    ("current_executing_requests", "gauge", "Requests that are served; watches while they begin.", |meter| {
        meter.executing.load(Relaxed)
    }),
    ("current_executing_seats", "gauge", "Seats that they take.", |meter| {
        meter.executing_seats.load(Relaxed)
    }),
];

fn labels(meter: &Meter) -> String {
    format!("flow_schema=\"{}\",priority_level=\"{}\"", meter.schema, meter.level)
}

impl Fairness {
    /// The text for a scrape.
    pub fn metrics(&self) -> String {
        let plan: Arc<Plan> = Arc::clone(&self.plan());
        let mut text = Text(String::new());
        for (name, help, value) in LEVELS {
            text.head(name, "gauge", help);
            for (level, state) in plan.levels.iter().map(|(name, level)| (name, level.state())) {
                text.value(name, &format!("priority_level=\"{level}\""), value(&state));
            }
        }
        let meters: Vec<&Meter> = plan.routes.iter().map(|route| &*route.meter).collect();
        for (name, kind, help, value) in METERS {
            text.head(name, kind, help);
            meters.iter().for_each(|meter| text.value(name, &labels(meter), value(meter)));
        }
        text.head("rejected_requests_total", "counter", "Requests that were turned away, by reason.");
        for meter in &meters {
            for reason in Reason::ALL.into_iter().filter(|reason| meter.rejected(*reason) > 0) {
                let labels = format!("{},reason=\"{}\"", labels(meter), reason.as_str());
                text.value("rejected_requests_total", &labels, meter.rejected(reason));
            }
        }
        text.head("request_wait_duration_seconds", "histogram", "How long requests waited.");
        for meter in &meters {
            for (executed, waits) in [(true, &meter.waits), (false, &meter.waits_in_vain)] {
                if executed || waits.cumulated().last() > Some(&0) {
                    let labels = format!("{},execute=\"{executed}\"", labels(meter));
                    text.histogram("request_wait_duration_seconds", &labels, waits);
                }
            }
        }
        text.head("request_execution_seconds", "histogram", "How long requests were served.");
        for meter in &meters {
            text.histogram("request_execution_seconds", &labels(meter), &meter.executions);
        }
        text.0
    }
}
