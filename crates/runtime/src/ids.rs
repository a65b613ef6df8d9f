//! Identities of pods, containers and images. Each is safe to use as one component of a path.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A name that cannot be used as an identity.
#[derive(Debug, thiserror::Error)]
#[error("invalid {what} {value:?}: only letters, digits, '-', '_' and '.' are allowed, 1 to 128 of them")]
pub struct InvalidId {
    what: &'static str,
    value: String,
}

impl InvalidId {
    pub(crate) fn new(what: &'static str, value: String) -> Self {
        Self { what, value }
    }
}

fn checked(what: &'static str, value: String) -> Result<String, InvalidId> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=128).contains(&value.len()) && value.bytes().all(allowed) && !value.starts_with('.');
    if fits { Ok(value) } else { Err(InvalidId { what, value }) }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks that the text is usable as a path component.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidId> {
                checked($what, value.into()).map(Self)
            }

            /// The identity as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identity!(
    /// What identifies a pod: never its name, which can be used again by another pod.
    PodUid,
    "pod UID"
);
identity!(
    /// What identifies one run of a container: 64 hexadecimal digits.
    ContainerId,
    "container ID"
);

impl ContainerId {
    /// A fresh random identity.
    pub fn random() -> Self {
        let half = || uuid::Uuid::new_v4().simple().to_string();
        Self(half() + &half())
    }
}

/// What identifies an image: the SHA-256 digest of its configuration, `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// Accepts `sha256:` followed by 64 lower-case hexadecimal digits.
    pub fn new(value: impl Into<String>) -> Result<Self, InvalidId> {
        let value = value.into();
        let digits = value.strip_prefix("sha256:").unwrap_or_default();
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == 64 && digits.bytes().all(hex) {
            Ok(Self(value))
        } else {
            Err(InvalidId { what: "image ID", value })
        }
    }

    /// The digest as text, with its `sha256:` prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ImageId {
    type Error = InvalidId;
    fn try_from(value: String) -> Result<Self, InvalidId> {
        Self::new(value)
    }
}

impl From<ImageId> for String {
    fn from(value: ImageId) -> String {
        value.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The user and group IDs of a pod that has a user namespace: 0 to 65535 inside are as many on the node, which no other
/// pod and nobody of the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct IdRange {
    /// A multiple of [`IdRange::LENGTH`].
    first: u32,
}

impl IdRange {
    /// How many IDs there are in each range.
    pub const LENGTH: u32 = 65_536;

    /// How many ranges there are. The IDs of all are below 2³¹: there are programs and kernel parameters that take no
    /// higher ones.
    pub const COUNT: u32 = (1 << 31) / Self::LENGTH - 1;

    /// The range with this number, from 0 on. The node's own users and groups come before all.
    pub fn nth(number: u32) -> Option<Self> {
        (number < Self::COUNT).then(|| Self { first: (number + 1) * Self::LENGTH })
    }

    /// The ID on the node of what is 0 inside.
    pub fn first(self) -> u32 {
        self.first
    }

    /// The ID on the node of an ID inside; `None` for one that does not exist there.
    pub fn on_node(self, id: u32) -> Option<u32> {
        (id < Self::LENGTH).then(|| self.first + id)
    }
}

impl TryFrom<u32> for IdRange {
    type Error = InvalidId;

    /// The range that begins with this ID on the node.
    fn try_from(first: u32) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { what: "first ID of a range", value: first.to_string() };
        if !first.is_multiple_of(Self::LENGTH) {
            return Err(invalid());
        }
        (first / Self::LENGTH).checked_sub(1).and_then(Self::nth).ok_or_else(invalid)
    }
}

impl From<IdRange> for u32 {
    fn from(range: IdRange) -> Self {
        range.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_never_leave_their_directory() {
        for bad in ["", "..", ".hidden", "a/b", "a b", "\0"] {
            assert!(PodUid::new(bad).is_err(), "{bad:?}");
        }
        assert!(PodUid::new("0b8c2b3e-1a52-4b59-8d6e-6fb1c3f0a001").is_ok());
        assert_eq!(ContainerId::random().as_str().len(), 64);
        assert!(ImageId::new("sha256:../etc").is_err());
    }

    #[test]
    fn ranges_do_not_overlap_and_leave_the_nodes_own_ids_alone() {
        let range = IdRange::nth(0).unwrap();
        assert_eq!(
            (range.first(), range.on_node(0), range.on_node(65_535)),
            (65_536, Some(65_536), Some(131_071))
        );
        assert_eq!(range.on_node(65_536), None);
        assert_eq!(IdRange::nth(1).unwrap().first(), 131_072);
        let last = IdRange::nth(IdRange::COUNT - 1).unwrap();
        assert_eq!(last.on_node(65_535), Some(i32::MAX.cast_unsigned()));
        assert_eq!(IdRange::nth(IdRange::COUNT), None);
        for (first, valid) in [(0, false), (65_536, true), (65_537, false), (131_072, true), (1 << 31, false)]
        {
            assert_eq!(IdRange::try_from(first).is_ok(), valid, "{first}");
        }
    }
}
