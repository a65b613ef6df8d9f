//! What the scheduler knows of a pod's volumes.

use k8s_openapi::api::core::v1::{PodSpec, Volume};
use skiff_informer::ObjectKey;
use skiff_volumes::{Csi, claim_of};

/// The volumes of a pod that not every node can give it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodVolumes {
    /// The pod's name.
    pub pod: String,
    /// Those that are claimed.
    pub claims: Vec<Claimed>,
    /// Those that are disks which not every two pods can share.
    pub disks: Vec<Disk>,
    /// Those that CSI drivers mount though the pod brings them along.
    pub inline: Vec<Csi>,
}

/// A claim that is a volume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claimed {
    /// The claim.
    pub key: ObjectKey,
    /// Whether it was made for this pod, and goes with it.
    pub is_own: bool,
}

/// A disk outside of the cluster, and whether it is only read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Disk {
    Google { name: String, read_only: bool },
    Amazon { id: String },
    Iscsi { iqn: String, read_only: bool },
    Ceph { monitors: Vec<String>, pool: String, image: String, read_only: bool },
}

impl PodVolumes {
    /// Reads the volumes of a pod; `None` if every node can give it all of them.
    pub(crate) fn of(namespace: &str, pod: &str, spec: &PodSpec) -> Option<Box<Self>> {
        let volumes = || spec.volumes.iter().flatten();
        let claims = volumes().filter_map(|volume| claim_of(pod, volume));
        let claims = claims.map(|(claim, is_own)| Claimed { key: ObjectKey::new(namespace, &claim), is_own });
        let all = Self {
            pod: pod.to_owned(),
            claims: claims.collect(),
            disks: volumes().filter_map(Disk::of).collect(),
            inline: volumes().filter_map(Csi::of_inline).collect(),
        };
        let has_some = !all.claims.is_empty() || !all.disks.is_empty() || !all.inline.is_empty();
        has_some.then(|| Box::new(all))
    }
}

impl Disk {
    fn of(volume: &Volume) -> Option<Self> {
        let is_set = |flag: Option<bool>| flag.unwrap_or(false);
        if let Some(disk) = &volume.gce_persistent_disk {
            return Some(Self::Google { name: disk.pd_name.clone(), read_only: is_set(disk.read_only) });
        }
        if let Some(disk) = &volume.aws_elastic_block_store {
            return Some(Self::Amazon { id: disk.volume_id.clone() });
        }
        if let Some(disk) = &volume.iscsi {
            return Some(Self::Iscsi { iqn: disk.iqn.clone(), read_only: is_set(disk.read_only) });
        }
        volume.rbd.as_ref().map(|disk| Self::Ceph {
            monitors: disk.monitors.clone(),
            pool: disk.pool.clone().unwrap_or_default(),
            image: disk.image.clone(),
            read_only: is_set(disk.read_only),
        })
    }

    /// Whether pods with the one and the other cannot be on one node.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Google { name, read_only }, Self::Google { name: other, read_only: both }) => {
                name == other && !(*read_only && *both)
            }
            (Self::Amazon { id }, Self::Amazon { id: other }) => id == other,
            (Self::Iscsi { iqn, read_only }, Self::Iscsi { iqn: other, read_only: both }) => {
                iqn == other && !(*read_only && *both)
            }
            (
                Self::Ceph { monitors, pool, image, read_only },
                Self::Ceph { monitors: others, pool: other_pool, image: other_image, read_only: both },
            ) => {
                let meet = monitors.iter().any(|monitor| others.contains(monitor));
                meet && pool == other_pool && image == other_image && !(*read_only && *both)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volumes(volumes: Value) -> Option<Box<PodVolumes>> {
        let spec = json!({"containers": [], "volumes": volumes});
        PodVolumes::of("ns", "p", &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn claims_are_named_or_the_pods_own() {
        let found = volumes(json!([
            {"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "ephemeral": {}},
            {"name": "c", "emptyDir": {}},
        ]));
        let claims = found.unwrap().claims;
        let named = Claimed { key: ObjectKey::new("ns", "data"), is_own: false };
        assert_eq!(claims, [named, Claimed { key: ObjectKey::new("ns", "p-b"), is_own: true }]);
        assert_eq!(volumes(json!([{"name": "c", "emptyDir": {}}])), None);
    }

    #[test]
    fn disks_that_are_written_are_not_shared() {
        let check = |one: Value, other: Value, expected: bool| {
            let disk = |source: &Value| {
                let mut volume = source.clone();
                volume["name"] = "v".into();
                volumes(json!([volume])).unwrap().disks.remove(0)
            };
            assert_eq!(disk(&one).conflicts(&disk(&other)), expected, "{one} {other}");
        };
        let google = |name: &str, read_only: bool| json!({"gcePersistentDisk": {"pdName": name, "readOnly": read_only}});
        check(google("a", true), google("a", true), false);
        check(google("a", true), google("a", false), true);
        check(google("a", false), google("b", false), false);
        let amazon = json!({"awsElasticBlockStore": {"volumeID": "a"}});
        check(amazon.clone(), amazon.clone(), true);
        check(amazon, google("a", false), false);
        let iscsi = json!({"iscsi": {"targetPortal": "t", "iqn": "i", "lun": 0}});
        check(iscsi.clone(), iscsi, true);
        let ceph = |monitors: &[&str]| json!({"rbd": {"monitors": monitors, "pool": "p", "image": "i"}});
        check(ceph(&["a", "b"]), ceph(&["b"]), true);
        check(ceph(&["a"]), ceph(&["b"]), false);
    }
}
