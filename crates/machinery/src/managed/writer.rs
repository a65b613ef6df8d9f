//! Who writes, and how.

use jiff::Timestamp;

use super::set::{Element, Set};

/// How an entry came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    /// As in `managedFields[].operation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, and through what.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager: `fieldManager=`, else the program name of the User-Agent.
    pub manager: &'a str,
    /// E.g. `status`; empty for the object itself.
    pub subresource: &'a str,
    /// The time of the request.
    pub now: Timestamp,
    /// The fields that such writes have nothing to say about, with all below them.
    pub settled: &'a [&'a [&'a str]],
    /// Whether what is null or empty stays in what is applied: objects of custom kinds are trees.
    pub keeps_nulls: bool,
}

impl Writer<'_> {
    /// What of these fields becomes the writer's.
    pub(super) fn owned(&self, mut fields: Set) -> Set {
        for path in self.settled {
            let path: Vec<Element> = path.iter().map(|name| Element::field(name)).collect();
            fields.cut(&path);
        }
        fields
    }
}
