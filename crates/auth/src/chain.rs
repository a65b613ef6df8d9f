//! Authorisers in their order: the first that allows or forbids a request decides.

use std::sync::Arc;

use super::access::Authorizer;
use super::{Attributes, Auth, Decision, node, rbac};

/// What authorisers have said so far.
#[derive(Debug, Default)]
struct Said {
    reasons: Vec<String>,
    errors: Vec<String>,
}

impl Said {
    /// Takes one's word; the decision if that is what it comes to.
    fn take(&mut self, decision: Decision) -> Option<Decision> {
        match decision {
            Decision::NoOpinion(reason) => self.reasons.extend(Some(reason).filter(|text| !text.is_empty())),
            Decision::Failed { denied: false, reason, error } => {
                self.reasons.extend(Some(reason).filter(|text| !text.is_empty()));
                self.errors.push(error);
            }
            decided => return Some(decided),
        }
        None
    }

    fn nobody_allows(self) -> Decision {
        let reason = self.reasons.join("\n");
        match self.errors.as_slice() {
            [] => Decision::NoOpinion(reason),
            [one] => Decision::Failed { denied: false, reason, error: one.clone() },
            many => Decision::Failed { denied: false, reason, error: format!("[{}]", many.join(", ")) },
        }
    }
}

impl Auth {
    /// Whether a request may go on. Never denies what the newest state of the store allows.
    pub async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(skiff_identity::MASTERS) {
            return Decision::Allow(String::new());
        }
        let (authorizers, mut is_current, mut said) = (self.authorizers(), false, Said::default());
        for authorizer in &*authorizers {
            let decision = match self.here(authorizer, attributes) {
                Ok(decision) if decision.is_allowed() || is_current => decision,
                Ok(_) => {
                    self.catch_up().await;
                    is_current = true;
                    let Ok(decision) = self.here(authorizer, attributes) else { continue };
                    decision
                }
                Err(other) => other.authorize(attributes).await,
            };
            if let Some(decided) = said.take(decision) {
                return decided;
            }
        }
        said.nobody_allows()
    }

    /// The decision by what is known now: models may be a moment behind. Waits in place for whoever decides somewhere else.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(skiff_identity::MASTERS) {
            return Decision::Allow(String::new());
        }
        let (authorizers, mut said) = (self.authorizers(), Said::default());
        for authorizer in &*authorizers {
            let decision = match self.here(authorizer, attributes) {
                Ok(decision) => decision,
                Err(other) => waited(other.authorize(attributes)),
            };
            if let Some(decided) = said.take(decision) {
                return decided;
            }
        }
        said.nobody_allows()
    }

    /// What an authoriser says of which everything is here; else whom to ask.
    fn here<'a>(
        &self,
        authorizer: &'a Authorizer,
        attributes: &Attributes<'_>,
    ) -> Result<Decision, &'a dyn super::Authorize> {
        Ok(match authorizer {
            Authorizer::Node => match node::authorize(&self.0.graph.read(), &self.0.node_rules, attributes) {
                node::Verdict::Allowed => Decision::Allow(String::new()),
                node::Verdict::NoOpinion(reason) => Decision::NoOpinion(reason),
            },
            Authorizer::Rbac => match self.0.policy.read().evaluate(attributes) {
                rbac::Verdict::Allowed(reason) => Decision::Allow(reason),
                rbac::Verdict::NoOpinion(reason) => Decision::NoOpinion(reason),
            },
            Authorizer::Abac(policies) => policies.evaluate(attributes),
            Authorizer::AlwaysAllow => Decision::Allow(String::new()),
            Authorizer::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".to_owned()),
            Authorizer::Other(other) => return Err(&**other),
        })
    }

    pub(crate) fn authorizers(&self) -> Arc<Vec<Authorizer>> {
        self.0.authorizers.read().clone()
    }

    /// Asks others from now on.
    pub fn set_authorizers(&self, authorizers: Vec<Authorizer>) {
        *self.0.authorizers.write() = Arc::new(authorizers);
    }
}

/// Waits for a decision where one cannot wait otherwise: in an expression of an admission policy.
fn waited(decision: impl Future<Output = Decision> + Send) -> Decision {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let error = "an expression cannot wait for an authorizer that is somewhere else";
    let failed = || Decision::Failed { denied: false, reason: String::new(), error: error.to_owned() };
    match Handle::try_current() {
        // In a runtime of one thread nobody else could make progress.
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| handle.block_on(decision))
        }
        _ => failed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_decides_does() {
        let check = |decisions: Vec<Decision>, expected: Decision| {
            let mut said = Said::default();
            let decided = decisions.into_iter().find_map(|decision| said.take(decision));
            assert_eq!(decided.unwrap_or_else(|| said.nobody_allows()), expected);
        };
        let none = |text: &str| Decision::NoOpinion(text.to_owned());
        let failed = |denied: bool, reason: &str, error: &str| Decision::Failed {
            denied,
            reason: reason.to_owned(),
            error: error.to_owned(),
        };
        check(vec![], none(""));
        check(vec![none("a"), none(""), none("b")], none("a\nb"));
        check(
            vec![none("a"), Decision::Deny("no".to_owned()), Decision::Allow(String::new())],
            Decision::Deny("no".to_owned()),
        );
        check(vec![failed(false, "", "x"), Decision::Allow("y".to_owned())], Decision::Allow("y".to_owned()));
        check(vec![failed(false, "", "x"), none("a"), failed(false, "", "z")], failed(false, "a", "[x, z]"));
        check(vec![failed(true, "", "x"), Decision::Allow(String::new())], failed(true, "", "x"));
    }
}
