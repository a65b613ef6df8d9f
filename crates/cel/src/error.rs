//! Why an evaluation has no value.

use thiserror::Error;

/// Why an evaluation has no value. `Display` is word for word what Kubernetes writes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvalError {
    /// The expression failed with this message; `&&`, `||` and the like may go on without its value.
    #[error("{0}")]
    Failed(Box<str>),
    /// The evaluation cost more than it may; it was stopped.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
}

impl EvalError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        Self::Failed(message.into())
    }

    /// No variant of a function takes these values.
    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }
}
