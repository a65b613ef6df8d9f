//! What a pod may take of the node's disk: by `sizeLimit` of its emptyDirs and by `limits[ephemeral-storage]` of its
//! containers. One that takes more is ended as the kubelet's eviction manager ends it, at once and for good.
//!
//! No kernel tells when a directory grows beyond a size (where file systems have quotas, they refuse writes instead), so pods with
//! such limits, and only they, are looked at every ten seconds, as the kubelet looks at all.

use super::admission::at_the_same_time;
use super::local::{LocalContainer, LocalPod, Role};
use super::tasks::Done;
use super::worker::Worker;
use crate::directory;
use crate::ids::ContainerName;
use crate::quantity::{binary, units};
use crate::shared::Shared;
use crate::stats::gather::logs;
use crate::volumes::Place;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_ordered::Ordered as _;
use skiff_runtime::{ContainerStatus, PodHandle};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How long after one look the next one comes.
const PAUSE: Duration = Duration::from_secs(10);
const RESOURCE: &str = "ephemeral-storage";

/// The limits of a pod that has some.
#[derive(Debug, Default, PartialEq)]
struct Limits {
    /// Of emptyDirs, by volume.
    volumes: Vec<(String, Limit)>,
    /// Of main containers: what they log and write outside their volumes.
    containers: Vec<(ContainerName, Limit)>,
    /// Of everything together.
    pod: Option<Limit>,
}

/// A number of bytes, as it was written.
#[derive(Debug, PartialEq)]
struct Limit {
    bytes: u64,
    text: String,
}

/// Bytes that a pod has on the disk.
#[derive(Debug, Default)]
struct Taken {
    /// By its emptyDirs.
    volumes: BTreeMap<String, u64>,
    /// By its running containers.
    containers: BTreeMap<ContainerName, u64>,
}

impl Limit {
    fn of(quantity: &Quantity) -> Option<Self> {
        let bytes = units(quantity).and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0)?;
        Some(Self { bytes, text: quantity.0.clone() })
    }
}

/// The limit that a container's specification names.
fn of_container(container: &LocalContainer) -> Option<Limit> {
    let limits = container.spec.resources.as_ref()?.limits.as_ref()?;
    limits.get(RESOURCE).and_then(Limit::of)
}

/// The names of emptyDirs on the disk, with their limits. Those in memory are as large as they may be.
fn empty_dirs(pod: &LocalPod) -> impl Iterator<Item = (&str, Option<Limit>)> {
    pod.spec.volumes.iter().flatten().filter_map(|volume| {
        let source = volume.empty_dir.as_ref()?;
        let on_disk = source.medium.as_deref().unwrap_or_default().is_empty();
        on_disk.then(|| (volume.name.as_str(), source.size_limit.as_ref().and_then(Limit::of)))
    })
}

impl Limits {
    /// Those of `pod`; `None` when it has none.
    fn of(pod: &LocalPod) -> Option<Self> {
        let volumes = empty_dirs(pod).filter_map(|(name, limit)| Some((name.to_owned(), limit?)));
        let containers = pod.with_role(Role::Main).filter_map(|c| Some((c.name.clone(), of_container(c)?)));
        let bytes = |c: &LocalContainer| {
            of_container(c).map_or(0, |limit| i64::try_from(limit.bytes).unwrap_or(i64::MAX))
        };
        let sum = u64::try_from(at_the_same_time(pod, bytes)).unwrap_or(0);
        let limits = Self {
            volumes: volumes.collect(),
            containers: containers.collect(),
            pod: (sum > 0).then(|| Limit { bytes: sum, text: binary(sum).0 }),
        };
        (limits != Self::default()).then_some(limits)
    }

    /// What to say of a pod that takes too much.
    fn exceeded_by(&self, taken: &Taken) -> Option<String> {
        let over = |limit: &Limit, bytes: Option<&u64>| bytes.is_some_and(|bytes| *bytes > limit.bytes);
        let volume = self.volumes.iter().find(|(name, limit)| over(limit, taken.volumes.get(name)));
        let volume = volume.map(|(name, limit)| {
            format!("Usage of EmptyDir volume {name:?} exceeds the limit {:?}. ", limit.text)
        });
        let sum = taken
            .volumes
            .values()
            .chain(taken.containers.values())
            .fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        let whole = || {
            let limit = self.pod.as_ref().filter(|limit| over(limit, Some(&sum)))?;
            Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {}. ",
                limit.text
            ))
        };
        let container = || {
            let over = self.containers.iter().find(|(name, limit)| over(limit, taken.containers.get(name)));
            over.map(|(name, limit)| {
                format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.text)
            })
        };
        volume.or_else(whole).or_else(container)
    }
}

