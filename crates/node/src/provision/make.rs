//! Volumes made and removed, with their objects.

use super::class::Backing;
use super::decide::{Begun, FINALIZER, Order, STORAGE, begun, name_for, without_finalizer};
use super::{Error, Provisioner, reference};
use crate::volumes::claims::resolve::{PROVISIONED_BY, PROVISIONER};
use crate::volumes::claims::{Bound, ClaimVolume, NodeVolumes, Source, image};
use crate::volumes::{Volume as _, VolumeError};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use skiff_informer::EventType::{Normal, Warning};
use skiff_informer::{ObjectKey, is_already_exists, is_not_found};
use std::path::{Path, PathBuf};

/// The annotation that says what holds a volume: `file`, or `directory`, whose size nobody enforces.
const BACKING: &str = "skiff.internal/backing";

/// What was made for a claim.
struct Made {
    path: PathBuf,
    /// Why nobody enforces its size, if nobody does.
    unbounded: Option<String>,
}

impl Provisioner {
    /// Makes a volume for the claim.
    pub(super) async fn provision(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        order: Order,
        hostname: &str,
    ) -> Result<(), Error> {
        let volume = name_for(claim);
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        // The claim is not bound yet, but the volume is there.
        if api.get_metadata_opt(&volume).await?.is_some() {
            return self.set_known(volume).await;
        }
        let full_name = format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any());
        let tell = |kind, reason, message| self.events.event(reference(claim), kind, reason, message);
        tell(
            Normal,
            "Provisioning",
            format!("External provisioner is provisioning volume for claim \"{full_name}\""),
        );
        let (node, name, ordered) = (self.node(), volume.clone(), order.clone());
        let made = tokio::task::spawn_blocking(move || node.alone(&name, || make(&node, &name, &ordered)));
        let made = match made.await? {
            Ok(made) => made,
            Err(error) => {
                self.not_provisioned(claim, class, &error.to_string());
                return Err(error.into());
            }
        };
        let object = object(&volume, claim, class, &made, hostname);
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &object).await {
            Err(error) if !is_already_exists(&error) => {
                self.not_provisioned(claim, class, &skiff_informer::describe(&error));
                return Err(error.into());
            }
            _ => {}
        }
        tell(Normal, "ProvisioningSucceeded", format!("Successfully provisioned volume {volume}"));
        if let Some(reason) = made.unbounded {
            let message = format!(
                "The size of volume {volume} is not enforced: it is a directory on the node's disk, {reason}"
            );
            tell(Warning, "SizeNotEnforced", message);
        }
        self.set_known(volume).await
    }

    async fn set_known(&self, volume: String) -> Result<(), Error> {
        let node = self.node();
        Ok(tokio::task::spawn_blocking(move || node.set_known(&volume)).await??)
    }

    /// Removes what was made for claims that are gone, and of which the API was never told: an agent was killed in between, or the
    /// API refused it.
    pub(super) async fn remove_unknown(&self) -> Result<(), Error> {
        let node = self.node();
        for volume in tokio::task::spawn_blocking(move || node.being_made()).await?? {
            let known = self.volumes.get(&ObjectKey::cluster(&volume)).is_some();
            match begun(&volume, known, &self.claims.all()) {
                Begun::Wanted => continue,
                Begun::Known => {}
                Begun::Abandoned => {
                    tracing::info!(volume, "removing a volume whose claim is gone");
                    let (node, volume) = (self.node(), volume.clone());
                    let work = move || node.alone(&volume, || image::remove(&node, &volume));
                    tokio::task::spawn_blocking(work).await??;
                }
            }
            self.set_known(volume).await?;
        }
        Ok(())
    }

    /// Removes the data of a volume, then its object.
    pub(super) async fn delete(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let (node, name) = (self.node(), volume.name_any());
        let path = path_of(volume).to_owned();
        let work = move || node.alone(&name, || remove(&node, &name, &path));
        tokio::task::spawn_blocking(work).await??;
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        let (name, uid) = (volume.name_any(), volume.uid());
        if volume.metadata.deletion_timestamp.is_none() {
            let preconditions = Preconditions { uid, ..Preconditions::default() };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            gone_is_fine(api.delete(&name, &params).await.map(drop))?;
        }
        self.set_finalizers(volume, without_finalizer(volume)).await
    }

    /// Replaces the finalizers of a volume, as it was seen.
    pub(super) async fn set_finalizers(
        &self,
        volume: &PersistentVolume,
        all: Vec<String>,
    ) -> Result<(), Error> {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        let current = match api.get_metadata_opt(&volume.name_any()).await? {
            Some(current) if current.metadata.uid == volume.metadata.uid => current,
            _ => return Ok(()),
        };
        // Those of others may have changed since.
        let mut wanted: Vec<String> =
            current.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
        if all.iter().any(|name| name == FINALIZER) {
            wanted.push(FINALIZER.to_owned());
        }
        let (name, version) = (volume.name_any(), current.resource_version());
        let change = Patch::Merge(json!({"metadata": {"finalizers": wanted, "resourceVersion": version}}));
        gone_is_fine(api.patch_metadata(&name, &PatchParams::default(), &change).await.map(drop))
    }
}

