//! The set of kinds that a server offers.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_schema::Schema;

use crate::{GroupVersion, Kind, rows};

/// Every kind, in discovery order, with lookups by URL names and by `apiVersion` and `kind`.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    kinds: Vec<Arc<Kind>>,
    /// Positions in `kinds` by plural name; the same plural may exist in several groups.
    by_plural: HashMap<String, Vec<usize>>,
}

impl Catalogue {
    /// The kinds compiled in, with the schema of Kubernetes.
    pub fn builtin() -> Self {
        rows::builtin(&Arc::new(Schema::kubernetes())).into_iter().collect()
    }

    /// The kind with a plural name in a group (`""` for core) and version.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let positions = self.by_plural.get(plural)?;
        let mut kinds = positions.iter().map(|i| &self.kinds[*i]);
        kinds.find(|kind| kind.gv.group == group && kind.gv.version == version)
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
        let mut catalogue = Self::default();
        for kind in kinds {
            let plural = kind.names.plural.to_string();
            catalogue.by_plural.entry(plural).or_default().push(catalogue.kinds.len());
            catalogue.kinds.push(Arc::new(kind));
        }
        catalogue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_url_and_by_kind() {
        let catalogue = Catalogue::builtin();
        let check = |group: &str, version: &str, plural: &str, kind: &str| {
            let found = catalogue.find(group, version, plural).map(|row| row.names.kind.as_ref());
            assert_eq!(found, Some(kind));
            let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
            assert_eq!(catalogue.find_kind(&gv, kind).map(|row| row.names.plural.as_ref()), Some(plural));
        };
        check("", "v1", "services", "Service");
        check("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");
        check("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
        assert!(catalogue.find("", "v2", "services").is_none());
        assert!(catalogue.find("apps", "v1", "services").is_none());
    }

    #[test]
    fn category_all_lists_pods_before_controllers_before_services() {
        let catalogue = Catalogue::builtin();
        let all: Vec<_> =
            catalogue.iter().filter(|row| row.names.categories.iter().any(|c| c == "all")).collect();
        let names: Vec<_> = all.iter().map(|row| row.names.plural.as_ref()).collect();
        assert_eq!(names, ["pods", "replicationcontrollers", "services"]);
    }

    #[test]
    fn every_row_prints_one_cell_per_column() {
        for kind in Catalogue::builtin().iter() {
            let mut object = crate::Object::default();
            object.set(&["metadata", "name"], "x");
            let row = (kind.print)(&object, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(row.cells.len(), kind.columns.len(), "{kind:?}");
        }
    }
}
