//! Whose a pod spec is that is checked.

/// Whose a pod spec is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A pod's: nothing is left open any more.
    Pod,
    /// A template's, whose pods get some defaults only when they are made.
    Template,
}
