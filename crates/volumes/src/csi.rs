//! What CSI drivers call volumes, those of Kubernetes' former plugins included, which CSI drivers care for now.
//!
//! Only the plugins are known whose volumes count for a node as those of their drivers do: the others' are counted by nobody.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PersistentVolumeSpec, Volume};

/// A volume as its CSI driver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csi {
    /// The driver that mounts it.
    pub driver: Box<str>,
    /// What the driver calls it.
    pub handle: Box<str>,
    /// Whether it is written as a volume of a former plugin.
    pub is_migrated: bool,
}

const AMAZON: &str = "ebs.csi.aws.com";
const GOOGLE: &str = "pd.csi.storage.gke.io";
const AZURE: &str = "disk.csi.azure.com";
const CINDER: &str = "cinder.csi.openstack.org";
const PORTWORX: &str = "pxd.portworx.com";

impl Csi {
    fn new(driver: &str, handle: &str) -> Self {
        Self { driver: driver.into(), handle: handle.into(), is_migrated: false }
    }

    fn migrated(driver: &str, handle: &str) -> Self {
        Self { is_migrated: true, ..Self::new(driver, handle) }
    }

    /// That of a persistent volume with these labels; none if no driver mounts it.
    pub(crate) fn of_volume(spec: &PersistentVolumeSpec, labels: &BTreeMap<String, String>) -> Option<Self> {
        if let Some(csi) = &spec.csi {
            return Some(Self::new(&csi.driver, &csi.volume_handle));
        }
        if let Some(disk) = &spec.aws_elastic_block_store {
            return amazon(&disk.volume_id);
        }
        if let Some(disk) = &spec.gce_persistent_disk {
            return google(&disk.pd_name, labels);
        }
        let azure = spec.azure_disk.as_ref().map(|disk| Self::migrated(AZURE, &disk.disk_uri));
        let cinder = || spec.cinder.as_ref().map(|disk| Self::migrated(CINDER, &disk.volume_id));
        let portworx = || spec.portworx_volume.as_ref().map(|disk| Self::migrated(PORTWORX, &disk.volume_id));
        azure.or_else(cinder).or_else(portworx)
    }

    /// That of a volume that a pod brings along; none if no driver counts it.
    pub fn of_inline(volume: &Volume) -> Option<Self> {
        if let Some(disk) = &volume.aws_elastic_block_store {
            return amazon(&disk.volume_id);
        }
        if let Some(disk) = &volume.gce_persistent_disk {
            return google(&disk.pd_name, &BTreeMap::new());
        }
        let azure = volume.azure_disk.as_ref().map(|disk| Self::migrated(AZURE, &disk.disk_uri));
        let cinder = || volume.cinder.as_ref().map(|disk| Self::migrated(CINDER, &disk.volume_id));
        let portworx =
            || volume.portworx_volume.as_ref().map(|disk| Self::migrated(PORTWORX, &disk.volume_id));
        azure.or_else(cinder).or_else(portworx)
    }

    /// The driver whose volumes a provisioner makes; none if nobody counts them.
    pub fn driver_of(provisioner: &str) -> Option<&str> {
        Some(match provisioner {
            "kubernetes.io/aws-ebs" => AMAZON,
            "kubernetes.io/gce-pd" => GOOGLE,
            "kubernetes.io/azure-disk" => AZURE,
            "kubernetes.io/cinder" => CINDER,
            "kubernetes.io/portworx-volume" => PORTWORX,
            "kubernetes.io/azure-file" | "kubernetes.io/vsphere-volume" => return None,
            other => other,
        })
    }
}

/// `aws://ZONE/vol-ID` or `vol-ID`.
fn amazon(id: &str) -> Option<Csi> {
    let Some(rest) = id.strip_prefix("aws://") else { return Some(Csi::migrated(AMAZON, id)) };
    let id = rest.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    (id.starts_with("vol-") && !id.contains('/')).then(|| Csi::migrated(AMAZON, id))
}

