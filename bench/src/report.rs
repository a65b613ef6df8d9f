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
        let verdict = match result.holds {
            Some(true) => "held",
            Some(false) => "**missed**",
            None => "",
        };
        println!("| {} | {} | {} | {verdict} |", result.promise, result.bound, result.measured);
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
    use super::percentile;

    #[test]
    fn takes_percentiles() {
        let mut samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&mut samples, 50) - 51.0).abs() < 0.1);
        assert!((percentile(&mut samples, 99) - 100.0).abs() < 0.1);
    }
}
