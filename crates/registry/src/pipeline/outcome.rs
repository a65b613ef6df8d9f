//! What a call came to, before it is written as an answer.

use http::StatusCode;
use serde_json::Value;
use skiff_machinery::Object;
use skiff_store::{Entry, Revision};

/// What a call came to.
#[derive(Debug)]
pub struct Outcome {
    /// Of the answer.
    pub status: StatusCode,
    /// What is sent.
    pub content: Content,
}

/// What is sent.
#[derive(Debug)]
pub enum Content {
    /// A stored object.
    Entry(Entry),
    /// An object of the call's kind that is not stored: a dry run's, or the last state of a deleted one.
    Object(Object),
    /// A list.
    List(Selected),
    /// Anything else, sent as it is: a Status, a Scale, a review.
    Tree(Value),
}

/// What a list found.
#[derive(Debug)]
pub struct Selected {
    /// The revision of the list.
    pub revision: Revision,
    /// In key order.
    pub entries: Vec<Entry>,
    /// Token for the next page; empty on the last one.
    pub continue_token: String,
    /// How many objects follow, if that is known.
    pub remaining: Option<usize>,
}

impl Outcome {
    /// A stored object.
    pub(crate) fn entry(status: StatusCode, entry: Entry) -> Self {
        Self { status, content: Content::Entry(entry) }
    }

    /// An object that is not stored.
    pub(crate) fn object(status: StatusCode, object: Object) -> Self {
        Self { status, content: Content::Object(object) }
    }

    /// A list.
    pub(crate) fn list(selected: Selected) -> Self {
        Self { status: StatusCode::OK, content: Content::List(selected) }
    }

    /// A Status, or an object of another kind than the call's.
    pub(crate) fn status(status: StatusCode, value: Value) -> Self {
        Self { status, content: Content::Tree(value) }
    }
}
