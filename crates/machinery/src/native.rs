//! What is compiled in, or made while running.

use std::sync::Arc;

/// What makes something of an object: code of a built-in kind, or what was made of a definition.
pub enum Native<F, D: ?Sized> {
    /// Compiled in.
    Fixed(F),
    /// Made while running.
    Made(Arc<D>),
}

impl<F: Clone, D: ?Sized> Clone for Native<F, D> {
    fn clone(&self) -> Self {
        match self {
            Self::Fixed(f) => Self::Fixed(f.clone()),
            Self::Made(made) => Self::Made(made.clone()),
        }
    }
}
