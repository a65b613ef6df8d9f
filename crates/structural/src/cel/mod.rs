//! `x-kubernetes-validations`: rules in CEL (KEP-2876).

mod compile;
mod cost;
mod declare;
mod evaluate;

pub(crate) use compile::Compiled;
pub(crate) use cost::{Cardinality, Costs, PER_EXPRESSION, PER_SCHEMA, factor};
pub(crate) use declare::Declarations;
pub use evaluate::RuleSet;

/// Lines end a message.
pub(crate) fn has_line_breaks(text: &str) -> bool {
    text.contains('\n')
}
