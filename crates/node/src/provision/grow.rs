//! Volumes that grow with their claims, while pods use them. The words are those of Kubernetes' resizer and kubelet.

use super::decide::STORAGE;
use super::make::{is_file, is_made_here, path_of, plain};
use super::{Error, Provisioner, reference};
use crate::quantity::Amounts;
use crate::time::api_time;
use crate::volumes::claims::resolve::PROVISIONER;
use crate::volumes::claims::{Bound, NodeVolumes, Source};
use crate::volumes::{Volume as _, VolumeError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use skiff_informer::EventType::{Normal, Warning};
use skiff_runtime::PodUid;
use std::path::Path;

const RESIZING: &str = "Resizing";
const FILE_SYSTEM_PENDING: &str = "FileSystemResizePending";
const FILE_SYSTEM_RESIZED: &str = "FileSystemResizeSuccessful";

/// How far a claim's growth has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Begun,
    /// The volume has grown, its file system has not.
    FileSystemPending,
    Done,
}

impl Provisioner {
    /// Makes the claim's volume hold `bytes`, and says so.
    pub(super) async fn grow(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
        bytes: u64,
        node_name: &str,
    ) -> Result<(), Error> {
        // As it is now: what this did a moment ago may not have been heard of yet.
        let Some(current) = self.claims_of(claim).get_opt(&claim.name_any()).await? else { return Ok(()) };
        let told = current.status.as_ref().and_then(|status| status.capacity.as_ref());
        if told.is_some_and(|told| told.get(STORAGE) == requested(claim)) {
            return Ok(());
        }
        let (claim, name) = (&current, volume.name_any());
        let tell = |kind, reason, message| self.events.event(reference(claim), kind, reason, message);
        let block = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block");
        let has_file_system = !block && is_file(path_of(volume));
        // Once: a claim that changes is looked at again.
        if !has_condition(claim, RESIZING) && !has_condition(claim, FILE_SYSTEM_PENDING) {
            tell(Normal, "Resizing", format!("External resizer is resizing volume {name}"));
            self.report(claim, Progress::Begun).await?;
            if has_file_system {
                tell(
                    Normal,
                    "FileSystemResizeRequired",
                    "Require file system resize of volume on node".into(),
                );
            }
        }
        let (node, path, of) = (self.node(), path_of(volume).to_owned(), name.clone());
        let grown = move || node.alone(&of, || expand(&node, &of, &path, block, bytes));
        let users = match tokio::task::spawn_blocking(grown).await? {
            Ok(users) => users,
            Err(error) => return self.not_grown(claim, &name, error).await,
        };
        let size = requested(claim).cloned().unwrap_or_default();
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let capacity = json!({"spec": {"capacity": {STORAGE: size}}});
        volumes.patch(&name, &PatchParams::default(), &Patch::Merge(capacity)).await?;
        self.report(claim, Progress::Done).await?;
        if has_file_system {
            let message = format!("MountVolume.NodeExpandVolume succeeded for volume \"{name}\" {node_name}");
            self.pods.of(&users).for_each(|pod| {
                self.agent.pod_event(&pod, Normal, FILE_SYSTEM_RESIZED, message.clone());
            });
            tell(Normal, FILE_SYSTEM_RESIZED, message);
        } else {
            tell(Normal, "VolumeResizeSuccessful", "Resize volume succeeded".into());
        }
        Ok(())
    }

    /// Says why a claim's volume has not grown. What only its file system misses is made up for when no pod has it any more.
    async fn not_grown(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &str,
        error: Error,
    ) -> Result<(), Error> {
        let tell = |reason, message| self.events.event(reference(claim), Warning, reason, message);
        let Error::Pending(reason) = error else {
            let text = format!("resize volume \"{volume}\" by resizer \"{PROVISIONER}\" failed: {error}");
            tell("VolumeResizeFailed", text);
            return Err(error);
        };
        if !has_condition(claim, FILE_SYSTEM_PENDING) {
            let text = format!("MountVolume.NodeExpandVolume failed for volume \"{volume}\" : {reason}");
            tell("FileSystemResizeFailed", text);
            self.report(claim, Progress::FileSystemPending).await?;
        }
        Ok(())
    }

    async fn report(&self, claim: &PersistentVolumeClaim, progress: Progress) -> Result<(), Error> {
        let (claims, name) = (self.claims_of(claim), claim.name_any());
        let status = Patch::Merge(json!({"status": status(claim, progress, Timestamp::now())}));
        claims.patch_status(&name, &PatchParams::default(), &status).await?;
        Ok(())
    }

