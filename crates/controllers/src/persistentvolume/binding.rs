//! What a volume and a claim shall be when they belong together, and what their statuses say.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Resource, ResourceExt};
use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Volume, annotations, is_promised};

use crate::notes::Note;

/// What is to be written, told, and looked at again.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A volume, as it is and as it shall be.
    pub(super) volume: Option<(Arc<PersistentVolume>, PersistentVolume)>,
    /// A claim, as it is and as it shall be.
    pub(super) claim: Option<(Arc<PersistentVolumeClaim>, PersistentVolumeClaim)>,
    /// What to tell when that is written.
    pub(super) notes: Vec<(ObjectReference, Note)>,
    /// What to look at then.
    pub(super) wakes: Vec<ObjectKey>,
}

impl Plan {
    /// Lets `old` become `new`.
    pub(super) fn volume(mut self, old: &Arc<PersistentVolume>, new: PersistentVolume) -> Self {
        self.volume = (**old != new).then(|| (old.clone(), new));
        self
    }

    /// Lets `old` become `new`.
    pub(super) fn claim(mut self, old: &Arc<PersistentVolumeClaim>, new: PersistentVolumeClaim) -> Self {
        self.claim = (**old != new).then(|| (old.clone(), new));
        self
    }

    /// Tells something of `object`.
    pub(super) fn note<K: Resource<DynamicType = ()>>(mut self, object: &K, note: Note) -> Self {
        self.notes.push((object.object_ref(&()), note));
        self
    }
}

/// An object that is written in two halves.
pub(super) trait Halves {
    /// The same with the status of another.
    fn with_status_of(self, other: &Self) -> Self;
}

impl Halves for PersistentVolume {
    fn with_status_of(self, other: &Self) -> Self {
        Self { status: other.status.clone(), ..self }
    }
}

impl Halves for PersistentVolumeClaim {
    fn with_status_of(self, other: &Self) -> Self {
        Self { status: other.status.clone(), ..self }
    }
}

/// Where a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimPhase {
    Pending,
    Bound,
    Lost,
}

impl ClaimPhase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Bound => "Bound",
            Self::Lost => "Lost",
        }
    }
}

/// Where a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumePhase {
    Available,
    Bound,
    Released,
    Failed,
}

impl VolumePhase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Bound => "Bound",
            Self::Released => "Released",
            Self::Failed => "Failed",
        }
    }
}

/// The volume that a claim names, empty if none.
pub(super) fn named_volume(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or("")
}

/// Whether both sides of the claim's binding were written once.
pub(super) fn is_completed(claim: &PersistentVolumeClaim) -> bool {
    claim.annotations().contains_key(annotations::BIND_COMPLETED)
}

/// Whether the claim is in that phase.
pub(super) fn is_in(claim: &PersistentVolumeClaim, phase: ClaimPhase) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase.as_str())
}

/// The phase of a volume, empty before it has one.
pub(super) fn phase_of(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

/// Lets volume and claim belong to each other, whatever of that is written already.
pub(super) fn bind(volume: &Arc<PersistentVolume>, claim: &Arc<PersistentVolumeClaim>) -> Plan {
    let bound = given_to(volume, claim);
    Plan::default()
        .volume(volume, in_phase(bound, VolumePhase::Bound, ""))
        .claim(claim, in_claim_phase(with_volume(claim, volume), ClaimPhase::Bound, Some(volume)))
}

/// The volume, for that claim alone.
fn given_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut given = volume.clone();
    if !is_promised(&Volume::of(volume), &Claim::of(claim)) {
        mark(given.annotations_mut(), annotations::BOUND_BY_CONTROLLER);
    }
    let spec = given.spec.get_or_insert_default();
    let names = |one: &ObjectReference| (one.namespace.clone(), one.name.clone(), one.uid.clone());
    let reference = ObjectReference { resource_version: claim.resource_version(), ..claim.object_ref(&()) };
    if spec.claim_ref.as_ref().map(names) != Some(names(&reference)) {
        spec.claim_ref = Some(reference);
    }
    given
}

/// The claim, with that volume.
fn with_volume(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaim {
    let (mut bound, name) = (claim.clone(), volume.name_any());
    if named_volume(claim) != name {
        bound.spec.get_or_insert_default().volume_name = Some(name);
        mark(bound.annotations_mut(), annotations::BOUND_BY_CONTROLLER);
    }
    mark(bound.annotations_mut(), annotations::BIND_COMPLETED);
    bound
}

fn mark(notes: &mut crate::meta::Strings, name: &str) {
    notes.entry(name.to_owned()).or_insert_with(|| "yes".to_owned());
}

/// The volume in that phase, with a message of why if that is a change.
pub(super) fn in_phase(volume: PersistentVolume, phase: VolumePhase, why: &str) -> PersistentVolume {
    let mut volume = volume;
    if phase_of(&volume) != phase.as_str() {
        let status = volume.status.get_or_insert_default();
        status.phase = Some(phase.as_str().to_owned());
        status.message = Some(why.to_owned()).filter(|why| !why.is_empty());
    }
    volume
}

/// The claim in that phase, with what its volume says if it has one.
pub(super) fn in_claim_phase(
    claim: PersistentVolumeClaim,
    phase: ClaimPhase,
    volume: Option<&PersistentVolume>,
) -> PersistentVolumeClaim {
    let before = claim.status.clone().unwrap_or_default();
    let changes = before.phase.as_deref() != Some(phase.as_str());
    let mut status = PersistentVolumeClaimStatus { phase: Some(phase.as_str().to_owned()), ..before.clone() };
    match volume.and_then(|volume| Some((volume, volume.spec.as_ref()?))) {
        None => {
            status.access_modes = None;
            status.capacity = None;
            status.current_volume_attributes_class_name = None;
        }
        Some((volume, spec)) => {
            status.access_modes.clone_from(&spec.access_modes);
            if changes {
                let grown = volume.annotations().get(annotations::PRE_RESIZE_CAPACITY);
                match grown {
                    Some(before) => {
                        let capacity = status.capacity.get_or_insert_default();
                        capacity.insert("storage".to_owned(), Quantity(before.clone()));
                    }
                    None => status.capacity.clone_from(&spec.capacity),
                }
            }
            if before.phase.as_deref() == Some("Pending") && phase == ClaimPhase::Bound {
                let class = &spec.volume_attributes_class_name;
                status.current_volume_attributes_class_name.clone_from(class);
            }
        }
    }
    PersistentVolumeClaim { status: Some(status), ..claim }
}
