//! A claim.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use skiff_machinery::selector::LabelSelector;

use crate::{annotations, is_block, storage, text, texts};

/// What the labels of a volume have to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Whatever they are.
    Any,
    /// What is selected.
    Selected(Box<LabelSelector>),
    /// None will do: the selector cannot be understood.
    Unknown,
}

impl Labels {
    fn of(selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>) -> Self {
        let Some(selector) = selector else { return Self::Any };
        LabelSelector::try_from(selector).map_or(Self::Unknown, |read| Self::Selected(Box::new(read)))
    }

    /// Whether these will do.
    pub fn select(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Any => true,
            Self::Selected(selector) => selector.selects(labels),
            Self::Unknown => false,
        }
    }
}

/// What matters of a claim to whoever looks for its volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// Its `metadata.resourceVersion`.
    pub version: Box<str>,
    /// The volume that it names, empty if none.
    pub volume: Box<str>,
    /// Its class, empty if it has none.
    pub class: Box<str>,
    /// How much it asks for, in 10⁻⁹ bytes.
    pub size: i128,
    /// How the volume is to be mounted.
    pub modes: Box<[Box<str>]>,
    /// Whether it asks for a block device.
    pub is_block: bool,
    /// The class of attributes that it asks for, empty if none.
    pub attributes: Box<str>,
    /// What the labels of its volume have to be.
    pub labels: Labels,
    /// Whether both sides of its binding are written.
    pub is_completed: bool,
    /// Whether its status says that it is bound, which node agents go by.
    pub is_told: bool,
    /// Whether its volume has gone.
    pub is_lost: bool,
    /// The node for whose pod a volume is being made, empty if none.
    pub selected_node: Box<str>,
    /// Whether its deletion has begun.
    pub is_going: bool,
    /// The UID of the owner that controls it, empty if there is none.
    pub controller: Box<str>,
}

impl Claim {
    /// Reads a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let none = PersistentVolumeClaimSpec::default();
        let (metadata, spec) = (&claim.metadata, claim.spec.as_ref().unwrap_or(&none));
        let noted = |name: &str| metadata.annotations.as_ref().and_then(|notes| notes.get(name));
        let owners = metadata.owner_references.iter().flatten();
        let controller = owners.filter(|owner| owner.controller == Some(true)).map(|owner| &owner.uid).next();
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        Self {
            namespace: text(metadata.namespace.as_ref()),
            name: text(metadata.name.as_ref()),
            uid: text(metadata.uid.as_ref()),
            version: text(metadata.resource_version.as_ref()),
            volume: text(spec.volume_name.as_ref()),
            class: class_of(claim).into(),
            size: storage(spec.resources.as_ref().and_then(|amounts| amounts.requests.as_ref())),
            modes: texts(spec.access_modes.as_ref()),
            is_block: is_block(spec.volume_mode.as_ref()),
            attributes: text(spec.volume_attributes_class_name.as_ref()),
            labels: Labels::of(spec.selector.as_ref()),
            is_completed: noted(annotations::BIND_COMPLETED).is_some(),
            is_told: phase == Some("Bound"),
            is_lost: phase == Some("Lost"),
            selected_node: text(noted(annotations::SELECTED_NODE)),
            is_going: metadata.deletion_timestamp.is_some(),
            controller: text(controller),
        }
    }

    /// Whether both sides of its binding are written.
    pub fn is_bound(&self) -> bool {
        !self.volume.is_empty() && self.is_completed
    }
}

/// The class of a claim, empty if it names none; an annotation of old goes before the field.
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let annotated = claim.metadata.annotations.as_ref().and_then(|notes| notes.get(annotations::CLASS));
    let named = || claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    annotated.or_else(named).map_or("", String::as_str)
}

/// Whether a claim says which class it is of, be it none.
pub fn is_given_class(claim: &PersistentVolumeClaim) -> bool {
    let annotated = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(annotations::CLASS));
    annotated || claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some())
}
