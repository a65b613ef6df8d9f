//! Who makes the volumes of a class, and who takes volumes away: always somebody else, for this program has no plugins.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt;
use skiff_volumes::annotations;

/// The drivers that care for volumes of what were plugins of Kubernetes.
const MIGRATED: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];
/// What the names of Kubernetes' own plugins begin with.
const PLUGINS: &str = "kubernetes.io/";

/// Who is asked to make volumes for a class with this provisioner, or why nobody is.
pub(super) fn asked(provisioner: &str) -> Result<&str, String> {
    if let Some((_, driver)) = MIGRATED.iter().find(|(plugin, _)| *plugin == provisioner) {
        return Ok(driver);
    }
    if provisioner.starts_with(PLUGINS) {
        return Err(format!("no volume plugin matched name: {provisioner}"));
    }
    Ok(provisioner)
}

/// Whether somebody takes away the volume, or why nobody does.
pub(super) fn deletion(volume: &PersistentVolume) -> Result<(), String> {
    let made_by = volume.annotations().get(annotations::PROVISIONED_BY).filter(|name| !name.is_empty());
    if let Some(name) = made_by {
        return asked(name).map(drop);
    }
    let is_migrated = volume.annotations().contains_key(annotations::MIGRATED_TO);
    if is_migrated || volume.spec.as_ref().is_some_and(|spec| spec.csi.is_some()) {
        return Ok(());
    }
    let name = volume.name_any();
    Err(format!(
        "error getting deleter volume plugin for volume \"{name}\": no deletable volume plugin matched"
    ))
}
