//! What the scheduler remembers of pods and nodes: a fraction of the objects.

mod budget;
mod node;
mod owner;
mod pod;
mod ports;
mod resources;
mod spread;
mod term;
mod volumes;

use std::collections::{BTreeMap, HashMap};

pub(crate) use budget::Budget;
pub(crate) use node::NodeInfo;
pub(crate) use owner::{Owner, OwnerKind, Selectors};
pub(crate) use pod::{Pending, PodInfo};
pub(crate) use ports::HostPort;
pub(crate) use resources::{Resources, Shares};
pub(crate) use spread::{Spread, WhenUnsatisfiable};
pub(crate) use term::Term;
pub(crate) use volumes::{Claimed, PodVolumes};

/// An object's labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// The labels of namespaces, by name.
pub(crate) type Namespaces = HashMap<String, Labels>;

#[cfg(test)]
mod tests;
