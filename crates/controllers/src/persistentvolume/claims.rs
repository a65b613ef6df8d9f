//! What is to be done for a claim.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use skiff_volumes::{Claim, Search, Volume, annotations, is_given_class, is_promised, refusal};

use super::binding::{ClaimPhase, Plan, bind, in_claim_phase, is_completed, is_in, named_volume};
use super::{Class, provisioners};
use crate::notes::Note;

/// What there is besides the claim.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The volume that it names.
    pub(super) named: Option<Arc<PersistentVolume>>,
    /// Volumes that are for it, or for anybody of its class.
    pub(super) offered: Vec<Arc<PersistentVolume>>,
    /// Its class.
    pub(super) class: Class,
    /// The class of claims that name none.
    pub(super) default: Class,
    /// The pods that use it and are on no node yet.
    pub(super) waiting: Vec<String>,
}

/// Decides about a claim.
pub(super) fn plan(claim: &Arc<PersistentVolumeClaim>, facts: &Facts) -> Plan {
    match (is_completed(claim), &facts.named) {
        (true, named) => completed(claim, named.as_ref()),
        (false, Some(volume)) => requested(claim, volume),
        (false, None) if named_volume(claim).is_empty() => choose(claim, facts),
        // The volume may come.
        (false, None) => pending(claim),
    }
}

fn pending(claim: &Arc<PersistentVolumeClaim>) -> Plan {
    Plan::default().claim(claim, in_claim_phase((**claim).clone(), ClaimPhase::Pending, None))
}

/// A claim that was bound stays so, or is lost.
fn completed(claim: &Arc<PersistentVolumeClaim>, named: Option<&Arc<PersistentVolume>>) -> Plan {
    if named_volume(claim).is_empty() {
        let why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", why);
    }
    let Some(volume) = named else {
        let why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", why);
    };
    let holder = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if holder.is_none_or(|holder| holder.uid == claim.metadata.uid) {
        return bind(volume, claim);
    }
    lost(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
}

fn lost(claim: &Arc<PersistentVolumeClaim>, reason: &'static str, why: &str) -> Plan {
    if is_in(claim, ClaimPhase::Lost) {
        return Plan::default();
    }
    Plan::default()
        .claim(claim, in_claim_phase((**claim).clone(), ClaimPhase::Lost, None))
        .note(&**claim, Note::warning(reason, why))
}

/// A claim that names its volume gets it, if that is free and suits.
fn requested(claim: &Arc<PersistentVolumeClaim>, volume: &Arc<PersistentVolume>) -> Plan {
    let (known, view) = (Claim::of(claim), Volume::of(volume));
    let refused = if is_promised(&view, &known) {
        None
    } else if view.claimant.is_some() {
        let why = format!("volume \"{}\" already bound to a different claim.", view.name);
        Some(Note::warning("FailedBinding", why))
    } else {
        let why = refusal(&view, &known);
        why.map(|why| {
            let why = format!("Cannot bind to requested volume \"{}\": {why}", view.name);
            Note::warning("VolumeMismatch", why)
        })
    };
    match refused {
        Some(note) => pending(claim).note(&**claim, note),
        None => bind(volume, claim),
    }
}

/// A claim that names no volume gets one that suits, or one is made for it.
fn choose(claim: &Arc<PersistentVolumeClaim>, facts: &Facts) -> Plan {
    let known = Claim::of(claim);
    let waits = facts.class.as_ref().is_some_and(|class| skiff_volumes::waits_for_consumer(class));
    let views: Vec<_> = facts.offered.iter().map(|volume| Arc::new(Volume::of(volume))).collect();
    let search = if waits { Search::Promised } else { Search::Anywhere };
    if let Some(found) = skiff_volumes::find(&known, &views, search) {
        let volume = facts.offered.iter().find(|volume| volume.name_any() == *found.name);
        return volume.map(|volume| bind(volume, claim)).unwrap_or_default();
    }
    if let Some(default) = facts.default.as_ref().filter(|_| !is_given_class(claim)) {
        let mut given = (**claim).clone();
        given.spec.get_or_insert_default().storage_class_name = Some(default.name_any());
        return Plan::default().claim(claim, given);
    }
    if waits && known.selected_node.is_empty() {
        return pending(claim).note(&**claim, awaited(&facts.waiting));
    }
    if !known.class.is_empty() {
        return provision(claim, &known, &facts.class);
    }
    let why = "no persistent volumes available for this claim and no storage class is set";
    pending(claim).note(&**claim, Note::normal("FailedBinding", why))
}

/// What a claim waits for that is bound for the pod that uses it.
fn awaited(pods: &[String]) -> Note {
    match pods {
        [] => Note::normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
        [pod] => Note::normal("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        pods => {
            let message = format!("waiting for pods {} to be scheduled", pods.join(","));
            Note::normal("WaitForPodScheduled", message)
        }
    }
}

/// Asks for a volume to be made.
fn provision(claim: &Arc<PersistentVolumeClaim>, known: &Claim, class: &Class) -> Plan {
    let failed = |why: String| Plan::default().note(&**claim, Note::warning("ProvisioningFailed", why));
    let Some(class) = class else {
        return failed(format!("storageclass.storage.k8s.io \"{}\" not found", known.class));
    };
    let provisioner = match provisioners::asked(&class.provisioner) {
        Ok(provisioner) => provisioner,
        Err(why) => return failed(why),
    };
    let mut asked = (**claim).clone();
    for name in [annotations::STORAGE_PROVISIONER, annotations::BETA_STORAGE_PROVISIONER] {
        asked.annotations_mut().insert(name.to_owned(), provisioner.to_owned());
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    Plan::default().claim(claim, asked).note(&**claim, Note::normal("ExternalProvisioning", message))
}
