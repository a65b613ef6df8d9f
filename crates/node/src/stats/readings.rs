//! What was read of the node and its pods at one time.

use crate::node::disk::Room;
use jiff::Timestamp;
use skiff_podnet::Counters;
use skiff_runtime::{Resources, Usage};

/// The name of a pod's interface, as the pod network gives it.
pub(crate) const POD_INTERFACE: &str = "eth0";

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    pub(crate) node: NodeReading,
    pub(crate) pods: Vec<PodReading>,
    /// Nothing that should be there failed to be read.
    pub(crate) complete: bool,
}

/// The use of one control group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) at: Timestamp,
    pub(crate) usage: Usage,
    /// Nanoseconds of CPU per second since the reading before; absent in the first.
    pub(crate) nano_cores: Option<u64>,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct NodeReading {
    pub(crate) name: String,
    /// When the machine was started, if the kernel says so.
    pub(crate) started: Option<Timestamp>,
    pub(crate) measured: Option<Measured>,
    pub(crate) cpus: usize,
    /// What tells machines apart, by the names that metrics have for it.
    pub(crate) identity: Vec<(&'static str, String)>,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Bytes of swap: all and free.
    pub(crate) swap: Option<(u64, u64)>,
    /// Where pods and images are.
    pub(crate) disk: Option<Room>,
    /// Processes and threads: most and now.
    pub(crate) tasks: Option<(u64, u64)>,
    /// The interface of the default route, and all by name.
    pub(crate) uplink: Option<String>,
    pub(crate) network: Vec<(String, Counters)>,
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub(crate) struct PodReading {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) measured: Measured,
    /// Its control group.
    pub(crate) group: String,
    pub(crate) limits: Resources,
    pub(crate) processes: u64,
    /// Absent for pods in the node's network.
    pub(crate) network: Option<Counters>,
    pub(crate) containers: Vec<ContainerReading>,
    pub(crate) volumes: Vec<VolumeReading>,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct ContainerReading {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Its control group.
    pub(crate) group: String,
    pub(crate) image: String,
    pub(crate) started: Timestamp,
    pub(crate) measured: Measured,
    pub(crate) limits: Resources,
    /// Bytes and files of its logs.
    pub(crate) logs: Option<(u64, u64)>,
}

/// A volume that the agent has made or mounted.
#[derive(Clone, Debug)]
pub(crate) struct VolumeReading {
    pub(crate) name: String,
    pub(crate) room: Room,
    /// The file system is the volume's alone, so that what it holds is what the volume holds.
    pub(crate) own: bool,
    /// The claim, in the pod's namespace, that it is bound to.
    pub(crate) claim: Option<String>,
}
