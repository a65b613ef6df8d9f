//! Policies: rules in expressions, which bindings put into force.

mod bindings;
mod checks;
mod decide;
mod fields;
mod hooks;
mod matching;
mod mutating;
mod params;
mod patch;
mod typecheck;
mod validate;
mod validate_binding;
mod validate_mutating;
mod validating;

pub use bindings::Binding;
pub use fields::{default_binding, default_policy};
pub use mutating::{MutatingPolicies, MutatingPolicy};
pub use params::Params;
pub use typecheck::check_types;
pub use validate::{
    validate_validating_policy, validate_validating_policy_status, validate_validating_policy_update,
};
pub use validate_binding::{validate_mutating_binding, validate_validating_binding};
pub use validate_mutating::{validate_mutating_policy, validate_mutating_policy_update};
pub use validating::{ValidatingPolicies, ValidatingPolicy};

#[cfg(test)]
mod tests;
