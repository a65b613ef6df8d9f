//! ServiceAccount.

use super::{CORE, Plain, stored};
use crate::{Kind, Scope, Subresource};

pub(super) fn row() -> Kind {
    stored(CORE, "io.k8s.api.core.v1.ServiceAccount", Scope::Namespaced, Plain)
        .short(&["sa"])
        .below(&[Subresource::Token])
}
