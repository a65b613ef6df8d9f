//! What is registered of group versions: in which order they come, and which of them other servers serve.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::prefer;
use crate::GroupVersion;
use crate::openapi::Guest;

/// Where a group version comes in discovery: what is higher comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    /// Of the group among groups: the highest of those of its versions counts.
    pub group: i32,
    /// Of the version in its group.
    pub version: i32,
}

/// What another server says of a group version that it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Elsewhere {
    /// Its resources, as the aggregated documents have them.
    pub resources: Arc<Vec<Value>>,
    /// Whether that is what the server says at present, and not what it said before it could not be asked.
    pub fresh: bool,
    /// Where the OpenAPI document of version 3 is, if there is one: a URL of this server, with a hash.
    pub v3: Option<String>,
    /// What there is to say of it in that of version 2.
    pub v2: Option<Arc<Guest>>,
}

/// A group version that is registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Where it comes.
    pub priority: Priority,
    /// What there is to tell of it, if another server serves it.
    pub elsewhere: Option<Elsewhere>,
}

/// Every group version that is registered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry(BTreeMap<GroupVersion, Registered>);

impl FromIterator<(GroupVersion, Registered)> for Registry {
    fn from_iter<I: IntoIterator<Item = (GroupVersion, Registered)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Registry {
    /// What another server says of a group version; none if this one serves it.
    pub fn elsewhere(&self, gv: &GroupVersion) -> Option<&Elsewhere> {
        self.0.get(gv)?.elsewhere.as_ref()
    }

    /// Every group version that another server serves.
    pub fn all_elsewhere(&self) -> impl Iterator<Item = (&GroupVersion, &Elsewhere)> {
        self.0.iter().filter_map(|(gv, registered)| Some((gv, registered.elsewhere.as_ref()?)))
    }

    /// Sorts the versions of a group, by their names.
    pub(super) fn sort_versions<T>(&self, group: &str, versions: &mut [(&str, T)]) {
        let priority = |version: &str| {
            let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
            self.0.get(&gv).map(|registered| registered.priority.version)
        };
        if versions.iter().all(|(version, _)| priority(version).is_some()) {
            skiff_ordered::sort_by(versions, |(a, _), (b, _)| {
                priority(b).cmp(&priority(a)).then_with(|| prefer(a, b))
            });
        }
    }

    /// Sorts groups: those that are not registered first, in the order that they have.
    pub(super) fn sort_groups<T>(&self, groups: &mut [T], name: impl Fn(&T) -> &str) {
        let priority = |group: &str| {
            let all = self.0.iter().filter(|(gv, _)| gv.group == group);
            all.map(|(_, registered)| registered.priority.group).max()
        };
        skiff_ordered::sort_by_key(groups, |group| match priority(name(group)) {
            None => (None, String::new()),
            Some(priority) => (Some(Reverse(priority)), name(group).to_owned()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(all: &[(&'static str, &'static str, i32, i32)]) -> Registry {
        let one = |(group, version, of_group, of_version): &(&'static str, &'static str, i32, i32)| {
            let priority = Priority { group: *of_group, version: *of_version };
            (GroupVersion::fixed(group, version), Registered { priority, elsewhere: None })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn groups_come_by_the_highest_priority_of_their_versions() {
        let all = [("b", "v1", 1000, 1), ("a", "v1", 1000, 1), ("z", "v1", 10, 1), ("z", "v2", 2000, 1)];
        let mut groups = vec!["own", "b", "a", "z", "core"];
        registry(&all).sort_groups(&mut groups, |group| group);
        assert_eq!(groups, ["own", "core", "z", "a", "b"]);
    }

    #[test]
    fn versions_come_by_priority_and_then_by_how_stable_they_are() {
        let all = [("g", "v1", 1, 10), ("g", "v2beta1", 1, 10), ("g", "v1alpha1", 1, 20)];
        let mut versions = vec![("v2beta1", ()), ("v1", ()), ("v1alpha1", ())];
        registry(&all).sort_versions("g", &mut versions);
        let names: Vec<&str> = versions.iter().map(|(name, ())| *name).collect();
        assert_eq!(names, ["v1alpha1", "v1", "v2beta1"]);
    }
}
