//! Paths of fields that a container may be shown.

use crate::text;

pub(crate) fn run(path: &[u8]) {
    skiff_node::fuzzing::field_path(text(path));
}
