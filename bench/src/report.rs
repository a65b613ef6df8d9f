//! The table of results.

/// One measured promise.
#[derive(Debug)]
pub(crate) struct Result {
    /// What was promised.
    pub(crate) promise: &'static str,
    /// The bound, as text.
    pub(crate) bound: String,
    /// What was measured, as text.
    pub(crate) measured: String,
    /// Whether the bound holds; `None` where there is no bound.
    pub(crate) holds: Option<bool>,
}

impl Result {
    /// A value that promises not to exceed `limit`, both shown with `unit`.
    pub(crate) fn at_most(promise: &'static str, value: f64, limit: f64, unit: &str) -> Self {
        let (bound, measured) = (format!("≤ {limit} {unit}"), format!("{value:.2} {unit}"));
        Self { promise, bound, measured, holds: Some(value <= limit) }
    }

    /// A value that promises to reach `limit`, both shown with `unit`.
    pub(crate) fn at_least(promise: &'static str, value: f64, limit: f64, unit: &str) -> Self {
        let (bound, measured) = (format!("≥ {limit} {unit}"), format!("{value:.2} {unit}"));
        Self { promise, bound, measured, holds: Some(value >= limit) }
    }

    /// A value that promises nothing.
    pub(crate) fn told(promise: &'static str, measured: String) -> Self {
        Self { promise, bound: String::new(), measured, holds: None }
    }
}

/// Prints results as a Markdown table.
pub(crate) fn print(results: &[Result]) {
    println!("| promise | bound | measured | |");
    println!("|---|---|---|---|");
    for result in results {
        println!(
            "| {} | {} | {} | {} |",
            result.promise,
            result.bound,
            result.measured,
            verdict(result.holds)
        );
    }
}

/// Something of skiff and of kube-apiserver.
#[derive(Debug)]
pub(crate) struct Compared {
    what: String,
    /// Of skiff, and of kube-apiserver.
    measured: [f64; 2],
    unit: &'static str,
    wanted: Wanted,
}

/// What is wanted of skiff.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Nothing,
    /// The ratio to kube-apiserver is so much or more.
    AtLeast(f64),
    /// It is so much or less.
    AtMost(f64),
    /// What is measured of skiff is so much or less, in the unit.
    Alone(f64),
}

impl Compared {
    /// Of which more is better; so many times that of kube-apiserver is wanted.
    pub(crate) fn more(what: String, measured: [f64; 2], unit: &'static str, wanted: Option<f64>) -> Self {
        Self { what, measured, unit, wanted: wanted.map_or(Wanted::Nothing, Wanted::AtLeast) }
    }

    /// Of which less is better; so many times that of kube-apiserver is wanted.
    pub(crate) fn less(what: String, measured: [f64; 2], unit: &'static str, wanted: Option<f64>) -> Self {
        Self { what, measured, unit, wanted: wanted.map_or(Wanted::Nothing, Wanted::AtMost) }
    }

    /// What is wanted of skiff, whatever kube-apiserver does.
    pub(crate) fn skiff_at_most(self, limit: f64) -> Self {
        Self { wanted: Wanted::Alone(limit), ..self }
    }

    /// The row of a Markdown table.
    fn row(&self) -> String {
        let Self { what, measured: [skiff, upstream], unit, wanted } = self;
        let ratio = skiff / upstream;
        let (bound, holds) = match wanted {
            Wanted::Nothing => (String::new(), None),
            Wanted::AtLeast(limit) => (format!("≥ {limit:.0} ×"), Some(ratio >= *limit)),
            Wanted::AtMost(limit) => (format!("≤ {limit:.2} ×"), Some(ratio <= *limit)),
            Wanted::Alone(limit) => (format!("≤ {limit} {unit}"), Some(skiff <= limit)),
        };
        let (skiff, upstream) = (amount(*skiff, unit), amount(*upstream, unit));
        format!("| {what} | {skiff} | {upstream} | {ratio:.2} × | {bound} | {} |", verdict(holds))
    }
}

/// An amount with its unit, with three digits or so.
fn amount(value: f64, unit: &str) -> String {
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    let space = if unit.starts_with('/') { "" } else { " " };
    format!("{value:.digits$}{space}{unit}")
}

/// Prints comparisons as a Markdown table.
pub(crate) fn print_compared(rows: &[Compared]) {
    println!("| measured | skiff | kube-apiserver | ratio | wanted | |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        println!("{}", row.row());
    }
}

fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "held",
        Some(false) => "**missed**",
        None => "",
    }
}

/// The value below which `percent` of the samples lie.
pub(crate) fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    let index = (samples.len() * percent / 100).min(samples.len().saturating_sub(1));
    samples.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Compared, percentile};

    #[test]
    fn comparisons_are_held_to_what_is_wanted() {
        let rate = |skiff| Compared::more("rate".to_owned(), [skiff, 1000.0], "/s", Some(3.0)).row();
        assert_eq!(rate(2990.0), "| rate | 2990/s | 1000/s | 2.99 × | ≥ 3 × | **missed** |");
        assert_eq!(rate(3000.0), "| rate | 3000/s | 1000/s | 3.00 × | ≥ 3 × | held |");
        let time = Compared::less("time".to_owned(), [2.5, 12.5], "ms", Some(0.25));
        assert_eq!(time.row(), "| time | 2.50 ms | 12.5 ms | 0.20 × | ≤ 0.25 × | held |");
        let alone = Compared::less("part".to_owned(), [1.5, 3.0], "×", None).skiff_at_most(1.0);
        assert_eq!(alone.row(), "| part | 1.50 × | 3.00 × | 0.50 × | ≤ 1 × | **missed** |");
    }

    #[test]
    fn takes_percentiles() {
        let mut samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&mut samples, 50) - 51.0).abs() < 0.1);
        assert!((percentile(&mut samples, 99) - 100.0).abs() < 0.1);
    }
}
