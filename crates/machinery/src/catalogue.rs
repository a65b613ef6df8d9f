//! The set of kinds that a server offers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{GroupVersion, Kind};

/// Every kind, in discovery order, with lookups by URL names and by `apiVersion` and `kind`.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    kinds: Vec<Arc<Kind>>,
    /// Positions in `kinds` by plural name; the same plural may exist in several groups.
    by_plural: HashMap<String, Vec<usize>>,
}

impl Catalogue {
    /// The kind with a plural name in a group (`""` for core) and version.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let positions = self.by_plural.get(plural)?;
        let mut kinds = positions.iter().map(|i| &self.kinds[*i]);
        kinds.find(|kind| kind.gv.group == group && kind.gv.version == version)
    }

    /// These kinds and others, which come after them: by group, then as they are given.
    #[must_use]
    pub fn with(&self, others: &[Arc<Kind>]) -> Self {
        let mut others = others.to_vec();
        skiff_ordered::sort_by(&mut others, |a, b| a.gv.group.cmp(&b.gv.group));
        self.kinds.iter().cloned().chain(others).collect()
    }

    /// The kind that an object of this `apiVersion` and `kind` is.
    pub fn find_kind(&self, gv: &GroupVersion, kind: &str) -> Option<&Arc<Kind>> {
        self.iter().find(|row| row.gv == *gv && row.names.kind == kind)
    }

    /// Every kind in discovery order: the core group first, alphabetically by plural name within a group.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.iter()
    }
}

impl FromIterator<Kind> for Catalogue {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().map(Arc::new).collect()
    }
}

impl FromIterator<Arc<Kind>> for Catalogue {
    fn from_iter<I: IntoIterator<Item = Arc<Kind>>>(kinds: I) -> Self {
        let mut catalogue = Self::default();
        for kind in kinds {
            let plural = kind.names.plural.to_string();
            catalogue.by_plural.entry(plural).or_default().push(catalogue.kinds.len());
            catalogue.kinds.push(kind);
        }
        catalogue
    }
}
