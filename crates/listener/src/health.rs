//! What the parts of a program say of themselves, and how that is told: as Kubernetes' servers tell it.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::RwLock;

/// The checks of a server. Every part puts its own in; clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Checks(Arc<RwLock<Vec<Check>>>);

/// What a failing check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The server should be started again: fails `/livez`, and with it the two others.
    Life,
    /// The server cannot do all of its work now: fails `/readyz` and `/healthz`.
    Readiness,
}

/// One check by name.
#[derive(Clone)]
struct Check {
    name: &'static str,
    concern: Concern,
    check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.concern)
    }
}

impl Checks {
    /// Adds a check, which is called for each question and must not wait. Its error is shown to those who may read
    /// the check's own path; all others learn only its name.
    pub fn add(
        &self,
        name: &'static str,
        concern: Concern,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.write().push(Check { name, concern, check: Arc::new(check) });
    }

    /// The results for an endpoint (`healthz`, `livez` or `readyz`), in the order in which the checks were added.
    pub fn results(&self, endpoint: &str) -> Vec<Outcome> {
        let checks = self.0.read().clone();
        let counted = |check: &&Check| check.concern == Concern::Life || endpoint != "livez";
        checks.iter().filter(counted).map(|check| Outcome::of(check.name, (check.check)())).collect()
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The check's name.
    pub name: &'static str,
    /// Why it fails, if it does.
    pub failure: Option<String>,
}

impl Outcome {
    /// The outcome of the check called `name`.
    pub fn of(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, failure: result.err() }
    }

    /// The answer of this check alone.
    pub fn alone(&self) -> (StatusCode, String) {
        match &self.failure {
            None => (StatusCode::OK, "ok".to_owned()),
            Some(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        }
    }
}

/// The answer of all checks of an endpoint, worded as Kubernetes' servers word it. Checks named in `excluded` cannot fail it.
pub fn report(
    endpoint: &str,
    outcomes: &[Outcome],
    excluded: &[&str],
    verbose: bool,
) -> (StatusCode, String) {
    let mut unmatched = excluded.to_vec();
    let (mut text, mut failed) = (String::new(), false);
    for Outcome { name, failure } in outcomes {
        let excluded = unmatched.contains(name);
        unmatched.retain(|other| other != name);
        text.push_str(&match failure {
            _ if excluded => format!("[+]{name} excluded: ok\n"),
            None => format!("[+]{name} ok\n"),
            Some(_) => format!("[-]{name} failed: reason withheld\n"),
        });
        failed |= !excluded && failure.is_some();
    }
    if !unmatched.is_empty() {
        let names: Vec<String> = unmatched.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        text.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    if failed {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{text}{endpoint} check failed\n"));
    }
    let text = if verbose { format!("{text}{endpoint} check passed\n") } else { "ok".to_owned() };
    (StatusCode::OK, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_check_is_named_and_can_be_excluded() {
        let checks = Checks::default();
        checks.add("fine", Concern::Life, || Ok(()));
        checks.add("broken", Concern::Readiness, || Err("why".into()));
        let check = |endpoint: &str, excluded: &[&str], verbose, code: u16, text: &str| {
            let answer = report(endpoint, &checks.results(endpoint), excluded, verbose);
            assert_eq!((answer.0.as_u16(), answer.1.as_str()), (code, text));
        };
        check("livez", &[], false, 200, "ok");
        check("livez", &[], true, 200, "[+]fine ok\nlivez check passed\n");
        let failed = "[+]fine ok\n[-]broken failed: reason withheld\nreadyz check failed\n";
        check("readyz", &[], false, 500, failed);
        check("readyz", &["broken"], false, 200, "ok");
        let none = "warn: some health checks cannot be excluded: no matches for \"x\"\n";
        check("livez", &["x"], true, 200, &format!("[+]fine ok\n{none}livez check passed\n"));
        let alone: Vec<_> = checks.results("readyz").iter().map(Outcome::alone).collect();
        assert_eq!(alone[0], (StatusCode::OK, "ok".to_owned()));
        assert_eq!(alone[1].1, "internal server error: why\n");
    }
}
