//! Role-based access control: rules, the policy made of all roles and bindings, and the check that nobody
//! grants more than they hold.

pub mod defaults;
mod escalation;
mod policy;
mod rule;

pub(super) use escalation::{admit, granted};
pub(super) use policy::{Policy, Verdict};
pub use rule::Rule;
pub use rule::missing;
use rule::quoted;
