//! Whom the files of a volume belong to.

use crate::pod::local::LocalPod;
use k8s_openapi::api::core::v1::Volume;
use skiff_rooted::Owner;
use skiff_runtime::IdRange;

/// Owners of what the agent makes in a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The pod's `fsGroup`.
    group: Option<u32>,
    /// The IDs of the pod on the node, where the volume stores those.
    range: Option<IdRange>,
}

impl Ownership {
    /// The owners in a volume of a pod that has these IDs on the node, if it has a user namespace. On disk they are stored as
    /// the pod means them, and shown to its containers by ID-mapped mounts; what is in memory is stored as the node sees it,
    /// since memory can be mounted so only from Linux 6.3 on.
    pub(crate) fn of(pod: &LocalPod, volume: &Volume, users: Option<IdRange>) -> Self {
        Self { group: fs_group(pod), range: users.filter(|_| in_memory(volume)) }
    }

    /// Those of a volume that a group owns.
    #[cfg(test)]
    pub(crate) fn of_group(group: u32) -> Self {
        Self { group: Some(group), range: None }
    }

    /// Whether a group of the pod's owns the volume.
    pub(crate) fn has_group(self) -> bool {
        self.group.is_some()
    }

    /// The owner of what belongs to `user`, or to root. One that the user namespace does not have cannot be used in it, and
    /// its files are root's.
    pub(crate) fn owner(self, user: Option<u32>) -> Owner {
        let Some(range) = self.range else { return Owner { user, group: self.group } };
        let on_node = |id: Option<u32>| Some(id.and_then(|id| range.on_node(id)).unwrap_or(range.first()));
        Owner { user: on_node(user), group: on_node(self.group) }
    }
}

/// Whether a volume is memory. What may be secret never touches the disk.
pub(crate) fn in_memory(volume: &Volume) -> bool {
    let medium = volume.empty_dir.as_ref().and_then(|source| source.medium.as_deref());
    volume.secret.is_some() || volume.projected.is_some() || medium == Some("Memory")
}

/// The group that owns the pod's volumes.
pub(super) fn fs_group(pod: &LocalPod) -> Option<u32> {
    let group = pod.spec.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    #[test]
    fn what_is_in_memory_has_ids_of_the_node() {
        let check = |volume: &str,
                     range: Option<u32>,
                     user: Option<u32>,
                     expected: (Option<u32>, Option<u32>)| {
            let pod = pod_of(&format!(
                r#"{{"securityContext": {{"fsGroup": 5}}, "containers": [], "volumes": [{{"name": "v", {volume}}}]}}"#
            ));
            let volume = &pod.spec.volumes.as_ref().unwrap()[0];
            let own = Ownership::of(&pod, volume, range.and_then(IdRange::nth));
            let owner = own.owner(user);
            assert!(own.has_group());
            assert_eq!((owner.user, owner.group), expected, "{volume:?} {range:?} {user:?}");
        };
        let (disk, memory) = (r#""emptyDir": {}"#, r#""emptyDir": {"medium": "Memory"}"#);
        check(disk, None, Some(7), (Some(7), Some(5)));
        check(disk, Some(0), Some(7), (Some(7), Some(5)));
        check(disk, Some(0), None, (None, Some(5)));
        check(memory, None, None, (None, Some(5)));
        check(memory, Some(0), None, (Some(65_536), Some(65_541)));
        check(memory, Some(1), Some(7), (Some(131_079), Some(131_077)));
        check(r#""secret": {"secretName": "s"}"#, Some(0), Some(70_000), (Some(65_536), Some(65_541)));
        check(r#""projected": {"sources": []}"#, Some(0), None, (Some(65_536), Some(65_541)));
        check(r#""configMap": {"name": "c"}"#, Some(0), None, (None, Some(5)));
    }
}
