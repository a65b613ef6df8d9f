//! Labels as they are stored: read from an object's text without making a tree of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use skiff_store::Key;

use super::codec::{self, DamagedEntry};

/// The labels of the object that is stored at a key.
#[derive(Default)]
pub(crate) struct Labels<'a>(BTreeMap<Text<'a>, Text<'a>>);

impl<'a> Labels<'a> {
    /// Reads them; nothing behind the metadata is looked at.
    pub(crate) fn of(key: &Key, object: &'a [u8]) -> Result<Self, DamagedEntry> {
        let metadata: Metadata<'_> = codec::metadata(key, object)?.0;
        Ok(Self(metadata.labels.unwrap_or_default()))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Keys and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&*key.0, &*value.0))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

/// A text of the stored bytes, copied only if it is escaped there.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