/// A disk, in the zones that the labels say.
fn google(name: &str, labels: &BTreeMap<String, String>) -> Option<Csi> {
    let label = |key: &str| labels.get(key).map(String::as_str).filter(|zones| !zones.is_empty());
    let zones =
        label("failure-domain.beta.kubernetes.io/zone").or_else(|| label("topology.kubernetes.io/zone"));
    let zones: Vec<&str> = zones.unwrap_or("UNSPECIFIED").split("__").collect();
    let place = match zones[..] {
        [zone] => format!("zones/{zone}"),
        _ => {
            let region = |zone: &&str| zone.rsplit_once('-').map(|(region, _)| region.to_owned());
            let regions: Option<BTreeSet<String>> = zones.iter().map(region).collect();
            let mut regions = regions?.into_iter();
            let region = regions.next().filter(|_| regions.next().is_none())?;
            format!("regions/{region}")
        }
    };
    Some(Csi::migrated(GOOGLE, &format!("projects/UNSPECIFIED/{place}/disks/{name}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn volumes_of_former_plugins_are_their_drivers() {
        let check = |source: Value, zones: &str, expected: Option<(&str, &str)>| {
            let spec: PersistentVolumeSpec = serde_json::from_value(source.clone()).unwrap();
            let labels = [("topology.kubernetes.io/zone".to_owned(), zones.to_owned())].into();
            let found = Csi::of_volume(&spec, &labels);
            let found = found.as_ref().map(|csi| (&*csi.driver, &*csi.handle));
            assert_eq!(found, expected, "{source} {zones}");
        };
        check(json!({"csi": {"driver": "d", "volumeHandle": "h"}}), "", Some(("d", "h")));
        check(json!({"hostPath": {"path": "/x"}}), "", None);
        let amazon = |id: &str| json!({"awsElasticBlockStore": {"volumeID": id}});
        check(amazon("vol-1"), "", Some((AMAZON, "vol-1")));
        check(amazon("aws://us-west-2a/vol-1"), "", Some((AMAZON, "vol-1")));
        check(amazon("aws:///vol-1"), "", Some((AMAZON, "vol-1")));
        check(amazon("aws://us-west-2a/disk-1"), "", None);
        let google = || json!({"gcePersistentDisk": {"pdName": "d"}});
        check(google(), "", Some((GOOGLE, "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d")));
        check(google(), "eu-a", Some((GOOGLE, "projects/UNSPECIFIED/zones/eu-a/disks/d")));
        check(google(), "eu-a__eu-b", Some((GOOGLE, "projects/UNSPECIFIED/regions/eu/disks/d")));
        check(google(), "eu-a__us-b", None);
        check(
            json!({"azureDisk": {"diskName": "n", "diskURI": "/subscriptions/d"}}),
            "",
            Some((AZURE, "/subscriptions/d")),
        );
        check(json!({"cinder": {"volumeID": "d"}}), "", Some((CINDER, "d")));
        check(json!({"portworxVolume": {"volumeID": "d"}}), "", Some((PORTWORX, "d")));
        check(json!({"vsphereVolume": {"volumePath": "d"}}), "", None);
    }

    #[test]
    fn volumes_of_pods_are_their_drivers_too() {
        let check = |source: Value, expected: Option<(&str, &str)>| {
            let mut volume = source.clone();
            volume["name"] = "v".into();
            let found = Csi::of_inline(&serde_json::from_value(volume).unwrap());
            let found = found.as_ref().map(|csi| (&*csi.driver, &*csi.handle));
            assert_eq!(found, expected, "{source}");
        };
        check(json!({"awsElasticBlockStore": {"volumeID": "aws://z/vol-1"}}), Some((AMAZON, "vol-1")));
        check(json!({"cinder": {"volumeID": "d"}}), Some((CINDER, "d")));
        // What a pod brings along for a driver of itself is no disk of a node's.
        check(json!({"csi": {"driver": "d"}}), None);
        check(json!({"emptyDir": {}}), None);
    }

    #[test]
    fn provisioners_are_drivers_or_former_plugins() {
        let check =
            |provisioner: &str, expected: Option<&str>| assert_eq!(Csi::driver_of(provisioner), expected);
        check("x.io/p", Some("x.io/p"));
        check("kubernetes.io/gce-pd", Some(GOOGLE));
        check("kubernetes.io/vsphere-volume", None);
    }
}
