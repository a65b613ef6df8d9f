//! Prometheus' text format: families of samples.

use http::header::HeaderValue;
use jiff::Timestamp;

/// The type of answers in this format.
pub(crate) const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, until its subject begins anew.
    Counter,
    Gauge,
}

/// A family of metrics: its name, what its numbers are, and a sentence about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family(pub(crate) &'static str, pub(crate) Kind, pub(crate) &'static str);

/// One number and what it is of.
#[derive(Clone, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) labels: Vec<(&'static str, &'a str)>,
    pub(crate) value: f64,
    /// When it was so, where that is told.
    pub(crate) at: Option<Timestamp>,
}

/// A text being written.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Adds a family; one without samples is left out.
    pub(crate) fn family<'a>(
        &mut self,
        Family(name, kind, help): Family,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for sample in samples {
            self.0 += &sample.line(name);
        }
    }

    /// Adds a family of one number without labels.
    pub(crate) fn single(&mut self, family: Family, value: f64) {
        self.family(family, [Sample { labels: Vec::new(), value, at: None }]);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl Sample<'_> {
    fn line(&self, name: &str) -> String {
        let labels: Vec<String> =
            self.labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let at = self.at.map(|at| format!(" {}", at.as_millisecond())).unwrap_or_default();
        format!("{name}{labels} {}{at}\n", self.value)
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Bytes, or a count, as the format has numbers.
#[expect(clippy::cast_precision_loss, reason = "the format's numbers are floating point")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Nanoseconds in seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    float(nanos) / 1e9
}

/// A time in seconds since 1970.
pub(crate) fn epoch(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::at;

    #[test]
    fn values_of_labels_are_escaped_and_empty_families_left_out() {
        let mut text = Exposition::default();
        text.family(Family("none", Kind::Gauge, "Nothing."), []);
        let sample = Sample { labels: vec![("a", "x\"\\\n"), ("b", "")], value: 0.5, at: Some(at(0)) };
        text.family(Family("some", Kind::Counter, "Something."), [sample]);
        text.single(Family("one", Kind::Gauge, "One."), 3.0);
        let expected = "# HELP some Something.\n# TYPE some counter\nsome{a=\"x\\\"\\\\\\n\",b=\"\"} 0.5 1000000000\n\
                        # HELP one One.\n# TYPE one gauge\none 3\n";
        assert_eq!(text.into_text(), expected);
    }
}
