//! What a later agent has to know of the resources of a pod, in the pod's directory.

use super::local::LocalPod;
use super::observed::{Observed, Run};
use super::sizes::{Sizes, same};
use crate::directory;
use crate::ids::ContainerName;
use crate::paths::PodPaths;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::{Deserialize, Serialize};
use skiff_ordered::Ordered as _;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What the node granted, and what of it the control groups do not have yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) granted: Sizes,
    /// What running containers have instead, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    containers: BTreeMap<String, ResourceRequirements>,
    /// What the pod's own group was made for instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Sizes>,
}

impl Kept {
    /// Of a pod with what it was granted.
    pub(crate) fn of(pod: &LocalPod, observed: &Observed) -> Self {
        let granted = Sizes::of(pod);
        let containers = instead(&granted, observed);
        let containers = containers.map(|(name, has)| (name.to_string(), has.clone())).one_by_one();
        let group = observed.resizing.group.as_deref().filter(|group| !group.same(&granted)).cloned();
        Self { granted, containers, group }
    }

    /// Whether that is what there would be to say now.
    pub(crate) fn is_current(&self, pod: &LocalPod, observed: &Observed) -> bool {
        let group = observed.resizing.group.as_deref().filter(|group| !group.same(&self.granted));
        let of = |(name, has): (&ContainerName, &ResourceRequirements)| {
            self.containers.get(name.as_str()).is_some_and(|kept| kept == has)
        };
        self.granted.are_of(pod)
            && self.group.as_ref() == group
            && instead(&self.granted, observed).count() == self.containers.len()
            && instead(&self.granted, observed).all(of)
    }

    /// What an agent kept of a pod; `None` when there is nothing that can be read.
    pub(crate) fn load(paths: &PodPaths) -> Option<Self> {
        let read = || -> io::Result<Option<Self>> {
            let Some(text) = directory::read_sizes(paths)? else { return Ok(None) };
            Ok(Some(serde_json::from_slice(&text)?))
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(pod = %paths.root().display(), %error, "what the pod was granted is not known");
            None
        })
    }

    pub(crate) fn save(&self, paths: &PodPaths) -> io::Result<()> {
        directory::write_sizes(paths, &serde_json::to_vec(self)?)
    }

    /// Puts what the groups have into what is known of a pod that runs.
    pub(crate) fn restore(self, observed: &mut Observed) {
        for (name, has) in self.containers {
            if let Some(state) = observed.containers.get_mut(&ContainerName::from(name.as_str())) {
                state.sizes = Some(has);
            }
        }
        if let Some(group) = self.group {
            observed.resizing.group = Some(Arc::new(group));
        }
    }
}

/// What running containers have instead of what was granted.
fn instead<'o>(
    granted: &Sizes,
    observed: &'o Observed,
) -> impl Iterator<Item = (&'o ContainerName, &'o ResourceRequirements)> {
    let running = observed.containers.iter().filter(|(_, state)| matches!(state.run, Run::Running(_)));
    let has = running.filter_map(|(name, state)| Some((name, state.sizes.as_ref()?)));
    has.filter(move |(name, has)| granted.containers.get(name.as_str()).is_some_and(|own| !same(own, has)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::observed::Report;
    use crate::pod::step::Step;
    use crate::pod::testing::{at, pod_of};

    #[test]
    fn only_what_differs_is_kept() {
        let sized = |cpu: &str| {
            pod_of(&format!(
                r#"{{"containers": [{{"name": "c", "resources": {{"requests": {{"cpu": "{cpu}"}}}}}}]}}"#
            ))
        };
        let (before, now) = (sized("1"), sized("2"));
        let mut observed = Observed::new(at(0));
        observed.issue(&Step::StartSandbox, &before, at(0));
        observed.issue(&Step::Start { container: "c".into(), attempt: 0 }, &before, at(0));
        let (container, id) = ("c".into(), "x".to_owned());
        let started = Report::Started { container, attempt: 0, id, at: at(1), user: Default::default() };
        observed.apply(started, &before, at(1));
        assert_eq!(Kept::of(&before, &observed), Kept { granted: Sizes::of(&before), ..Kept::default() });

        let directory = tempfile::tempdir().unwrap();
        directory::prepare(directory.path()).unwrap();
        let paths = PodPaths::new(directory.path(), &now.uid);
        assert_eq!(Kept::load(&paths), None);
        let kept = Kept::of(&now, &observed);
        kept.save(&paths).unwrap();
        let loaded = Kept::load(&paths).unwrap();
        assert!(kept.is_current(&now, &observed) && !kept.is_current(&before, &observed));
        assert_eq!(loaded, kept);
        let mut later = observed.clone();
        later.resizing.group = Some(Arc::new(Sizes::of(&now)));
        later.containers.get_mut(&ContainerName::from("c")).unwrap().sizes = None;
        loaded.restore(&mut later);
        assert_eq!(later.resizing.group, observed.resizing.group);
        assert_eq!(later.container(&"c".into()).sizes, observed.container(&"c".into()).sizes);
    }
}
