//! What becomes of a default object.

use skiff_machinery::Object;

/// What to do about a default object.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// It is there, with all that it should have.
    None,
    /// It is not there.
    Create,
    /// It lacks something; this is the whole object with that added.
    Replace(Object),
}
