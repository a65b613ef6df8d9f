//! Which volumes a pod's claims get on a node.

use std::sync::Arc;

use skiff_volumes::{Claim, NO_PROVISIONER, Search, Volume, find};

use super::OfPod;
use crate::affinity;
use crate::model::NodeInfo;

const UNREACHABLE: &str = "node(s) didn't match PersistentVolume's node affinity";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const NO_ROOM: &str = "node(s) did not have enough free storage";
const MISSING: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// What is to be bound for a pod on one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// Volumes that are there, for claims.
    pub given: Vec<(Arc<Volume>, Arc<Claim>)>,
    /// Claims for which volumes are to be made.
    pub made: Vec<Arc<Claim>>,
}

impl Choice {
    /// Whether there is nothing to bind.
    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.made.is_empty()
    }
}

/// Whether the volume can be reached from the node.
pub(crate) fn reaches(volume: &Volume, node: &NodeInfo) -> bool {
    // The node's name is none of the volume's business, its labels are.
    volume.nodes.as_ref().is_none_or(|nodes| affinity::selected(nodes, "", &node.labels))
}

impl OfPod<'_> {
    /// What is to be bound on the node, or why that cannot be.
    pub(super) fn choose(&self, node: &NodeInfo) -> Result<Choice, Vec<&'static str>> {
        let mut reasons = Vec::new();
        if !self.bound.iter().all(|volume| reaches(volume, node)) {
            reasons.push(UNREACHABLE);
        }
        let choice = self.choose_for_open(node);
        reasons.extend(choice.as_ref().err());
        if self.is_missing {
            reasons.push(MISSING);
        }
        match choice {
            Ok(choice) if reasons.is_empty() => Ok(choice),
            _ => Err(reasons),
        }
    }

    /// Claims that a node was selected for get a volume that is made, on that node alone; the others one that is there, or else
    /// one that is made.
    fn choose_for_open(&self, node: &NodeInfo) -> Result<Choice, &'static str> {
        let (mut choice, mut missing) = (Choice::default(), Vec::new());
        let (selected, free): (Vec<_>, Vec<_>) =
            self.open.iter().partition(|claim| !claim.selected_node.is_empty());
        if selected.iter().any(|claim| *claim.selected_node != *node.name) {
            return Err(NO_VOLUME);
        }
        for claim in free {
            let mut volumes = self.storage.of_class(&claim.class);
            volumes.retain(|volume| choice.given.iter().all(|(given, _)| given.name != volume.name));
            match find(claim, &volumes, Search::Node(&|volume| reaches(volume, node))) {
                Some(volume) => choice.given.push((volume, claim.clone())),
                None => missing.push(claim),
            }
        }
        for claim in selected.into_iter().chain(missing) {
            self.check_making(claim, node)?;
            choice.made.push(claim.clone());
        }
        Ok(choice)
    }

    /// Whether a volume can be made for the claim on the node.
    fn check_making(&self, claim: &Claim, node: &NodeInfo) -> Result<(), &'static str> {
        let class = self.storage.class(&claim.class).ok_or(NO_VOLUME)?;
        let by_hand = class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER;
        if by_hand || !class.allows(&node.labels) {
            return Err(NO_VOLUME);
        }
        if self.storage.lacks_room(&class.provisioner, &claim.class, claim.size, &node.labels) {
            return Err(NO_ROOM);
        }
        Ok(())
    }
}
