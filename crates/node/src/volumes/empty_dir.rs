//! Directories that begin empty and end with their pod: on disk or in memory.

use super::content::ContentContext;
use super::ownership::{Ownership, in_memory};
use super::{Place, Remark, Shown, Volume, VolumeError};
use crate::container::limits::pod_limit;
use crate::quantity::{amount, units};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume as ApiVolume};
use skiff_rooted::Owner;
use skiff_runtime::FileIds;

/// An emptyDir; also a volume without any source.
pub(super) struct EmptyDir<'a> {
    pub(super) volume: &'a ApiVolume,
    pub(super) source: EmptyDirVolumeSource,
}

impl Volume for EmptyDir<'_> {
    fn publish(
        &self,
        place: &Place<'_>,
        context: &ContentContext<'_>,
    ) -> Result<Option<Remark>, VolumeError> {
        let owners = Ownership::of(context.pod, self.volume, context.users);
        let (mode, owner) = writable_for_all(owners);
        let made = match self.source.medium.as_deref() {
            None | Some("") => place.directory(mode, owner),
            Some("Memory") => {
                let limit = self.memory_limit(context);
                // Without a group, as the kubelet's: nobody removes what is another's.
                let sticky = if owners.has_group() { 0 } else { 0o1000 };
                place.memory(limit, mode | sticky, owner)
            }
            Some(medium) => return Err(VolumeError::Medium { medium: medium.into() }),
        };
        made.map(|_| None)
    }

    fn shown(&self, place: &Place<'_>) -> Shown {
        let ids = if in_memory(self.volume) { FileIds::Node } else { FileIds::Container };
        Shown { ids, ..Shown::of(place.path()) }
    }
}

impl EmptyDir<'_> {
    /// The bytes that a volume in memory may hold: no more than its pod, or all pods of the node, may have. As the kubelet's
    /// `calculateEmptyDirMemorySize`.
    fn memory_limit(&self, context: &ContentContext<'_>) -> Option<i64> {
        let own = self.source.size_limit.as_ref().and_then(units);
        let allocatable = amount(Some(context.allocatable), "memory");
        let all = [own, pod_limit(context.pod, "memory"), Some(allocatable)];
        all.into_iter().flatten().filter(|limit| *limit > 0).min()
    }
}

/// Mode and owner of a directory that every user of the pod may write to. With an `fsGroup` what is made in it belongs to
/// that group; it is empty when it is made, so there is nothing below whose group would have to change.
pub(super) fn writable_for_all(owners: Ownership) -> (u32, Owner) {
    (if owners.has_group() { 0o2777 } else { 0o777 }, owners.owner(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::references::Sources;
    use crate::pod::testing::pod_of;

    #[test]
    fn memory_is_bounded_by_what_the_pod_may_have() {
        let check = |size: &str, containers: &str, expected: Option<i64>| {
            let pod = pod_of(&format!(r#"{{"containers": [{containers}]}}"#));
            let volume: ApiVolume = serde_json::from_str(&format!(
                r#"{{"name": "v", "emptyDir": {{"medium": "Memory"{size}}}}}"#
            ))
            .unwrap();
            let context = ContentContext {
                pod: &pod,
                sources: &Sources::default(),
                tokens: &Default::default(),
                allocatable: &[("memory".to_owned(), crate::quantity::binary(1 << 30))].into(),
                users: None,
            };
            let source = volume.empty_dir.clone().unwrap();
            assert_eq!(
                EmptyDir { volume: &volume, source }.memory_limit(&context),
                expected,
                "{size} {containers}"
            );
        };
        let limited = r#"{"name": "a", "resources": {"limits": {"memory": "32Mi"}}}"#;
        check("", r#"{"name": "a"}"#, Some(1 << 30));
        check("", limited, Some(32 << 20));
        check("", &format!(r#"{limited}, {{"name": "b"}}"#), Some(1 << 30));
        check(r#", "sizeLimit": "8Mi""#, limited, Some(8 << 20));
        check(r#", "sizeLimit": "64Mi""#, limited, Some(32 << 20));
        check(r#", "sizeLimit": "0""#, limited, Some(32 << 20));
    }
}
