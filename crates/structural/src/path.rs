//! Where something is: a chain of steps on the stack, written out only when it is told.

use std::fmt;

/// A path; the root has none before it.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The text before all steps; may be empty.
    Root(&'a str),
    /// `.name`
    Child(&'a Path<'a>, &'a str),
    /// `[key]`
    Key(&'a Path<'a>, &'a str),
    /// `[index]`
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn child(&'a self, name: &'a str) -> Path<'a> {
        Path::Child(self, name)
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    /// Whether nothing is written for it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Path::Root(""))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(text) => f.write_str(text),
            Path::Child(parent, name) => {
                parent.fmt(f)?;
                f.write_str(if parent.is_empty() { "" } else { "." })?;
                f.write_str(name)
            }
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The text of a field in an error; that of no field is `<nil>`, as Go writes it.
impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        if path.is_empty() { "<nil>".to_owned() } else { path.to_string() }
    }
}

impl From<Path<'_>> for String {
    fn from(path: Path<'_>) -> Self {
        Self::from(&path)
    }
}
