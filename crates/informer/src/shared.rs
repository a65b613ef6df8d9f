//! Types that several crates read are decoded by code that is compiled once: here, below all of them.
//!
//! What a crate uses of generic code that an upstream crate has compiled for the same types is taken from there. Kubernetes' types
//! are large: the code that decodes a Pod and all that is in it is 300 KB, for each crate that would have its own.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, ReplicationController, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;

type Decode<K> = fn(&'static str) -> serde_json::Result<K>;

/// Named by nobody: that it exists makes the compiler compile what it names.
#[allow(clippy::type_complexity, reason = "a list of types is what it is for")]
pub static DECODERS: (
    Decode<Pod>,
    Decode<Node>,
    Decode<Service>,
    Decode<EndpointSlice>,
    Decode<ConfigMap>,
    Decode<ReplicationController>,
    Decode<ServiceAccount>,
    Decode<Lease>,
    Decode<ReplicaSet>,
    Decode<Deployment>,
    Decode<StatefulSet>,
    Decode<DaemonSet>,
) = (
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
    serde_json::from_str,
);