impl Worker {
    /// Sees to it that what the pod takes is looked at while it runs, if it has limits.
    pub(super) fn watch_storage(&mut self) {
        if self.looking || self.observed.ending.is_some() || !self.observed.any_up() {
            return;
        }
        let (Some(limits), Some(handle)) = (Limits::of(&self.pod), self.handle.clone()) else { return };
        self.looking = true;
        let (shared, pod, ending) = (self.shared.clone(), self.pod.clone(), self.tasks.ending.clone());
        self.tasks.spawn(async move {
            if tokio::time::timeout(PAUSE, ending.cancelled()).await.is_ok() {
                return Done::Storage(None);
            }
            let name = pod.full_name();
            let look = move || measure(&shared, &pod, &handle).map(|taken| limits.exceeded_by(&taken));
            let found = tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten();
            Done::Storage(found.unwrap_or_else(|error| {
                tracing::warn!(pod = name, %error, "what the pod takes of the disk cannot be read");
                None
            }))
        });
    }
}

/// Looks at every file that the pod has on the disk.
fn measure(shared: &Shared, pod: &LocalPod, handle: &PodHandle) -> io::Result<Taken> {
    let paths = shared.paths(&pod.uid);
    let volumes =
        empty_dirs(pod).map(|(name, _)| Ok((name.to_owned(), Place::new(&paths, name).open()?.usage()?)));
    let volumes: Vec<_> = volumes.collect::<io::Result<_>>()?;
    let directory = directory::open(&paths)?;
    let state = handle.watch().borrow().clone();
    let mut containers = BTreeMap::new();
    for run in state.containers.iter().filter(|run| matches!(run.status, ContainerStatus::Running { .. })) {
        let name = ContainerName::from(run.name.as_str());
        let logged = directory.as_ref().and_then(|pod| logs(pod, &name).ok()).map_or(0, |(bytes, _)| bytes);
        containers.insert(name, logged.saturating_add(handle.layer_usage(&run.id)?));
    }
    Ok(Taken { volumes: volumes.into_iter().to_map(), containers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    #[test]
    fn what_is_too_much_is_told_as_the_kubelet_tells_it() {
        let pod = pod_of(
            r#"{"volumes": [{"name": "e", "emptyDir": {"sizeLimit": "10Mi"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}},
                            {"name": "f", "emptyDir": {}}],
                "containers": [{"name": "a", "resources": {"limits": {"ephemeral-storage": "1Mi"}}},
                               {"name": "b", "resources": {"limits": {"ephemeral-storage": "30Mi"}}}, {"name": "c"}]}"#,
        );
        let limits = Limits::of(&pod).unwrap();
        let check = |volumes: &[(&str, u64)], containers: &[(&str, u64)], expected: &str| {
            let taken = Taken {
                volumes: volumes.iter().map(|(name, mib)| ((*name).to_owned(), mib << 20)).collect(),
                containers: containers
                    .iter()
                    .map(|(name, mib)| (ContainerName::from(*name), mib << 20))
                    .collect(),
            };
            assert_eq!(limits.exceeded_by(&taken).unwrap_or_default(), expected);
        };
        check(&[("e", 10), ("f", 20)], &[("a", 1)], "");
        check(&[("e", 11)], &[("a", 2)], "Usage of EmptyDir volume \"e\" exceeds the limit \"10Mi\". ");
        let sum = "Pod ephemeral local storage usage exceeds the total limit of containers 31Mi. ";
        check(&[("f", 20)], &[("b", 2), ("c", 10)], sum);
        check(&[], &[("a", 2)], "Container a exceeded its local ephemeral storage limit \"1Mi\". ");
        check(&[], &[("c", 20)], "");
    }

    #[test]
    fn most_pods_are_not_looked_at() {
        let none = |spec: &str| assert_eq!(Limits::of(&pod_of(spec)), None, "{spec}");
        none(
            r#"{"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}], "volumes": [{"name": "e", "emptyDir": {}}]}"#,
        );
        none(
            r#"{"containers": [], "volumes": [{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}"#,
        );
        none(r#"{"containers": [], "volumes": [{"name": "e", "emptyDir": {"sizeLimit": "0"}}]}"#);
    }
}