fn gone_is_fine(done: kube::Result<()>) -> Result<(), Error> {
    match done {
        Err(error) if !is_not_found(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn make(node: &NodeVolumes, volume: &str, order: &Order) -> Result<Made, VolumeError> {
    node.begin(volume)?;
    let directory = |reason: String| {
        let path = image::make_directory(node, volume)?;
        Ok(Made { path, unbounded: Some(reason) })
    };
    if order.backing == Backing::Directory {
        return directory("as its class says".into());
    }
    match image::make(node, volume, order.bytes, order.block) {
        Ok(path) => Ok(Made { path, unbounded: None }),
        Err(error) if order.backing == Backing::FileIfPossible && !order.block && !is_full(&error) => {
            tracing::warn!(volume, %error, "a volume is a directory, whose size nobody enforces");
            directory(format!("since this node cannot mount a file: {error}"))
        }
        Err(error) => Err(error),
    }
}

/// Whether something failed for want of room: there is no disk for it, or no file can be so long.
fn is_full(error: &VolumeError) -> bool {
    use std::io::ErrorKind::{FileTooLarge, StorageFull};
    matches!(error, VolumeError::Io { source, .. } if [StorageFull, FileTooLarge].contains(&source.kind()))
}

/// The PersistentVolume for what was made.
fn object(
    volume: &str,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    made: &Made,
    hostname: &str,
) -> Value {
    let none = Default::default();
    let spec = claim.spec.as_ref().unwrap_or(&none);
    let asked = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(STORAGE));
    let policy = class.reclaim_policy.as_deref().unwrap_or("Delete");
    let finalizers = if policy == "Delete" { vec![FINALIZER] } else { Vec::new() };
    let backing = if made.unbounded.is_some() { "directory" } else { "file" };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": volume, "finalizers": finalizers,
            "annotations": {PROVISIONED_BY: PROVISIONER, BACKING: backing},
        },
        "spec": {
            "capacity": {STORAGE: asked}, "accessModes": spec.access_modes, "volumeMode": spec.volume_mode,
            "persistentVolumeReclaimPolicy": policy, "storageClassName": class.name_any(),
            "mountOptions": class.mount_options, "local": {"path": made.path},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(),
                "name": claim.name_any(), "uid": claim.uid(), "resourceVersion": claim.resource_version(),
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [hostname]},
            ]}]}},
        },
    })
}

pub(super) fn path_of(volume: &PersistentVolume) -> &str {
    let local = volume.spec.as_ref().and_then(|spec| spec.local.as_ref());
    local.map_or("", |local| local.path.as_str())
}

/// Whether the volume at a path that this provisioner gave it is a file.
pub(super) fn is_file(path: &str) -> bool {
    Path::new(path).ends_with(image::FILE)
}

/// What a volume that this provisioner made means, without its mount options.
pub(super) fn plain(volume: &str, path: &str, block: bool) -> ClaimVolume {
    let source = if is_file(path) {
        Source::Image { path: path.into() }
    } else {
        Source::Local { path: path.to_owned(), fs_type: None }
    };
    ClaimVolume { volume: volume.to_owned(), source, block, readonly: false, options: Vec::new() }
}

/// Whether a path is one of those that this provisioner gives a volume.
pub(super) fn is_made_here(node: &NodeVolumes, volume: &str, path: &str) -> bool {
    let own = node.made_path(volume);
    [image::FILE, image::FILES].iter().any(|name| own.join(name) == Path::new(path))
}

/// Removes the data of a volume that nobody uses.
fn remove(node: &NodeVolumes, volume: &str, path: &str) -> Result<(), Error> {
    if !is_made_here(node, volume, path) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let users =
        node.others(volume, None).map_err(VolumeError::io("look for the users of", Path::new(path)))?;
    if !users.is_empty() {
        let users: Vec<&str> = users.iter().map(|uid| uid.as_str()).collect();
        return Err(Error::InUse(users.join(", ")));
    }
    Bound { volume: &plain(volume, path, false), node }.unstage()?;
    Ok(image::remove(node, volume)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_the_claims_and_this_nodes() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
                "resources": {"requests": {"storage": "1500M"}}},
        }))
        .unwrap();
        let class = |policy: &str| -> StorageClass {
            serde_json::from_value(json!({"metadata": {"name": "local-path"}, "provisioner": PROVISIONER,
                "reclaimPolicy": policy, "mountOptions": ["noatime"]}))
            .unwrap()
        };
        let made = Made { path: "/d/volumes/pvc-u/disk".into(), unbounded: None };
        let object = |policy: &str| -> PersistentVolume {
            serde_json::from_value(super::object("pvc-u", &claim, &class(policy), &made, "host")).unwrap()
        };
        let volume = object("Delete");
        assert_eq!(volume.finalizers(), [FINALIZER]);
        assert_eq!(volume.annotations()[BACKING], "file");
        let spec = volume.spec.unwrap();
        assert_eq!(spec.capacity.unwrap()[STORAGE].0, "1500M");
        assert_eq!(spec.mount_options.unwrap(), ["noatime"]);
        let reference = spec.claim_ref.unwrap();
        assert_eq!((reference.uid.as_deref(), reference.resource_version.as_deref()), (Some("u"), Some("7")));
        assert!(object("Retain").finalizers().is_empty());
    }

    #[test]
    fn nothing_of_others_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let node = NodeVolumes::new(directory.path(), Default::default());
        let path = image::make_directory(&node, "pvc-u").unwrap();
        std::fs::write(path.join("data"), "").unwrap();
        let other = directory.path().join("volumes/pvc-v/files").display().to_string();
        for path in ["/etc", "", &other] {
            assert!(matches!(remove(&node, "pvc-u", path), Err(Error::Foreign { .. })), "{path}");
        }
        assert!(path.join("data").exists());
        remove(&node, "pvc-u", &path.display().to_string()).unwrap();
        assert!(!node.made_path("pvc-u").exists());
        remove(&node, "pvc-u", &path.display().to_string()).unwrap();
    }
}
