//! Volumes and claims, as those see them who bring them together: the binder and the scheduler. No I/O.
//!
//! Both go by the same view of an object and by the same rules of what suits what, since the scheduler promises what the
//! binder then binds.

pub mod annotations;
mod claim;
mod classes;
mod csi;
mod suit;
mod volume;

pub use claim::{Claim, class_of, is_given_class};
pub use classes::{NO_PROVISIONER, default_class, waits_for_consumer};
pub use csi::Csi;
pub use suit::{Search, find, has_modes, is_promised, refusal};
pub use volume::{Claimant, Volume, class_of_volume};

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume as PodVolume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The name of the claim that is a pod's volume, and whether it is one that lives as long as the pod; `None` if it is no claim.
pub fn claim_of<'v>(pod: &str, volume: &'v PodVolume) -> Option<(std::borrow::Cow<'v, str>, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.as_str().into(), false));
    }
    volume.ephemeral.as_ref().map(|_| (format!("{pod}-{}", volume.name).into(), true))
}

/// Whether the claim was made for a volume of the pod: nobody else's is taken for it.
pub fn is_of_pod(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    let controlled = owners.find(|owner| owner.controller == Some(true));
    controlled.is_some_and(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}

/// An amount of storage, in units of 10⁻⁹ bytes; nothing if it is not said or cannot be read.
fn storage(amounts: Option<&BTreeMap<String, Quantity>>) -> i128 {
    let amount = amounts.and_then(|amounts| amounts.get("storage"));
    amount.and_then(|amount| amount.0.parse::<skiff_quantity::Quantity>().ok()).map_or(0, |one| one.nanos())
}

fn is_block(mode: Option<&String>) -> bool {
    mode.is_some_and(|mode| mode == "Block")
}

fn text(field: Option<&String>) -> Box<str> {
    field.map(String::as_str).unwrap_or_default().into()
}

fn texts(field: Option<&Vec<String>>) -> Box<[Box<str>]> {
    field.into_iter().flatten().map(|text| text.as_str().into()).collect()
}
