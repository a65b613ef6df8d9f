//! What is to be done for a volume.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Volume, annotations};

use super::binding::{Plan, VolumePhase, in_phase, named_volume, phase_of};
use super::provisioners;
use crate::notes::Note;

/// Whether it is known already that the volume's claim has gone.
pub(super) fn is_left(volume: &PersistentVolume) -> bool {
    matches!(phase_of(volume), "Released" | "Failed")
}

/// Decides about a volume; `claim` is the one that it is bound to by UID, if that is still there.
pub(super) fn plan(volume: &Arc<PersistentVolume>, claim: Option<&Arc<PersistentVolumeClaim>>) -> Plan {
    let claimant = Volume::of(volume).claimant;
    if claimant.is_none_or(|claimant| claimant.uid.is_empty()) {
        return Plan::default().volume(volume, in_phase((**volume).clone(), VolumePhase::Available, ""));
    }
    let Some(claim) = claim else { return left(volume) };
    match named_volume(claim) {
        "" => undecided(volume, claim),
        name if name == volume.name_any() => {
            Plan::default().volume(volume, in_phase((**volume).clone(), VolumePhase::Bound, ""))
        }
        // The claim has another one.
        _ if volume.annotations().contains_key(annotations::PROVISIONED_BY) && policy(volume) == "Delete" => {
            left(volume)
        }
        _ => Plan::default().volume(volume, free(volume)),
    }
}

/// The claim is to take the volume, if it can.
fn undecided(volume: &Arc<PersistentVolume>, claim: &Arc<PersistentVolumeClaim>) -> Plan {
    if Volume::of(volume).is_block == Claim::of(claim).is_block {
        return Plan { wakes: vec![ObjectKey::of(&claim.metadata)], ..Plan::default() };
    }
    let of_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"{}\" due to incompatible volumeMode.",
        claim.name_any()
    );
    let of_claim = format!(
        "Cannot bind PersistentVolume \"{}\" to requested PersistentVolumeClaim due to incompatible volumeMode.",
        volume.name_any()
    );
    Plan::default()
        .note(&**volume, Note::warning("VolumeMismatch", of_volume))
        .note(&**claim, Note::warning("VolumeMismatch", of_claim))
}

/// The volume, for nobody any more, or for whom somebody else than us has meant it.
fn free(volume: &PersistentVolume) -> PersistentVolume {
    let mut free = volume.clone();
    let was_ours = free.annotations_mut().remove(annotations::BOUND_BY_CONTROLLER).is_some();
    free.metadata.annotations = free.metadata.annotations.filter(|notes| !notes.is_empty());
    let spec = free.spec.get_or_insert_default();
    match &mut spec.claim_ref {
        Some(claim) if !was_ours => claim.uid = None,
        claim => *claim = None,
    }
    in_phase(free, VolumePhase::Available, "")
}

fn policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or("Retain")
}

/// A volume whose claim has gone is kept, or taken away by whoever made it.
fn left(volume: &Arc<PersistentVolume>) -> Plan {
    let failure = match policy(volume) {
        "Retain" => None,
        "Delete" => provisioners::deletion(volume).err().map(|why| ("VolumeFailedDelete", why)),
        // Nothing cleans volumes here: that way of theirs is deprecated.
        "Recycle" => Some(("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned())),
        _ => {
            let why = "Volume has unrecognized PersistentVolumeReclaimPolicy";
            Some(("VolumeUnknownReclaimPolicy", why.to_owned()))
        }
    };
    match failure {
        Some(_) if phase_of(volume) == "Failed" => Plan::default(),
        Some((reason, why)) => Plan::default()
            .volume(volume, in_phase((**volume).clone(), VolumePhase::Failed, &why))
            .note(&**volume, Note::warning(reason, why)),
        None if is_left(volume) => Plan::default(),
        None => Plan::default().volume(volume, in_phase((**volume).clone(), VolumePhase::Released, "")),
    }
}
