//! What identifies objects, in types of their own: as texts they look alike, and could change places unseen.

use std::fmt;
use std::sync::Arc;

/// The namespace of an object, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace<'a>(&'a str);

impl<'a> Namespace<'a> {
    /// That of objects which are in none, and of questions about all of them.
    pub const NONE: Namespace<'static> = Namespace("");

    /// The namespace of a name; [`Namespace::NONE`] if that is empty.
    pub const fn new(name: &'a str) -> Self {
        Self(name)
    }

    /// Its name; empty for [`Namespace::NONE`].
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it is [`Namespace::NONE`].
    pub fn is_none(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The identity of an object for all time: another one of its name has another. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Uid(Arc<str>);

impl Uid {
    /// As in `metadata.uid`.
    pub fn new(uid: &str) -> Self {
        Self(uid.into())
    }

    /// As in `metadata.uid`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
