//! The Common Expression Language as Kubernetes 1.36 has it (KEP-2876, KEP-3488): rules of custom resources, admission
//! policies, match conditions.
//!
//! An [`Environment`] says which variables expressions have, with their types. It compiles text to a [`Program`], or says what is wrong in
//! the words that clients of Kubernetes know. A program is evaluated over JSON as it is: nothing is converted but what an
//! expression asks for.
//!
//! Three facts shaped this crate. Which expressions a cluster accepts depends on their estimated cost, so costs are computed exactly
//! as cel-go and Kubernetes do, down to their oddities. Expressions come from strangers, so everything is bounded: their size and depth when they
//! are read, the size of their types when they are checked, cost and work when they are evaluated. And messages are
//! part of the interface: they are Kubernetes', word for word.

mod check;
mod cost;
mod declared;
mod environment;
mod error;
mod escape;
mod eval;
mod issue;
mod library;
pub mod limits;
mod syntax;
mod types;
mod value;

pub use cost::CostEstimate;
pub use declared::{DeclaredType, Field, ListKind};
pub use environment::{Builder, CompileError, Environment, Program};
pub use error::EvalError;
pub use escape::{escape, is_reserved, unescape};
pub use eval::{Activation, Evaluation};
pub use issue::CompileErrors;
pub use library::authorizer::{Action, Authorization, Authorizer, Decision, Subject};
pub use library::format::Format;
pub use library::semver::Semver;
pub use library::url::{Url, split_scheme};
pub use skiff_quantity::Quantity;
pub use types::{Kubernetes, Type};
pub use value::{Duration, Fields, List, Map, Object, Text, Timestamp, Value};
