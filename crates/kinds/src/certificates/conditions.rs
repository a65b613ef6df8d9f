//! The conditions of a request: what was decided, and what became of it.

use serde_json::Value;
use skiff_machinery::Object;
use skiff_machinery::cells::items;

/// Those that decide about a request, which only its approval may add.
pub(super) const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// The conditions of a request.
pub(super) fn of(request: &Object) -> &[Value] {
    items(request, &["status", "conditions"])
}
