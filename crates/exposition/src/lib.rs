//! Numbers that a server tells of itself, in Prometheus' text format.
//!
//! A [`Family`] is a name with labels; a [`Measure`] of it is one number, or the numbers of a histogram, for one value of each label. Families are
//! constants of the crates that count, so that nothing has to be handed through; whoever serves `/metrics` lists those of the
//! program. To find a measure costs a hash of its labels and a look into a map that is read by many at once, to count costs an atomic
//! addition; who counts often keeps the measure. What can be read when somebody asks is not counted: [`Text`] writes it then.

mod measure;
mod process;
mod text;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use parking_lot::RwLock;

pub use measure::{Counter, Gauge, Held, Histogram, Measure};
pub use process::process;
pub use text::{Kind, Text};

/// Counters by `N` labels.
pub type Counters<const N: usize> = Family<Counter, N>;
/// Gauges by `N` labels.
pub type Gauges<const N: usize> = Family<Gauge, N>;
/// Histograms by `N` labels.
pub type Histograms<const N: usize> = Family<Histogram, N>;

/// A name with labels, and the measures that there are of it. Its labels are to have few values: never what clients make up.
#[derive(Debug)]
pub struct Family<M, const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    /// Upper bounds of the buckets of histograms.
    bounds: &'static [f64],
    measures: RwLock<Measures<M, N>>,
}

/// Measures by a hash of the labels' values, and by these.
type Measures<M, const N: usize> = BTreeMap<u64, Vec<([Box<str>; N], Arc<M>)>>;

impl<M: Measure, const N: usize> Family<M, N> {
    const fn made(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        bounds: &'static [f64],
    ) -> Self {
        Self { name, help, labels, bounds, measures: RwLock::new(BTreeMap::new()) }
    }

    /// The measure with these values, in the order of the labels.
    pub fn of(&self, values: [&str; N]) -> Arc<M> {
        let mut hasher = DefaultHasher::new();
        values.hash(&mut hasher);
        let hash = hasher.finish();
        let found = |measures: &Measures<M, N>| {
            let is_it =
                |known: &[Box<str>; N]| known.iter().zip(values).all(|(known, value)| **known == *value);
            let measure = measures.get(&hash)?.iter().find(|(known, _)| is_it(known));
            measure.map(|(_, measure)| Arc::clone(measure))
        };
        if let Some(measure) = found(&self.measures.read()) {
            return measure;
        }
        let mut measures = self.measures.write();
        // Somebody may have come first.
        found(&measures).unwrap_or_else(|| {
            let measure = Arc::new(M::new(self.bounds));
            measures.entry(hash).or_default().push((values.map(Box::from), Arc::clone(&measure)));
            measure
        })
    }
}

impl<const N: usize> Counters<N> {
    /// What only grows.
    pub const fn counters(name: &'static str, help: &'static str, labels: [&'static str; N]) -> Self {
        Self::made(name, help, labels, &[])
    }
}

impl<const N: usize> Gauges<N> {
    /// What goes up and down.
    pub const fn gauges(name: &'static str, help: &'static str, labels: [&'static str; N]) -> Self {
        Self::made(name, help, labels, &[])
    }
}

impl<const N: usize> Histograms<N> {
    /// How often what was measured is not above each of `bounds`, which ascend.
    pub const fn histograms(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        bounds: &'static [f64],
    ) -> Self {
        Self::made(name, help, labels, bounds)
    }
}

/// Something that can be written for a scrape.
pub trait Exposed: Sync {
    /// Appends it.
    fn expose(&self, text: &mut Text);
}

impl<M: Measure, const N: usize> Exposed for Family<M, N> {
    fn expose(&self, text: &mut Text) {
        let measures = self.measures.read();
        if measures.is_empty() {
            return;
        }
        text.head(self.name, M::KIND, self.help);
        let written = measures.values().flatten().map(|(values, measure)| {
            let mut labels = String::new();
            text::write_labels(&mut labels, self.labels.into_iter().zip(values.iter().map(|value| &**value)));
            (labels, measure)
        });
        let in_order: BTreeMap<String, &Arc<M>> = written.collect();
        for (labels, measure) in in_order {
            measure.write(text, self.name, &labels);
        }
    }
}

/// The text of some families; one of which there is nothing is left out.
pub fn text(families: &[&dyn Exposed]) -> String {
    let mut text = Text::default();
    families.iter().for_each(|family| family.expose(&mut text));
    text.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        static REQUESTS: Counters<2> = Family::counters("requests_total", "Requests.", ["verb", "code"]);
        static OPEN: Gauges<0> = Family::gauges("open", "What is open.", []);
        static TOOK: Histograms<1> = Family::histograms("took_seconds", "Time.", ["verb"], &[0.5, 1.0, 2.0]);
        static NEVER: Counters<0> = Family::counters("never_total", "Nothing.", []);
        REQUESTS.of(["GET", "200"]).add(2);
        REQUESTS.of(["GET", "200"]).add(1);
        REQUESTS.of(["a\"b\\c\nd", ""]).add(1);
        let (first, second) = (OPEN.of([]).hold(1), OPEN.of([]).hold(1));
        drop(first);
        [0.25, 1.0, 3.0].into_iter().for_each(|seconds| TOOK.of(["GET"]).observe(seconds));
        let expected = "\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{verb=\"GET\",code=\"200\"} 3
requests_total{verb=\"a\\\"b\\\\c\\nd\",code=\"\"} 1
# HELP open What is open.
# TYPE open gauge
open 1
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{verb=\"GET\",le=\"0.5\"} 1
took_seconds_bucket{verb=\"GET\",le=\"1\"} 2
took_seconds_bucket{verb=\"GET\",le=\"2\"} 2
took_seconds_bucket{verb=\"GET\",le=\"+Inf\"} 3
took_seconds_sum{verb=\"GET\"} 4.25
took_seconds_count{verb=\"GET\"} 3
";
        assert_eq!(text(&[&REQUESTS, &OPEN, &TOOK, &NEVER]), expected);
        drop(second);
        assert!(text(&[&OPEN]).ends_with("open 0\n"));
    }

    #[test]
    fn a_process_tells_of_itself() {
        let text = process();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value: f64 = line
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .rsplit(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert!(value.is_finite() && value >= 0.0, "{name} {value}");
        }
        assert!(!text.contains("process_resident_memory_bytes 0\n"), "{text}");
    }
}
