//! A volume.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeSpec};

use crate::csi::Csi;
use crate::{annotations, is_block, storage, text, texts};

/// Whom a volume is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The claim's namespace.
    pub namespace: Box<str>,
    /// The claim's name.
    pub name: Box<str>,
    /// The claim's UID; empty if it is for whichever claim has the name.
    pub uid: Box<str>,
}

/// What matters of a volume to whoever looks for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: Box<str>,
    /// Its `metadata.resourceVersion`.
    pub version: Box<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its class, empty if it has none.
    pub class: Box<str>,
    /// How much it holds, in 10⁻⁹ bytes.
    pub size: i128,
    /// How it may be mounted.
    pub modes: Box<[Box<str>]>,
    /// Whether it is a block device.
    pub is_block: bool,
    /// The class of its attributes, empty if none.
    pub attributes: Box<str>,
    /// Whom it is for.
    pub claimant: Option<Claimant>,
    /// Whether it is free, as far as the binder knows.
    pub is_available: bool,
    /// Whether its deletion has begun.
    pub is_going: bool,
    /// The nodes from which it can be reached, if not from all.
    pub nodes: Option<Box<NodeSelector>>,
    /// What its CSI driver calls it, if one mounts it.
    pub csi: Option<Csi>,
}

impl Volume {
    /// Reads a volume.
    pub fn of(volume: &PersistentVolume) -> Self {
        let none = PersistentVolumeSpec::default();
        let (metadata, spec) = (&volume.metadata, volume.spec.as_ref().unwrap_or(&none));
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let nodes = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.clone());
        Self {
            name: text(metadata.name.as_ref()),
            version: text(metadata.resource_version.as_ref()),
            labels: metadata.labels.clone().unwrap_or_default(),
            class: class_of_volume(volume).into(),
            size: storage(spec.capacity.as_ref()),
            modes: texts(spec.access_modes.as_ref()),
            is_block: is_block(spec.volume_mode.as_ref()),
            attributes: text(spec.volume_attributes_class_name.as_ref()),
            claimant: spec.claim_ref.as_ref().map(|claim| Claimant {
                namespace: text(claim.namespace.as_ref()),
                name: text(claim.name.as_ref()),
                uid: text(claim.uid.as_ref()),
            }),
            is_available: phase == Some("Available"),
            is_going: metadata.deletion_timestamp.is_some(),
            nodes: nodes.map(Box::new),
            csi: Csi::of_volume(spec, metadata.labels.as_ref().unwrap_or(&BTreeMap::new())),
        }
    }
}

/// The class of a volume, empty if it names none; an annotation of old goes before the field.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let annotated = volume.metadata.annotations.as_ref().and_then(|notes| notes.get(annotations::CLASS));
    let named = || volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    annotated.or_else(named).map_or("", String::as_str)
}
