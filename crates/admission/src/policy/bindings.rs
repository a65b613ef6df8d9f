//! Bindings: which policy is in force where, with which parameters.

use serde_json::Value;
use skiff_machinery::Object;

use super::matching::Matching;
use super::params::ParamRef;
use crate::surroundings::{text, texts};

/// What happens when a validation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Deny, Self::Warn, Self::Audit].into_iter().find(|action| action.as_str() == word)
    }
}

/// A ValidatingAdmissionPolicyBinding or MutatingAdmissionPolicyBinding, ready for requests.
#[derive(Debug)]
pub struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) params: Option<ParamRef>,
    /// All requests that the policy matches when there is none.
    pub(super) matching: Option<Matching>,
    pub(super) actions: Vec<Action>,
}

impl Binding {
    /// Compiles a binding as it is stored, with its defaults.
    pub fn compile(object: &Object) -> Self {
        let none = Value::Null;
        let spec = object.get(&["spec"]).unwrap_or(&none);
        let part = |field: &str| spec.get(field).filter(|part| !part.is_null());
        Self {
            name: object.name().to_owned(),
            policy: text(spec, "policyName").to_owned(),
            params: part("paramRef").map(ParamRef::of),
            matching: part("matchResources").map(Matching::compile),
            actions: texts(spec, "validationActions").iter().filter_map(|word| Action::of(word)).collect(),
        }
    }
}