    fn claims_of(&self, claim: &PersistentVolumeClaim) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), &claim.namespace().unwrap_or_default())
    }
}

fn requested(
    claim: &PersistentVolumeClaim,
) -> Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> {
    let requests: &Amounts = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get(STORAGE)
}

fn has_condition(claim: &PersistentVolumeClaim, kind: &str) -> bool {
    conditions(claim).any(|condition| condition.type_ == kind)
}

fn conditions(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &PersistentVolumeClaimCondition> {
    claim.status.iter().flat_map(|status| status.conditions.iter().flatten())
}

/// What the claim's status is to say, as a merge patch.
fn status(claim: &PersistentVolumeClaim, progress: Progress, now: Timestamp) -> Value {
    let own = match progress {
        Progress::Begun => Some((RESIZING, "")),
        Progress::FileSystemPending => Some((
            FILE_SYSTEM_PENDING,
            "Waiting for user to (re-)start a pod to finish file system resize of volume on node.",
        )),
        Progress::Done => None,
    };
    let others =
        conditions(claim).filter(|condition| ![RESIZING, FILE_SYSTEM_PENDING].contains(&&*condition.type_));
    let mut all: Vec<PersistentVolumeClaimCondition> = others.cloned().collect();
    all.extend(own.map(|(kind, message)| {
        PersistentVolumeClaimCondition {
            type_: kind.into(),
            status: "True".into(),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            last_transition_time: conditions(claim)
                .find(|condition| condition.type_ == kind)
                .and_then(|condition| condition.last_transition_time.clone())
                .or_else(|| Some(api_time(now))),
            ..PersistentVolumeClaimCondition::default()
        }
    }));
    let state = match progress {
        Progress::Begun => json!("ControllerResizeInProgress"),
        Progress::FileSystemPending => json!("NodeResizePending"),
        Progress::Done => Value::Null,
    };
    let size = requested(claim);
    let mut status = json!({
        "conditions": all,
        "allocatedResources": {STORAGE: size},
        "allocatedResourceStatuses": {STORAGE: state},
    });
    if progress == Progress::Done {
        status["capacity"] = json!({STORAGE: size});
    }
    status
}

/// Makes a volume hold `bytes`; the pods that have it.
fn expand(
    node: &NodeVolumes,
    volume: &str,
    path: &str,
    block: bool,
    bytes: u64,
) -> Result<Vec<PodUid>, Error> {
    if !is_made_here(node, volume, path) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let own = plain(volume, path, block);
    // The size of a directory is only said.
    if !matches!(own.source, Source::Image { .. }) {
        return Ok(Vec::new());
    }
    let users = node.others(volume, None);
    let users = users.map_err(VolumeError::io("look for the users of", Path::new(path)))?;
    match (Bound { volume: &own, node }.expand(bytes), users.is_empty()) {
        (Err(error @ (VolumeError::Program { .. } | VolumeError::NoProgram { .. })), false) => {
            Err(Error::Pending(error))
        }
        (grown, _) => Ok(grown.map(|()| users)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::at;

    #[test]
    fn a_claim_says_how_far_its_growth_has_come() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
            "status": {"capacity": {"storage": "1Gi"}, "conditions": [
                {"type": "Other", "status": "True"},
                {"type": "Resizing", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        let check = |progress: Progress, kinds: &[&str], state: Value, capacity: Value| {
            let status = status(&claim, progress, at(0));
            let all = status["conditions"].as_array().unwrap();
            let actual: Vec<&str> = all.iter().filter_map(|condition| condition["type"].as_str()).collect();
            assert_eq!(actual, kinds, "{progress:?}");
            assert_eq!(status["allocatedResourceStatuses"], json!({"storage": state}));
            assert_eq!(status["capacity"], capacity);
            status
        };
        let begun =
            check(Progress::Begun, &["Other", RESIZING], json!("ControllerResizeInProgress"), Value::Null);
        assert_eq!(begun["conditions"][1]["lastTransitionTime"], "2026-01-01T00:00:00Z", "it was so before");
        check(
            Progress::FileSystemPending,
            &["Other", FILE_SYSTEM_PENDING],
            json!("NodeResizePending"),
            Value::Null,
        );
        check(Progress::Done, &["Other"], Value::Null, json!({"storage": "2Gi"}));
    }
}
