//! A pass for an owner that failed.

use std::fmt;

use skiff_informer::{ObjectKey, describe};

use super::ClaimError;

/// Why, and for whom. All of them pass: the queue tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// What the owner owns could not be sorted.
    #[error("{owner}: {source}")]
    Claim { owner: Named, source: ClaimError },
    /// A request failed.
    #[error("cannot {action} of {owner}: {}", describe(source))]
    Api { action: &'static str, owner: Named, source: kube::Error },
    /// What was planned could not be done.
    #[error("{owner}: {why}")]
    Step { owner: Named, why: String },
}

/// An owner as messages name it, e.g. `daemon set default/agent`.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// What it is called besides its name.
    pub(crate) noun: &'static str,
    pub(crate) key: ObjectKey,
}

impl Named {
    /// To be said of a request that failed.
    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(kube::Error) -> PassError + use<> {
        let owner = self.clone();
        move |source| PassError::Api { action, owner, source }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.noun, self.key)
    }
}
