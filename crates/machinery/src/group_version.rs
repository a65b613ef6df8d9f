//! An API group with one of its versions.

use std::borrow::Cow;
use std::fmt;

/// An API group and version; the core group is `""`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// The group, e.g. `discovery.k8s.io`; empty for core.
    pub group: Cow<'static, str>,
    /// The version, e.g. `v1`.
    pub version: Cow<'static, str>,
}

impl GroupVersion {
    /// A group and version known at compile time.
    pub const fn fixed(group: &'static str, version: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), version: Cow::Borrowed(version) }
    }
}

impl fmt::Display for GroupVersion {
    /// As in `apiVersion`: `v1` or `discovery.k8s.io/v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(f, "{}", self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}
