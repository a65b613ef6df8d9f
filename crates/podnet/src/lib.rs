//! The network of one node's pods: addresses, interfaces and routes.
//!
//! Every pod has a veth pair of its own and a /32 address; there is no shared bridge segment. Two facts shaped this:
//!
//! * **All pod traffic is routed by the node.** Replies of a Service connection must pass the same connection tracking
//!   entry as the request. On a bridge, a reply between two pods of one node is switched below IP and gets there only with the help of
//!   the `br_netfilter` module, which is not loaded everywhere. With routed pods it always works, also for a pod that
//!   reaches itself through a Service.
//! * **No ARP.** Hardware addresses follow from the IP address, and both sides have a permanent neighbour entry, so the first packet
//!   of a new pod needs no resolution.
//!
//! The interface `skiff0` (a bridge without ports, used as an always present dummy device) carries the node's address
//! in the pod CIDR and the route to the service CIDR; pod addresses that belong to no pod are unreachable. So packets to either range
//! never follow the default route out of the machine.
//!
//! All of that is the node's, and comes back when another program removes it: the kernel tells of every change, and what is
//! missing follows from one look. What a pod does inside its own namespace is the pod's.

mod addresses;
mod config;
mod error;
mod heard;
mod keep;
mod netlink;
mod network;
mod pod;
mod state;
mod traffic;
mod trial;
mod trial_pod;
mod uplink;

pub use config::{ANCHOR_INTERFACE, NodeNetwork, POD_INTERFACE_PREFIX, PodAddress};
pub use error::NetworkError;
pub use heard::decode;
pub use keep::Restored;
pub use network::{PodNetwork, primary_address};
pub use pod::set_up_loopback;
pub use state::Missing;
pub use traffic::{Counters, Flow, Traffic};
pub use trial::try_out;
pub use trial_pod::TrialPod;
